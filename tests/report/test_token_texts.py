"""Tokens of tokenizers of every kind, one by one and in texts, against their own decoding."""

from __future__ import annotations

from itertools import chain, groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.token_texts import TokenTexts
from tests.report.made_tokenizers import BYTES, END, KINDS, TEXTS, tokenizer, wrapped

LOSSLESS = ("byte level", "llama", "metaspace never")
FALLBACK = ("llama", "metaspace always", "metaspace first", "metaspace never")


def texts_of(kind: str) -> TokenTexts:
    made = tokenizer(kind)
    return TokenTexts(made, max(made.get_vocab().values()) + 3)


def decoded(made: Any, ids: list[int]) -> str:
    return made.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def lossy(kind: str, entries: list[str], pieces: list[bytes]) -> str:
    """What decoders make of bytes that are not UTF-8: byte fallback gives up whole runs of bytes,
    byte-level decoders what is malformed; CLIP strips the whole text."""
    if kind not in FALLBACK:
        joined = b"".join(pieces).decode("utf-8", "replace")
        return joined.strip() if kind == "clip" else joined
    said = ""
    for is_byte, run in groupby(zip(entries, pieces, strict=True), lambda pair: pair[0] in BYTES):
        raw = b"".join(piece for _, piece in run)
        try:
            said += raw.decode()
        except UnicodeDecodeError:
            assert is_byte
            said += "\ufffd" * len(raw)
    return said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_of_a_text_are_its_decoding(kind: str, text: str) -> None:
    made, texts = tokenizer(kind), texts_of(kind)
    ids = texts.written(text)
    joined = b"".join(piece or b"" for piece in texts.in_text(ids))
    assert joined.decode() == (decoded(made, ids) if ids else "")
    if kind in LOSSLESS and not (kind == "llama" and END in text):  # it adds a space after END
        assert joined.decode() == text


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(data=st.data())
def test_the_pieces_of_any_tokens_are_their_decoding(kind: str, data: st.DataObject) -> None:
    made, texts = tokenizer(kind), texts_of(kind)
    known = sorted(made.get_vocab().values())
    own = st.sampled_from(known).map(lambda index: [index])
    parts = st.one_of(own, st.sampled_from([texts.written("😀"), texts.written(" the")]))
    ids = [*chain.from_iterable(data.draw(st.lists(parts, min_size=1, max_size=12)))]
    pieces = [piece for piece in texts.in_text(ids) if piece is not None]
    assert len(pieces) == len(ids)
    try:
        assert b"".join(pieces).decode() == decoded(made, ids)
    except UnicodeDecodeError:
        entries = made.convert_ids_to_tokens(ids)
        assert lossy(kind, entries, pieces) == decoded(made, ids)


@pytest.mark.parametrize(
    ("kind", "pieces"),
    [
        ("byte level", {"Ġthe": b" the", "Ċ": b"\n", "Ã": b"\xc3", END: END.encode()}),
        ("llama", {"▁the": b" the", "▁": b" ", "<0x0A>": b"\n", "<0xE2>": b"\xe2", "<s>": b"<s>"}),
        ("metaspace first", {"▁the": b" the", "ing": b"ing", "<0x41>": b"A", END: END.encode()}),
        ("unigram", {"▁the": b" the", "ing": b"ing", "▁": b" ", "<unk>": b"<unk>"}),
        ("word piece", {"the": b" the", "##a": b"a", ".": b".", "[SEP]": b"[SEP]",
                        "plain added": b" plain added"}),
        ("word piece, no cleanup", {"the": b" the", ".": b" .", "##a": b"a"}),
        ("word level", {"the": b" the", ".": b" .", END: END.encode()}),
        ("end of word", {"the</w>": b"the ", "th": b"th", END: END.encode()}),
        ("clip", {"the</w>": b"the ", "th": b"th", "Ã": b"\xc3", "Ã</w>": b"\xc3 "}),
        ("slow", {"_the": b" the", "a": b"a", "~": b"~"}),
    ],
)  # fmt: skip
def test_what_a_token_adds_inside_a_text(kind: str, pieces: dict[str, bytes]) -> None:
    found, vocab = texts_of(kind).pieces, tokenizer(kind).get_vocab()
    assert {entry: found[vocab[entry]] for entry in pieces} == pieces
    assert None not in found[: len(vocab)] and found[-2:] == [None, None]


def test_only_the_ends_of_a_text_lose_their_spaces() -> None:
    def shown(kind: str, text: str) -> list[bytes | None]:
        found = texts_of(kind)
        return found.in_text(found.written(text))

    assert shown("metaspace always", "the the") == [b"the", b" the"]
    assert shown("metaspace never", " the the") == [b" the", b" the"]
    assert shown("word piece", "The the.") == [b"the", b" the", b"."]
    assert shown("end of word", "the the") == [b"the ", b"the"]
    assert shown("unigram", "the") == [b"the"]


