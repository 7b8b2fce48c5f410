"""Tokenizers of every kind, loaded from a checkpoint's folder: ids, texts, what ends a document."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from spectro.measure.tokenise import tokenizer_of
from spectro.models.config import ModelConfig
from spectro.models.load import load_tokenizer
from spectro.tokens.display.token_texts import TokenTexts
from tests.models.test_gguf_file import NO_GGUF, write
from tests.report.made_tokenizers import END, KINDS, TEXTS, tokenizer

SMALL = 61
"""Vocabulary of the GGUF file."""


def saved(own: Any, folder: Path) -> ModelConfig:
    own.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return ModelConfig(name_or_path=str(folder))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"slow"}))
def test_a_saved_tokenizer_writes_as_the_one_in_memory(kind: str, tmp_path: Path) -> None:
    own = tokenizer(kind)
    encode, eot_id = tokenizer_of(saved(own, tmp_path), len(own))
    texts = [text for text in TEXTS if END not in text]
    expected = own(texts, add_special_tokens=False)["input_ids"]
    assert encode(texts).ids == [list(ids) for ids in expected]
    assert own.convert_ids_to_tokens(eot_id) == END


def test_a_tokenizer_in_python_over_bytes(tmp_path: Path) -> None:
    """ByT5: no file of a vocabulary, one token for each byte."""
    config, size = saved(ByT5Tokenizer(), tmp_path), len(ByT5Tokenizer())
    encode, eot_id = tokenizer_of(config, size)
    own = load_tokenizer(config)
    assert not own.is_fast and own.convert_ids_to_tokens(eot_id) == "</s>"
    encoded = encode(list(TEXTS))
    assert encoded.unknown.num_unknown == 0
    texts = TokenTexts(own, size)
    for text, ids in zip(TEXTS, encoded.ids, strict=True):
        assert b"".join(piece or b"" for piece in texts.in_text(ids)) == text.encode()


@pytest.mark.parametrize("kind", ["bos", "sep"])
def test_documents_end_with_what_there_is(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names: dict[str, Any] = {f"{kind}_token": END}
    own = PreTrainedTokenizerFast(tokenizer_object=tokenizer("byte level")._tokenizer, **names)
    with caplog.at_level(logging.INFO, logger="spectro"):
        encode, eot_id = tokenizer_of(saved(own, tmp_path), len(own))
    assert own.convert_ids_to_tokens(eot_id) == END and eot_id not in encode([f"a{END}"]).ids[0]
    assert f"documents end with {END}" in caplog.text


def test_a_tokenizer_without_any_is_refused(tmp_path: Path) -> None:
    own = PreTrainedTokenizerFast(tokenizer_object=tokenizer("byte level")._tokenizer)
    with pytest.raises(ValueError, match=r"has no end-of-text token.* name one as eos_token in"):
        tokenizer_of(saved(own, tmp_path), len(own))


def test_the_tokenizer_of_a_gguf_file(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason=NO_GGUF)
    write(tmp_path / "x.gguf")
    config = ModelConfig(name_or_path=str(tmp_path), gguf_file="x.gguf")
    encode, eot_id = tokenizer_of(config, SMALL)
    (ids,) = encode(["AB@@C"]).ids
    assert eot_id == 0 and ids == [2, 3, 60, 4]
    pieces = TokenTexts(load_tokenizer(config), SMALL).in_text(ids)
    assert b"".join(piece or b"" for piece in pieces) == b"AB@@C"
