"""What tokenizers of every kind do not know, and text that reads like a special token."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from spectro.measure.encoder import Encoder
from spectro.models.config import ModelConfig
from spectro.models.load import load_tokenizer
from spectro.tokens.build import build, check_source
from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.tokens.unknown import UNKNOWN
from tests.report.made_tokenizers import END, KINDS, tokenizer

WRITES_ALL = {
    "byte level", "llama", "metaspace always", "metaspace first", "metaspace never", "clip",
}  # fmt: skip
TEXT = "She said the cats: \u6f22\u5b57"
"""Two of 17 characters that are no white space are in no vocabulary; all letters are."""


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_characters_are_judged_for_tokenizers_that_do_not_write_all(kind: str) -> None:
    unknown = Encoder(copy.deepcopy(tokenizer(kind)), kind)([TEXT]).unknown
    expected = (0, 0) if kind in WRITES_ALL else (17, 2)
    assert (unknown.num_chars, unknown.num_unknown) == expected


def test_a_byte_level_vocabulary_with_bytes_missing_is_judged() -> None:
    """Without a token for what is unknown, BPE leaves the character out: no id says so."""
    made = Tokenizer(models.BPE(vocab={END: 0, "a": 1, "b": 2}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoded = Encoder(PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END), "x")(["abca"])
    assert encoded.ids == [[1, 2, 1]]
    assert (encoded.unknown.num_chars, encoded.unknown.num_unknown) == (4, 1)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"unigram", "slow"}))
def test_what_reads_like_end_of_text_is_text(kind: str) -> None:
    """Unigram finds the string among its own pieces, and `slow` ends texts with a character that is
    one of its own: `encode_stream` counts these."""
    own = copy.deepcopy(tokenizer(kind))
    encoder = Encoder(own, kind)
    assert own.eos_token_id not in encoder([f"the{own.eos_token}She"]).ids[0]


def test_the_embedded_tokenizer_gives_the_ids_that_it_gave() -> None:
    """Of a Python file; `<|endoftext|>` in a document is that string, not the document's end."""
    own = load_tokenizer(ModelConfig())
    encoder, text = Encoder(own, "embedded"), Path(pytest.__file__).read_text()
    assert encoder([text]).ids == own([text], add_special_tokens=False)["input_ids"]
    (ids,) = encoder(["a <|endoftext|> b"]).ids
    assert 0 not in ids and own.decode(ids) == "a <|endoftext|> b"


def _config(folder: Path) -> TokensConfig:
    source = Source(kind=SourceKind.TEXT_FOLDER, path=str(folder))
    return TokensConfig(
        subsets={"mine": source}, context=4, num_probe_sequences=2,
        num_sampling_sequences=1, num_evaluation_sequences=1,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["word level", "word piece", "unigram", "end of word"])
def test_a_text_in_another_script_is_refused_before_and_in_the_run(
    tmp_path: Path, kind: str
) -> None:
    """Unigram's mark of a word's start spans the first character too."""
    (tmp_path / "a.txt").write_text("\u043f\u0440\u0438 \u0432\u0435\u0442 " * 40)
    config, own = _config(tmp_path), copy.deepcopy(tokenizer(kind))
    encoder, vocab_size = Encoder(own, kind), len(own)
    message = (
        f"subset 'mine': the tokenizer of '{kind}' has no tokens for (239|240) of the first 240"
    )
    with pytest.raises(ValueError, match=message):
        build(config, encoder, own.eos_token_id, vocab_size)
    source, eot_id = config.subsets["mine"], int(own.eos_token_id)
    with pytest.raises(ValueError, match=message):
        check_source(config, "mine", source, range(4), encoder, eot_id, vocab_size)


def test_a_few_unknown_characters_are_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cats said the mat " * 20 + "\u6f22\u5b57")
    own = copy.deepcopy(tokenizer("word piece"))
    splits = build(_config(tmp_path), Encoder(own, "x"), own.eos_token_id, len(own))
    assert splits.reports["mine"].counts[UNKNOWN] == 2
    assert np.isin(splits.probe.ids_ST1, range(len(own))).all()
