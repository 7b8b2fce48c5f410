"""Checkpoints whose config, weights and files are not of one model; the variants that are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import GPTNeoXForCausalLM

from spectro.models.config import ModelConfig
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.load import load_model, resolve_device
from spectro.models.weight_files import INDEX, WEIGHTS
from tests.models.conftest import MakeModel

Folder = Callable[..., Path]
IDS = torch.arange(120).reshape(3, 40) % 61


@pytest.fixture
def folder(make_model: MakeModel, tmp_path: Path) -> Folder:
    """Factory of checkpoint folders; `config` replaces keys of config.json after saving."""

    def make(config: dict[str, Any] | None = None, **fields: Any) -> Path:
        make_model(**fields).save_pretrained(tmp_path)
        edit(tmp_path, **(config or {}))
        return tmp_path

    return make


def edit(folder: Path, *, without: tuple[str, ...] = (), **keys: Any) -> None:
    """Change keys of config.json."""
    file = folder / "config.json"
    raw = {k: v for k, v in json.loads(file.read_text()).items() if k not in without}
    file.write_text(json.dumps(raw | keys))


def load(folder: Path, **fields: Any) -> GPTNeoXForCausalLM:
    return load_model(ModelConfig(name_or_path=str(folder), device="cpu", **fields))


def refusal(folder: Path, **fields: Any) -> str:
    with pytest.raises(ValueError, match="model") as error:
        load(folder, **fields)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_parallel_residual": False},
        {"attention_bias": False},
        {"layer_norm_eps": 0.1},
        {"hidden_act": "gelu_new"},
        {"attention_dropout": 0.5, "hidden_dropout": 0.5},
        {"is_decoder": True},
        {"rotary_pct": 1.0, "rotary_emb_base": 500, "without": ("rope_parameters",)},
        {"rope_parameters": {"rope_theta": 77.0, "partial_rotary_factor": 1.0}},
        {"rope_scaling": {"type": "linear", "factor": 4.0}, "without": ("rope_parameters",)},
        {
            "rope_parameters": {
                "rope_type": "llama3", "rope_theta": 100.0, "partial_rotary_factor": 1.0,
                "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
        {
            "rope_parameters": {
                "rope_type": "yarn", "rope_theta": 100.0, "partial_rotary_factor": 1.0,
                "factor": 4.0, "original_max_position_embeddings": 16,
            }
        },
    ],
)  # fmt: skip
def test_what_is_accepted_is_what_transformers_computes(
    folder: Folder, config: dict[str, Any]
) -> None:
    path = folder(config, attention_bias=config.get("attention_bias", True))
    ours = GPTNeoX.from_pretrained_model(load(path)).clean_losses(IDS)
    logits = GPTNeoXForCausalLM.from_pretrained(path).eval()(IDS[:, :-1]).logits
    plain = functional.cross_entropy(logits.flatten(0, 1), IDS[:, 1:].flatten(), reduction="none")
    torch.testing.assert_close(ours.flatten(), plain, rtol=1e-5, atol=1e-5)  # float32 sums


def test_the_variants_differ(folder: Folder) -> None:
    """Else the comparison above would not see a setting that is left out."""
    path, losses, rope = folder(), [], {"partial_rotary_factor": 1.0}
    for keys in (
        {"rope_parameters": rope},
        {"rope_parameters": rope | {"rope_theta": 77.0}},
        {"rope_parameters": rope | {"type": "linear", "factor": 4.0}},
        {"rope_parameters": rope, "use_parallel_residual": False},
    ):
        edit(path, **keys)
        losses.append(GPTNeoX.from_pretrained_model(load(path)).clean_losses(IDS))
    apart = [float((a - b).abs().max()) for i, a in enumerate(losses) for b in losses[:i]]
    assert min(apart) > 1e-2


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"rope_theta": 500000.0}, "rope_theta"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"sliding_window": 8, "num_key_value_heads": 2}, "sliding_window, num_key_value_heads"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"auto_map": {"AutoModelForCausalLM": "own.Model"}}, "auto_map"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "both rope_parameters and rope_sc"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "type dynamic, expected"),
        ({"rope_parameters": {"rope_type": "new"}}, "type new, expected one of default, linear"),
        ({"rope_parameters": {"rope_type": "default", "factor": 2.0}}, "unknown settings .*factor"),
        ({"rotary_emb_base": 500}, "rotary_emb_base 500 and rope_theta 10000.0"),
        ({"hidden_act": "own"}, "hidden_act 'own'"),
        ({"hidden_act": ["gelu"]}, r"hidden_act \['gelu'\] in config.json, expected a name"),
        ({"num_attention_heads": None}, "num_attention_heads None in config.json, expected a who"),
        ({"num_attention_heads": 5}, "hidden_size 32 .* no multiple of num_attention_heads 5"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers 2.0 in config.json, expected a whole"),
        ({"num_hidden_layers": True}, "num_hidden_layers True in config.json, expected a whole"),
        ({"hidden_size": "32"}, "hidden_size '32' in config.json, expected a whole number"),
        ({"vocab_size": 0}, "vocab_size 0 in config.json, expected a whole number of at least 1"),
        ({"layer_norm_eps": -1}, "layer_norm_eps -1 in config.json, expected a finite number ab"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps nan in config.json, expected"),
        ({"layer_norm_eps": "1e-5"}, "layer_norm_eps '1e-5' in config.json, expected"),
        ({"rotary_pct": 1.5}, r"rotary_pct 1.5 in config.json, expected a number in \(0, 1\]"),
        ({"attention_bias": "false"}, "attention_bias 'false' in config.json, expected true or"),
        ({"rope_parameters": "default"}, "rope_parameters 'default' in config.json, expected an"),
        ({"rope_parameters": {"rope_theta": "1e4"}}, "rope_parameters.rope_theta '1e4' in config"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"model_type": "t5"}, "of type 't5', expected a causal language model"),
        ({"model_type": "llama"}, "that Llama does not have: .*use_parallel_residual"),
        ({"is_encoder_decoder": True}, "an encoder-decoder model"),
        ({"num_hidden_layers": 2}, r"has 12 tensors .*layers\.2\..*left out"),
        ({"attention_bias": False}, "has 6 tensors that its config.json does not ask for"),
        ({"num_hidden_layers": 4}, "missing keys"),
    ],
)
def test_a_config_of_another_model_is_refused(
    folder: Folder, config: dict[str, Any], words: str
) -> None:
    assert re.search(words, refusal(folder(config)))


def test_old_buffers_are_no_weights(folder: Folder) -> None:
    """Pythia's checkpoints hold the causal mask and the rotary frequencies of every layer."""
    path = folder({"rope_parameters": {"rope_theta": 100.0, "partial_rotary_factor": 0.5}})
    plain = GPTNeoX.from_pretrained_model(load(path)).clean_losses(IDS)
    weights = load_file(path / WEIGHTS)
    for layer in range(3):
        at = f"gpt_neox.layers.{layer}.attention"
        weights[f"{at}.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.bool)
        weights[f"{at}.masked_bias"] = torch.tensor(-1e9)
        weights[f"{at}.rotary_emb.inv_freq"] = torch.tensor([1.0, 0.1], dtype=torch.float16)
    save_file(weights, path / WEIGHTS, {"format": "pt"})
    assert torch.equal(GPTNeoX.from_pretrained_model(load(path)).clean_losses(IDS), plain)
    edit(path, rope_parameters={"rope_theta": 1000.0, "partial_rotary_factor": 0.5})
    assert "rotary frequencies (gpt_neox.layers.0" in refusal(path)


def another_set(path: Path) -> None:
    (path / "model-00002-of-00002.safetensors").write_bytes((path / WEIGHTS).read_bytes())


def adapter(path: Path) -> None:
    (path / "adapter_config.json").write_text("{}")


def pickled(path: Path) -> None:
    (path / WEIGHTS).rename(path / "pytorch_model.bin")


def quantised(path: Path) -> None:
    weights = load_file(path / WEIGHTS)
    name = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    weights[name] = (weights[name] * 100).to(torch.int8)
    save_file(weights, path / WEIGHTS, {"format": "pt"})


def two_heads(path: Path) -> None:
    weights = load_file(path / WEIGHTS)
    name = next(name for name in weights if name in ("embed_out.weight", "lm_head.weight"))
    other = {"embed_out.weight": "lm_head.weight", "lm_head.weight": "embed_out.weight"}[name]
    weights[other] = 2 * weights[name]
    save_file(weights, path / WEIGHTS, {"format": "pt"})


def other_shape(path: Path) -> None:
    weights = load_file(path / WEIGHTS)
    weights["gpt_neox.layers.1.mlp.dense_4h_to_h.bias"] = torch.zeros(33)
    save_file(weights, path / WEIGHTS, {"format": "pt"})


def no_object(path: Path) -> None:
    (path / "config.json").write_text("[1]")


def sharded(path: Path) -> list[Path]:
    GPTNeoXForCausalLM.from_pretrained(path).save_pretrained(path, max_shard_size="20KB")
    (path / WEIGHTS).unlink(missing_ok=True)
    return sorted(path.glob("*.safetensors"))


def shard_absent(path: Path) -> None:
    sharded(path)[-1].unlink()


def shard_of_another(path: Path) -> None:
    first, second, *_ = sharded(path)
    first.write_bytes(second.read_bytes())


def index_beside(path: Path) -> None:
    (path / INDEX).write_text('{"weight_map": {}}')


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (another_set, "1 weight files that would be left out, such as model-00002-of-00002"),
        (adapter, "PEFT"),
        (pickled, "only pickled weights (pytorch_model.bin)"),
        (quantised, "weights of type I8"),
        (two_heads, "has 41 tensors for 40 parameters"),
        (other_shape, "mismatched keys (1, such as"),
        (no_object, "cannot be opened"),
        (shard_absent, "which is not there (1 of"),
        (shard_of_another, f"and {INDEX} differ in"),
        (index_beside, f"has both {WEIGHTS} and {INDEX}"),
    ],
)
def test_files_that_are_not_of_one_checkpoint_are_refused(
    folder: Folder, damage: Callable[[Path], None], words: str
) -> None:
    path = folder()
    damage(path)
    assert words in refusal(path)


def test_shards_are_read(folder: Folder) -> None:
    path = folder()
    plain = GPTNeoX.from_pretrained_model(load(path)).clean_losses(IDS)
    assert len(sharded(path)) > 2
    assert torch.equal(GPTNeoX.from_pretrained_model(load(path)).clean_losses(IDS), plain)


def test_a_revision_needs_a_hub_name(folder: Folder) -> None:
    path = folder()
    assert "the local folder" in refusal(path, revision="step1000")
    with pytest.raises(ValueError, match="the embedded model has no revisions"):
        load_model(ModelConfig(revision="step1000"))


@pytest.mark.parametrize("device", ["cuda:x", "cpu:1", "cuda:", "gpu", "meta"])
def test_device_names(device: str) -> None:
    with pytest.raises(ValueError, match=r"model\.device must be auto, cpu or cuda\[:n\]"):
        ModelConfig(device=device)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="but torch sees"):
        resolve_device("cuda:99")
