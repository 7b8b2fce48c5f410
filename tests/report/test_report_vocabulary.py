"""Every byte of every token is shown, and nothing of it is markup or invisible."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectro.tokens.display.vocabulary import (
    CLOSE,
    NEWLINE,
    OPEN,
    SPACE,
    TAB,
    byte_pieces,
    bytes_to_unicode,
    display,
    display_name,
)


def test_every_byte_has_its_own_printable_character():
    table = bytes_to_unicode()
    assert sorted(table) == list(range(256)) and len(set(table.values())) == 256
    assert table[ord("A")] == "A" and table[ord(" ")] == "Ġ" and table[ord("\n")] == "Ċ"


@given(st.binary(min_size=1, max_size=12))
def test_a_token_of_any_bytes_is_read_back(raw):
    table = bytes_to_unicode()
    assert byte_pieces(["".join(table[byte] for byte in raw)], ()) == [raw]


def test_added_tokens_are_plain_text():
    entries = ["Ġthe", "<|endoftext|>", "    ", None]
    expected = [b" the", b"<|endoftext|>", b"    ", None]
    assert byte_pieces(entries, {"<|endoftext|>", "    "}) == expected


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b" the", f"{SPACE}the"),
        (b"\n\t", f"{NEWLINE}{TAB}"),
        (b"\r", f"{OPEN}␍{CLOSE}"),
        (b"\x00", f"{OPEN}␀{CLOSE}"),
        (b"\x7f", f"{OPEN}␡{CLOSE}"),
        (b"\xf0\x9f", f"{OPEN}F0{CLOSE}{OPEN}9F{CLOSE}"),
        ("\u202e".encode(), f"{OPEN}U+202E{CLOSE}"),
        ("\u00a0".encode(), f"{OPEN}U+00A0{CLOSE}"),
        ("\u2028".encode(), f"{OPEN}U+2028{CLOSE}"),
        ("\ue000".encode(), f"{OPEN}U+E000{CLOSE}"),
        ("\u0301".encode(), "\u25cc\u0301"),
        ("שלום".encode(), "שלום"),
        ("😀".encode(), "😀"),
        (b"</script>", "</script>"),
        (b"", f"{OPEN}empty{CLOSE}"),
        (None, f"{OPEN}no such token{CLOSE}"),
    ],
)
def test_display(raw, shown):
    assert display(raw) == shown


@given(st.binary(min_size=1, max_size=12))
def test_nothing_invisible_is_left(raw):
    marks = {OPEN, CLOSE, SPACE, NEWLINE, TAB}
    for char in display(raw):
        assert char in marks or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Zs")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", ""),
        ("a b", "a b"),
        ("a\x1b[31m", f"a{OPEN}␛{CLOSE}[31m"),
        ("a\udcff.txt", f"a{OPEN}FF{CLOSE}.txt"),  # a byte of a file's name
        ("\ud800", f"{OPEN}ED{CLOSE}{OPEN}A0{CLOSE}{OPEN}80{CLOSE}"),  # half a character, of JSON
        ("a\u202eb", f"a{OPEN}U+202E{CLOSE}b"),
    ],
)
def test_names_can_be_shown_and_encoded(name, shown):
    assert display_name(name) == shown
    display_name(name).encode()
