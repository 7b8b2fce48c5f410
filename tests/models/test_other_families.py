"""Checkpoints of families beside GPT-NeoX: what is loaded, and what is refused with its reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from spectro.models.config import ModelConfig
from spectro.models.consistency import require_causal_model, require_plain
from spectro.models.load import load_model
from spectro.models.weight_files import WEIGHTS

IDS = torch.arange(40).reshape(2, 20) % 61
SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "initializer_range": 0.2,
    "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
GPT2_SIZES = {
    "vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64,
    "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "gpt2": GPT2_SIZES,
    "llama": SIZES | {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "mistral": SIZES | {"num_key_value_heads": 2, "sliding_window": 8},
    "qwen2": SIZES | {"num_key_value_heads": 2},
    "qwen3": SIZES | {"num_key_value_heads": 2, "head_dim": 16},
    "gemma": SIZES | {"num_key_value_heads": 1, "head_dim": 16},
    # run by their own forward alone
    "opt": {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"vocab_size": 61, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mixtral": SIZES | {"num_key_value_heads": 2, "num_local_experts": 3},
    "mamba": {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
}
"""Settings of small models by their type, as released configs spell them."""


def made(kind: str, **fields: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **KINDS[kind], **fields)
    return AutoModelForCausalLM.from_config(config).eval()


def load(folder: Path, **fields: Any) -> PreTrainedModel:
    return load_model(ModelConfig(name_or_path=str(folder), device="cpu", **fields))


def edit(folder: Path, **keys: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def refusal(folder: Path, **fields: Any) -> str:
    with pytest.raises(ValueError, match="model") as error:
        load(folder, **fields)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_checkpoint_is_loaded_whole_and_in_shards(
    kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """In float32, whatever type it is stored in: the stored values, and their own logits."""
    expected, model = made(kind), made(kind).to(dtype)
    for name, size in (("whole", "1GB"), ("shards", "8KB")):
        model.save_pretrained(tmp_path / name, max_shard_size=size)
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    with torch.no_grad():  # buffers, such as rotary frequencies, are not rounded
        for own, rounded in zip(expected.parameters(), model.parameters(), strict=True):
            own.copy_(rounded)
    for name in ("whole", "shards"):
        found = load(tmp_path / name)
        require_plain(found)
        assert type(found) is type(model)
        for own, other in zip(found.parameters(), expected.parameters(), strict=True):
            assert own.dtype is torch.float32 and torch.equal(own, other)
        torch.testing.assert_close(found(IDS).logits, expected(IDS).logits)


@pytest.mark.parametrize(
    ("kind", "keys", "words"),
    [
        ("llama", {"sliding_window": 8}, "that Llama does not have: sliding_window"),
        ("llama", {"partial_rotary_factor": 0.5}, "Llama does not have: partial_rotary_factor"),
        ("llama", {"rope_theta": 77.0}, "rope_theta 77.0 and rope_theta 10000.0"),
        ("llama", {"rms_norm_eps": 0}, "rms_norm_eps 0 in config.json, expected a finite number"),
        ("llama", {"num_key_value_heads": 0}, "num_key_value_heads 0 in config.json, expected"),
        ("llama", {"num_hidden_layers": 1}, "tensors that its config.json does not ask for"),
        ("llama", {"num_hidden_layers": 3}, "missing keys (9, such as model.layers.2"),
        ("llama", {"intermediate_size": 50}, "mismatched keys"),
        ("gpt2", {"n_ctx": 32}, "n_ctx 32 and n_positions 64"),
        ("gpt2", {"rope_theta": 1e4}, "that GPT-2 does not have: rope_theta"),
        ("gpt2", {"n_head": 5}, "n_embd 32 in config.json, which is no multiple of n_head 5"),
        ("gpt2", {"activation_function": "own"}, "activation_function 'own'"),
        ("gemma", {"hidden_activation": "relu"}, "hidden_activation 'relu' and hidden_act"),
        ("gemma", {"use_bidirectional_attention": True}, "is not causal: another last token"),
        ("qwen3", {"qk_scale": 2.0}, "that Qwen3 does not have: qk_scale"),
        ("opt", {"auto_map": {"AutoModelForCausalLM": "own.Model"}}, "which is never run; if it"),
        ("opt", {"quantization_config": {"bits": 4}}, "displacements of quantised weights"),
        ("opt", {"is_encoder_decoder": True}, "an encoder-decoder model"),
        ("opt", {"model_type": "t5"}, "of type 't5', expected a causal language model"),
        ("opt", {"num_hidden_layers": 3}, "missing keys"),
    ],
)
def test_another_config_is_refused(
    kind: str, keys: dict[str, Any], words: str, tmp_path: Path
) -> None:
    made(kind).save_pretrained(tmp_path)
    edit(tmp_path, **keys)
    assert words in refusal(tmp_path)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("gpt2", {"n_ctx": 64, "task_specific_params": {"a": 1}, "summary_type": "cls_index"}),
        ("gemma", {"hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh"}),
        ("llama", {"is_llama_config": True, "rope_interleaved": False, "pretraining_tp": 1}),
    ],
)
def test_keys_of_released_checkpoints_are_read(
    kind: str, keys: dict[str, Any], tmp_path: Path
) -> None:
    model = made(kind)
    model.save_pretrained(tmp_path)
    edit(tmp_path, **keys)
    assert torch.equal(load(tmp_path)(IDS).logits, model(IDS).logits)


def _change(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file({name: own.contiguous() for name, own in weights.items()}, folder / WEIGHTS)


def test_either_of_two_tied_tensors_is_enough(tmp_path: Path) -> None:
    model = made("llama")
    model.save_pretrained(tmp_path)
    name, other = "model.embed_tokens.weight", "lm_head.weight"
    assert other not in load_file(tmp_path / WEIGHTS)
    expected = model(IDS).logits
    _change(tmp_path, lambda weights: weights.update({other: weights[name].clone()}))
    assert torch.equal(load(tmp_path)(IDS).logits, expected)
    _change(tmp_path, lambda weights: weights.update({other: 2 * weights[name]}))
    assert "ties lm_head.weight to model.embed_tokens.weight in its config" in refusal(tmp_path)
    _change(tmp_path, lambda weights: weights.update({other: weights.pop(name)}))
    edit(tmp_path, tie_word_embeddings=True)
    assert torch.equal(load(tmp_path)(IDS).logits, expected)


def test_gpt2_as_it_was_released(tmp_path: Path) -> None:
    """Without the prefix of its parameters, with the causal masks of every layer."""
    model = made("gpt2")
    model.save_pretrained(tmp_path)

    def as_released(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            weights[name.removeprefix("transformer.")] = weights.pop(name)
        for layer in range(2):
            weights[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.uint8)

    _change(tmp_path, as_released)
    assert torch.equal(load(tmp_path)(IDS).logits, model(IDS).logits)


def test_weights_that_are_not_finite_or_integers_are_refused(tmp_path: Path) -> None:
    made("opt").save_pretrained(tmp_path)
    name = "model.decoder.layers.1.fc1.weight"
    _change(tmp_path, lambda weights: weights[name].fill_(torch.nan))
    assert f"weight {name} has values that are not finite" in refusal(tmp_path)
    _change(tmp_path, lambda weights: weights.update({name: weights[name].to(torch.int8)}))
    assert "weights of type I8" in refusal(tmp_path)


def test_what_is_no_causal_model_is_refused() -> None:
    with pytest.raises(ValueError, match="found Linear: give the model with its unembedding"):
        require_causal_model(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="found LlamaModel: give the model with its unembedding"):
        require_causal_model(made("llama").model)
    bert = BertLMHeadModel(
        BertConfig(
            vocab_size=61, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=48, initializer_range=0.2, is_decoder=False,
        )
    )  # fmt: skip
    with pytest.raises(ValueError, match="BertLMHeadModel is not causal: another last token"):
        require_causal_model(bert)
    whole = made("llama")
    whole.lm_head.weight = torch.nn.Parameter(torch.ones(61, 32).to(torch.int8), False)
    with pytest.raises(ValueError, match=r"lm_head.weight is of type torch.int8, expected float"):
        require_causal_model(whole)


def _hook(model: PreTrainedModel) -> None:
    model.base_model.layers[1].register_forward_hook(lambda module, args, output: output)


def _adapter(model: PreTrainedModel) -> None:
    own = model.base_model.layers[1].self_attn.q_proj
    own.register_parameter("lora_A", torch.nn.Parameter(torch.zeros(2)))


def _replaced(model: PreTrainedModel) -> None:
    model.base_model.layers[1].mlp.act_fn = torch.nn.ReLU()


def _untied(model: PreTrainedModel) -> None:
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_hook, "a forward hook on model.layers.1 "),
        (_adapter, "other parameters than a LlamaForCausalLM of its config .1, such as model"),
        (_replaced, "a ReLU as model.layers.1.mlp.act_fn, expected SiLU"),
        (_untied, "config ties model.embed_tokens.weight and lm_head.weight, which are two"),
    ],
)
def test_a_changed_model_is_refused(change: Callable[[PreTrainedModel], None], words: str) -> None:
    model = made("llama")
    require_plain(copy.deepcopy(model))
    change(model)
    with pytest.raises(ValueError, match=words):
        require_plain(model)


def test_the_kinds_are_of_the_families() -> None:
    """So that a test above cannot pass on a model of another class."""
    assert isinstance(made("llama"), LlamaForCausalLM) and isinstance(made("gpt2"), GPT2LMHeadModel)
    assert LlamaConfig.model_type == "llama" and GPT2Config.model_type == "gpt2"
