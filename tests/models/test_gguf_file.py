"""GGUF files: the dequantised values are the model's; what would be left out is refused."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from spectro.models.config import ModelConfig
from spectro.models.load import load_model, load_tokenizer, read_config
from spectro.planning.model_sizes import size_of_checkpoint

NO_GGUF = "the extra gguf is not installed"
IDS = torch.arange(40).reshape(2, 20) % 61
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers.": "blk.",
}
"""Names of llama.cpp's tensors of a Qwen2 model."""
TOKENS = ["<|end|>", *(chr(64 + index) for index in range(59)), "@@"]


def model() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = Qwen2Config(
        vocab_size=61, hidden_size=64, intermediate_size=96, max_position_embeddings=64,
        rms_norm_eps=1e-5, initializer_range=0.2, tie_word_embeddings=True, bos_token_id=0,
        eos_token_id=0, rope_parameters={"rope_theta": 1000.0, "rope_type": "default"}, **sizes,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval()


def write(
    path: Path, change: Callable[[Any], None] = lambda writer: None, kind: str = "F32"
) -> Any:
    """The model as llama.cpp writes it; its tensors as the file has them, dequantised."""
    gguf = pytest.importorskip("gguf", reason=NO_GGUF)
    writer, stored = gguf.GGUFWriter(str(path), "qwen2"), {}
    for name, value in (
        ("block_count", 2), ("embedding_length", 64), ("feed_forward_length", 96),
        ("context_length", 64),
    ):  # fmt: skip
        getattr(writer, f"add_{name}")(value)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_merges(["@ @"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    change(writer)
    stored_as = getattr(gguf.GGMLQuantizationType, kind)
    for name, parameter in model().named_parameters():
        short = name
        for old, new in NAMES.items():
            short = short.replace(old, new)
        own = parameter.detach().numpy()
        as_kind = stored_as if own.ndim == 2 else gguf.GGMLQuantizationType.F32
        data = gguf.quantize(own, as_kind)
        writer.add_tensor(short, data, raw_dtype=as_kind)
        stored[name] = gguf.dequantize(data, as_kind).reshape(own.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


def config_of(folder: Path, **fields: Any) -> ModelConfig:
    return ModelConfig(name_or_path=str(folder), gguf_file="x.gguf", device="cpu", **fields)


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dequantised_values_are_loaded(
    kind: str, dtype: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored, expected = write(tmp_path / "x.gguf", kind=kind), model()
    with caplog.at_level(logging.INFO, logger="spectro"):
        found = load_model(config_of(tmp_path, dtype=dtype))
    assert f"x.gguf stores {kind}" in caplog.text and "dequantised weights" in caplog.text
    with torch.no_grad():
        for (name, own), value in zip(found.named_parameters(), expected.parameters(), strict=True):
            assert np.array_equal(own.numpy(), stored[name].astype(dtype))
            value.copy_(torch.from_numpy(stored[name]))
    logits = expected.to(getattr(torch, dtype))(IDS).logits
    torch.testing.assert_close(found(IDS).logits, logits, rtol=1e-4, atol=1e-4)  # eps is float32
    raw = read_config(config_of(tmp_path))
    wanted = {"model_type": "qwen2", "num_hidden_layers": 2, "tie_word_embeddings": True}
    assert raw.items() >= (wanted | {"vocab_size": 61, "num_key_value_heads": 1}).items()


def test_a_plan_takes_its_size_from_it(tmp_path: Path) -> None:
    write(tmp_path / "x.gguf")
    size = size_of_checkpoint(config_of(tmp_path))
    assert size.num_weights == sum(p.numel() for p in model().parameters())
    with pytest.raises(ValueError, match=r"no config\.json.* give model\.gguf_file=x\.gguf$"):
        size_of_checkpoint(ModelConfig(name_or_path=str(tmp_path)))


def test_its_own_tokenizer_is_loaded(tmp_path: Path) -> None:
    write(tmp_path / "x.gguf")
    tokenizer = load_tokenizer(config_of(tmp_path))
    assert tokenizer.convert_ids_to_tokens([0, 1, 5]) == [TOKENS[i] for i in (0, 1, 5)]
    assert tokenizer.eos_token_id == 0 and tokenizer("A@@")["input_ids"] == [2, 60]


def _rope_scaling(writer: Any) -> None:
    writer.add_float32("qwen2.rope.scaling.factor", 4.0)


def _extra_tensor(writer: Any) -> None:
    writer.add_tensor("rope_freqs.weight", np.ones(16, np.float32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_rope_scaling, "settings in x.gguf that transformers does not read: qwen2.rope.scaling."),
        (_extra_tensor, "has 27 tensors in x.gguf, but transformers reads 26 of them"),
    ],
)
def test_what_transformers_leaves_out_is_refused(
    change: Callable[[Any], None], words: str, tmp_path: Path
) -> None:
    write(tmp_path / "x.gguf", change)
    with pytest.raises(ValueError, match=words) as error:
        load_model(config_of(tmp_path))
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason=NO_GGUF)
    (tmp_path / "x.gguf").write_bytes(b"no such file" * 10)
    with pytest.raises(ValueError, match=r"x\.gguf is not a GGUF file"):
        load_model(config_of(tmp_path))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "y.gguf").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has no x\.gguf in its folder.* these: y\.gguf$"):
        load_model(config_of(tmp_path))


def test_a_gguf_file_as_the_model_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"")
    for place in (tmp_path, tmp_path / "x.gguf"):
        with pytest.raises(ValueError, match=r"give .*model\.gguf_file=x\.gguf$"):
            load_model(ModelConfig(name_or_path=str(place)))


@pytest.mark.parametrize("name", ["x.safetensors", "../x.gguf", "/x.gguf", "a//x.gguf", ""])
def test_names_of_gguf_files(name: str) -> None:
    with pytest.raises(ValueError, match=r"name of a \.gguf file inside model\.name_or_path"):
        ModelConfig(name_or_path="a", gguf_file=name)
    with pytest.raises(ValueError, match="embedded model has none"):
        ModelConfig(gguf_file="x.gguf")


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    try:
        importlib.metadata.version("gguf")
    except importlib.metadata.PackageNotFoundError:
        (tmp_path / "x.gguf").write_bytes(b"GGUF")
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'spectro\[gguf\]'"):
            load_model(config_of(tmp_path))
    else:
        pytest.skip("the extra gguf is installed here")
