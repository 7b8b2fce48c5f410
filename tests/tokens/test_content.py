"""Files by their content: compression whatever the name, cut files, formats that are no text."""

import bz2
import gzip
import lzma
import os
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from spectro.tokens.sources.content import opened
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_folder import read_document

rng = np.random.default_rng(0)
TEXT = b"".join(b"%d words of text\n" % n for n in rng.integers(0, 1000, 4000))
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


def zstd(raw, **settings):
    made = zstandard.ZstdCompressionParameters.from_level(3, **settings)
    compressor = zstandard.ZstdCompressor(compression_params=made).compressobj()  # of unknown size
    return compressor.compress(raw) + compressor.flush()


def halves(compress):
    return compress(TEXT[:1000]) + compress(TEXT[1000:])


FORMS = {
    "plain": TEXT,
    "gzip": gzip.compress(TEXT, mtime=0),
    "gzip of two members": halves(gzip.compress),
    "zstd": zstandard.compress(TEXT),
    "zstd of two frames": halves(zstandard.compress),
    "zstd with skippable frames": SKIPPABLE + halves(zstandard.compress) + SKIPPABLE,
    "zstd of many tiny frames": b"".join(zstandard.compress(TEXT[i : i + 1]) for i in range(700)),
    "zstd --long=31": zstd(TEXT, window_log=31, enable_ldm=True),
    "zstd --long=28": zstd(TEXT, window_log=28, enable_ldm=True),
    "bzip2": bz2.compress(TEXT),
    "bzip2 of two streams": halves(bz2.compress),
    "xz": lzma.compress(TEXT),
    "xz of two streams": halves(lzma.compress),
    "xz with zeros between and after": lzma.compress(TEXT[:9])
    + b"\0" * 600
    + lzma.compress(TEXT[9:])
    + b"\0" * 4,
}


@pytest.mark.parametrize("name", ["a.txt", "a.gz", "a.zst"])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_read_by_its_content(tmp_path, form, name):
    (tmp_path / name).write_bytes(FORMS[form])
    with opened(tmp_path / name) as stream:
        assert stream.read() == (TEXT[:700] if "tiny" in form else TEXT)


@pytest.mark.parametrize(
    "compress", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress]
)
def test_nothing_compressed_is_nothing(tmp_path, compress):
    (tmp_path / "a").write_bytes(compress(b""))
    assert read_document(tmp_path / "a", SourceReport()) == ""


@pytest.mark.parametrize("cut", [5, 2000])
@pytest.mark.parametrize("form", [form for form in FORMS if form != "plain" and "tiny" not in form])
def test_a_file_that_is_cut_short_is_refused(tmp_path, form, cut):
    raw = FORMS[form].removesuffix(SKIPPABLE).rstrip(b"\0" if "zeros" in form else b"")
    (tmp_path / "a.txt").write_bytes(raw[:-cut])
    with pytest.raises(ValueError, match=r"a\.txt: expected \w+, found .* cut short"):
        read_document(tmp_path / "a.txt", SourceReport())


@pytest.mark.parametrize("form", ["gzip", "zstd", "bzip2", "xz"])
def test_damage_is_refused(tmp_path, form):
    raw = bytearray(FORMS[form])
    raw[len(raw) // 2] ^= 255
    raw[-9] ^= 255  # zstd without checksum may not notice the first
    (tmp_path / "a.txt").write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.txt(: expected \w+, found| is not text)"):
        read_document(tmp_path / "a.txt", SourceReport())


@pytest.mark.parametrize("form", ["gzip", "zstd", "bzip2", "xz"])
@pytest.mark.parametrize("after", ["bytes of another kind", "a second, damaged", "a second, cut"])
def test_what_follows_the_first_stream_is_read_or_refused(tmp_path, form, after):
    again = bytearray(FORMS[form])
    again[2:20] = bytes(18)
    tails = {"a second, damaged": bytes(again), "a second, cut": FORMS[form][:-12]}
    tail = tails.get(after, b"and some plain text")
    (tmp_path / "a.txt").write_bytes(FORMS[form] + tail)
    with pytest.raises(ValueError, match=rf"a\.txt: expected {form}, found .* damaged or cut"):
        read_document(tmp_path / "a.txt", SourceReport())


def archive(place):
    with zipfile.ZipFile(place, "w") as made:
        made.writestr("a.txt", TEXT)


OTHERS = {
    "a zip archive": archive,
    "Parquet": lambda place: pq.write_table(pa.table({"text": ["a"]}), place),
    "lz4": lambda place: place.write_bytes(b"\x04\x22\x4d\x18 and so on"),
    "a PDF": lambda place: place.write_bytes(b"%PDF-1.7\n"),
    "a tar archive": lambda place: place.write_bytes(b"a.txt".ljust(257, b"\0") + b"ustar\0"),
    "a tar archive within gzip": lambda place: place.write_bytes(
        gzip.compress(b"a.txt".ljust(257, b"\0") + b"ustar\0", mtime=0)
    ),
    "a Git LFS pointer": lambda place: place.write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 9\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_formats_that_hold_no_text_are_named(tmp_path, name):
    OTHERS[name](tmp_path / "a.txt")
    with pytest.raises(ValueError, match=rf"a\.txt: expected text, found {name}"):
        read_document(tmp_path / "a.txt", SourceReport())


def test_what_is_no_file_is_refused_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match="is not a regular file"):
            read_document(path, SourceReport())
    with pytest.raises(ValueError, match="absent cannot be read: No such file"):
        read_document(tmp_path / "absent", SourceReport())
