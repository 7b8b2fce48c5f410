"""Bytes → text: what each encoding and each character that is not text gives, with counts."""

import io

import pytest

from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_bytes import FileText, decode_utf8

TEXT = "one\r\ntwo 	é 漢 🎈\u2028three\ufeff\ufffd\n"
NOT_UTF8 = "characters not in UTF-8 replaced by U+FFFD"
SURROGATES = "lone surrogates replaced by U+FFFD"
MARKS = "byte-order marks dropped"


def read(raw):
    report = SourceReport()
    return FileText("a.txt", report).whole(io.BytesIO(raw)), dict(report.counts)


def lines(raw):
    report = SourceReport()
    stream = io.BufferedReader(io.BytesIO(raw))
    return list(FileText("a.jsonl", report).lines(stream)), dict(report.counts)


def test_utf8_stays_as_it_is():
    assert read(TEXT.encode()) == (TEXT, {})
    assert read(b"") == ("", {})
    assert lines(b"a\r\nb\xe2\x80\xa8c\n\nd") == (
        [(1, "a\r\n"), (2, "b\u2028c\n"), (3, "\n"), (4, "d")], {},
    )  # fmt: skip


def test_a_mark_of_utf8_is_dropped_at_the_start_alone():
    assert read(b"\xef\xbb\xbf" + TEXT.encode()) == (TEXT, {MARKS: 1})
    assert read(b"\xef\xbb\xbf" * 2 + b"a") == ("a", {MARKS: 1})
    assert lines(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n") == ([(1, "a\n"), (2, "b\n")], {MARKS: 2})


@pytest.mark.parametrize("width", ["16", "32"])
@pytest.mark.parametrize("order", ["le", "be"])
def test_utf16_and_utf32_with_a_mark_are_read(width, order):
    raw = ("\ufeff" + TEXT).encode(f"utf-{width}-{order}")
    assert read(raw) == (TEXT, {f"files read as UTF-{width}": 1})
    first, rest = TEXT.split("\n", 1)
    assert lines(raw) == ([(1, first + "\n"), (2, rest)], {f"files read as UTF-{width}": 1})


@pytest.mark.parametrize(
    "raw, message",
    [
        (TEXT.encode("utf-16-le"), "a.txt is not text: .* is it UTF-16 without a byte-order mark"),
        (TEXT.encode("utf-32-be"), "is it UTF-16 without a byte-order mark"),
        (b"some\0bytes", "a.txt is not text: 1 of its 10 bytes are zero: is it binary"),
        (bytes(range(128, 256)), "a.txt is not UTF-8 text: 128 of 128 characters"),
        ("Всё это кириллица".encode("cp1251"), "not UTF-8 text: 14 of 16 characters"),
        ("漢字かな交じり文".encode("shift-jis"), "not UTF-8 text"),
        ("caf\xe9".encode("latin-1"), "not UTF-8 text: 1 of 4 characters"),
        ("\ufeffab".encode("utf-16-le")[:-1], "expected UTF-16, as the byte-order mark says"),
        ("\ufeffab".encode("utf-32-le")[:-2], "expected UTF-32, as the byte-order mark says"),
        ("\ufeffa\0b".encode("utf-16-be"), "a.txt is not text: it has NUL characters"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused(raw, message):
    with pytest.raises(ValueError, match=message):
        read(raw)


@pytest.mark.parametrize(
    "raw, message",
    [
        (b"a\nb\0c\n", "a.jsonl, line 2 is not text: 1 of its 4 bytes are zero"),
        ("a\nb\n".encode("utf-16-le"), "a.jsonl, line 1 is not text"),
        (("\ufeff" + "a\n" * 3).encode("utf-16-le")[:-1], "line 3: expected UTF-16"),
        (
            b"plain ascii\n" + b"\xe9\xe8\xe7\xe6\n" * 9,
            "a.jsonl, line 6 is not UTF-8 text: 20 of",
        ),
        (b"\xe9\xe8\xe7\xe6\n", "a.jsonl is not UTF-8 text: 4 of 5"),
    ],
)
def test_lines_that_are_no_text_are_named(raw, message):
    with pytest.raises(ValueError, match=message):
        lines(raw)


def test_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("spectro.tokens.sources.text_bytes.MAX_LINE_CHARS", 16)
    assert lines(b"a" * 14 + b"\nb\n")[0] == [(1, "a" * 14 + "\n"), (2, "b\n")]
    for raw in (b"a\n" + b"b" * 40, ("\ufeffa\n" + "b" * 40).encode("utf-16-le")):
        with pytest.raises(ValueError, match="line 2: expected lines of less than 16 bytes"):
            lines(raw)


def test_a_large_binary_file_is_refused_by_its_head(monkeypatch):
    monkeypatch.setattr("spectro.tokens.sources.text_bytes._HEAD_BYTES", 8)
    with pytest.raises(ValueError, match="1 of its 8 bytes are zero"):
        read(b"binary\0\1" + b"\0" * 100)
    assert read(("\ufeff" + "wide" * 9).encode("utf-16-le"))[0] == "wide" * 9
    with pytest.raises(ValueError, match="1 of its 19 bytes are zero"):
        read(b"some text and then\0")


def test_bad_bytes_are_replaced_and_counted_but_not_the_text_s_own_marks():
    french = "Un café, s'il vous plaît, et l'addition."
    text, counts = read(french.encode("latin-1"))
    assert text == french.replace("é", "\ufffd").replace("î", "\ufffd")
    assert counts == {NOT_UTF8: 2}
    raw = "own \ufffd ".encode() + b"\xf0\xef\xbf\xbd and enough of plain text"
    assert read(raw) == ("own \ufffd \ufffd\ufffd and enough of plain text", {NOT_UTF8: 1})
    assert decode_utf8(b"\xef\xbb\xbfa\xff") == ("a\ufffd", 1)


def test_strings_lose_lone_surrogates_nul_and_marks():
    report = SourceReport()
    text = FileText("a.jsonl", report)
    assert text.of_string("cut \ud83d here, \ude00 there, and a whole \ud83d\ude00") == (
        "cut \ufffd here, \ufffd there, and a whole 😀"
    )
    assert text.of_string("a zero \0 in a longer string \ufffd") == (
        "a zero \ufffd in a longer string \ufffd"
    )
    assert text.of_string("\ufeffmarked\ufeff") == "marked\ufeff"
    assert text.of_string(TEXT) == TEXT
    assert dict(report.counts) == {
        SURROGATES: 2, "NUL characters replaced by U+FFFD": 1, MARKS: 1,
    }  # fmt: skip
    with pytest.raises(ValueError, match="line 3 is not UTF-8 text: 53 of 146"):
        text.of_string("\0" * 50, "line 3")


def test_declared_utf8_and_values():
    report = SourceReport()
    text = FileText("a.parquet", report)
    assert text.of_utf8(b"a long enough text with a \xff and a \0 in it") == (
        "a long enough text with a \ufffd and a \ufffd in it"
    )
    assert text.of_value(None, "text") is None
    assert text.of_value("é", "text") == "é"
    assert text.of_value("é".encode(), "text") == "é"
    assert report.counts["null documents skipped"] == 1
    for value, found in ((3, "int"), (float("nan"), "NaN"), (["a"], "list"), (True, "bool")):
        with pytest.raises(ValueError, match=f"row 2: expected text in 'text', found {found}"):
            text.of_value(value, "text", "row 2")
    with pytest.raises(ValueError, match="row 2 is not text: 1 of its 3 bytes are zero"):
        text.of_value(b"a\0b", "text", "row 2")