def test_a_character_of_several_tokens_keeps_its_bytes() -> None:
    found = texts_of("llama")
    pieces = found.in_text(found.written("the 😀"))
    assert pieces[-4:] == [b"\xf0", b"\x9f", b"\x98", b"\x80"]
    assert found.in_text(found.written("the 😀")[:-1])[-3:] == [b"\xf0", b"\x9f", b"\x98"]


def test_ids_without_a_token_and_ids_beyond_the_model() -> None:
    made = Tokenizer(models.WordLevel(vocab={"a": 0, "b": 4, "c": 9}, unk_token="a"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    found = TokenTexts(wrapped(made), 6)  # of the model; END is 3, c is beyond
    assert found.pieces == [b"a", None, None, END.encode(), b"b", None]
    assert found.in_text([0, 1, 4, 9]) == [b"a", None, b"b", None]
    assert found.in_text([]) == found.in_text([])[:0] == []


def test_a_decoder_that_looks_beyond_the_neighbours() -> None:
    """Its texts are split where they grow; `ab` and `cd` are one sign together."""
    made = Tokenizer(models.WordLevel(vocab={"ab": 0, "cd": 1, "e": 2, "f": 3}, unk_token="f"))
    made.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace("abcd", "&")])
    found = TokenTexts(wrapped(made), 5)
    assert found.pieces[:4] == [b"ab", b"cd", b"e", b"f"]
    assert found.in_text([2, 0, 1, 3]) == [b"e", b"", b"&", b"f"]


def test_a_decoding_that_cannot_be_split_is_refused() -> None:
    made = Tokenizer(models.WordLevel(vocab={"a": 0, "b": 1}, unk_token="a"))
    made.decoder = decoders.CTC(pad_token="b")  # a token after itself adds nothing
    with pytest.raises(ValueError, match=r"cannot be split into tokens: of 2 .* \['CTC'\]"):
        _ = TokenTexts(wrapped(made), 3).pieces


def test_bytes_are_known_by_what_is_done_to_text_where_there_is_no_decoder() -> None:
    made = Tokenizer(models.BPE(vocab={"a": 0, "Ġ": 1, "é": 2}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert TokenTexts(wrapped(made), 3).pieces == [b"a", b" ", b"\xe9"]
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    assert TokenTexts(wrapped(made), 3).pieces == [b" a", " Ġ".encode(), " é".encode()]


def test_bytes_with_more_to_their_decoder() -> None:
    made = Tokenizer(models.BPE(vocab={"a": 0, "Ġ": 1, "Ã": 2, "_b": 3}, merges=[]))
    made.decoder = decoders.Sequence([decoders.Replace("_", "Ġ"), decoders.ByteLevel()])
    found = TokenTexts(wrapped(made), 4)
    assert found.pieces == [b"a", b" ", b"\xc3", b" b"]
    assert found.in_text([0, 3]) == [b"a", b" b"]


def test_a_latin_letter_is_no_byte() -> None:
    """Entries of SentencePiece that a byte-level vocabulary would read as bytes."""
    made = Tokenizer(models.BPE(vocab={"a": 0, "é": 1, "Ġ": 2, "▁": 3}, merges=[]))
    made.decoder = decoders.Metaspace()
    assert TokenTexts(wrapped(made), 4).pieces == [b"a", "é".encode(), "Ġ".encode(), b" "]


@pytest.mark.parametrize(
    ("kind", "typed", "entry"),
    [
        ("llama", " the", "▁the"),
        ("llama", "▁the", "▁the"),  # as the tokenizer's file has it
        ("llama", "␣the", "▁the"),  # as it is shown
        ("llama", "\n", "<0x0A>"),
        ("byte level", "Ġthe", "Ġthe"),
        ("unigram", " the", "▁the"),
        ("word piece", " the", "the"),
        ("word piece", "##a", "##a"),
        ("end of word", "the ", "the</w>"),
        ("word level", " the", "the"),
    ],
)
def test_what_is_typed_is_found(kind: str, typed: str, entry: str) -> None:
    made = tokenizer(kind)
    known = Vocabulary.of(made, len(made))
    exact, holding = known.spelled(typed)
    assert exact == [made.get_vocab()[entry]] and set(exact) <= set(holding)


def test_what_is_not_found_is_told_as_the_tokenizer_writes_it() -> None:
    known = {kind: Vocabulary.of(tokenizer(kind), 600) for kind in ("word piece", "llama")}
    assert known["word piece"].spelled(" The") == ([], [])  # it knows no capitals
    assert known["word piece"].written(" The") == "the tokenizer writes it as ␣the"
    said = known["llama"].written("😀")
    assert said == "the tokenizer writes it as 5 tokens: ␣ ⟨F0⟩ ⟨9F⟩ ⟨98⟩ ⟨80⟩"
    assert known["word piece"].written("") == Vocabulary(pieces=[b"a"]).written("a") == ""
    few = Vocabulary.of(tokenizer("word piece"), 9)  # of the model, less than the tokenizer's
    assert few.written("the") == "the tokenizer writes it as ⟨no such token⟩"
    assert Vocabulary(pieces=None).spelled("a") == ([], [])
