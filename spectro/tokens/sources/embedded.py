"""The embedded corpus: text of the standard library and installed packages, in eight parts.

Files are found through `sysconfig` and the packages' RECORDs; nothing is written or fetched. A
part's files come in an order keyed by (seed, part, path), cut into pieces of at most `PIECE_CHARS`
characters: the first piece of every file, then the second, and so on, so that no large file
dominates. Pieces with the same words are kept once. A piece is one document. Files are opened only
as
needed.
"""

import csv
import hashlib
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from spectro.tokens.sources.docstrings import module_docstrings, prose_documents
from spectro.tokens.sources.text_bytes import decode_utf8

PACKAGES = (
    "torch", "transformers", "ray", "numpy", "scipy", "hydra-core", "omegaconf", "pyarrow",
    "numba", "pandas", "datasets", "scikit-learn", "networkx", "sympy", "xarray", "tokenizers",
    "huggingface_hub", "safetensors", "fsspec", "Jinja2", "umap-learn", "pynndescent", "joblib",
    "rich", "Pygments", "PyYAML", "pydantic", "jsonschema", "jsonschema-specifications",
    "packaging", "mpmath", "llvmlite", "attrs", "click", "tqdm", "protobuf", "narwhals",
    "markdown-it-py", "antlr4-python3-runtime",
)  # fmt: skip
PIECE_CHARS = 6_000
MAX_PIECES_PER_FILE = 12
MAX_FILE_BYTES = 400_000
MAX_LINE_CHARS = 1_000
_LICENCE_NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")
_SKIPPED_FOLDERS = {"__pycache__", "test", "tests", "site-packages", "idle_test", "lib2to3"}

Extract = Callable[[str], list[str]]


def _whole(text: str) -> list[str]:
    return [text]


@dataclass(frozen=True, kw_only=True)
class CorpusPart:
    """One subset of the embedded corpus."""

    suffixes: tuple[str, ...] = ()
    """File extensions."""
    is_licence: bool = False
    """Whether it holds licences: files by name, whatever their extension."""
    packages: tuple[str, ...] = PACKAGES
    """Distributions; those not installed are skipped."""
    uses_stdlib: bool = False
    """Whether the standard library's files are included."""
    extract: Extract = _whole
    """Text of a file -> its texts."""


PARTS: dict[str, CorpusPart] = {
    "python": CorpusPart(suffixes=(".py",), uses_stdlib=True),
    "docs": CorpusPart(
        suffixes=(".rst", ".md", "METADATA", "pydoc_data/topics.py"),
        uses_stdlib=True,
        extract=prose_documents,
    ),
    "docstrings": CorpusPart(
        suffixes=(".py",),
        packages=("numpy", "scipy", "pandas", "torch", "scikit-learn", "networkx", "transformers"),
        extract=module_docstrings,
    ),
    "licences": CorpusPart(is_licence=True, uses_stdlib=True),
    "cpp_headers": CorpusPart(
        suffixes=(".h", ".hpp", ".cuh"), packages=("torch", "numpy", "pyarrow")
    ),
    "web": CorpusPart(
        suffixes=(".js", ".css", ".html", ".htm", ".tpl", ".xsl", ".svg"), uses_stdlib=True
    ),
    "data": CorpusPart(suffixes=(".json", ".csv", ".arff", ".dat", ".txt", ".tsv")),
    "config": CorpusPart(
        suffixes=(".yaml", ".yml", ".toml", ".cfg", ".ini", ".cmake", "pyvenv.cfg")
    ),
}


@dataclass(frozen=True, kw_only=True)
class _CorpusFile:
    name: str
    """Path within the standard library or site folder, the same on every machine."""
    path: str
    """Local path; a plain string, since tens of thousands are listed."""


def read_embedded(part_name: str, seed: int) -> Iterator[str]:
    """Documents of one part, in their keyed order.

    Raises ValueError for an unknown part and FileNotFoundError when no file belongs to it.
    """
    if part_name not in PARTS:
        raise ValueError(
            f"the embedded corpus has no part {part_name!r}: choose from {', '.join(PARTS)}"
        )
    part = PARTS[part_name]
    files = sorted(_files(part), key=lambda f: _key(seed, part_name, f.name))
    if not files:
        raise FileNotFoundError(
            f"embedded part {part_name!r}: none of its packages is installed here"
        )
    return _in_rounds(files, part)


def _key(seed: int, *names: str) -> bytes:
    return hashlib.blake2b("\0".join((str(seed), *names)).encode(), digest_size=8).digest()


def _in_rounds(files: list[_CorpusFile], part: CorpusPart) -> Iterator[str]:
    """Piece 0 of every file, then piece 1 of every file, and so on."""
    seen: set[bytes] = set()
    later: list[list[str]] = []
    for file in files:
        pieces = _pieces(file, part, seen)
        if pieces:
            yield pieces[0]
            later.append(pieces[1:])
    for turn in range(MAX_PIECES_PER_FILE - 1):
        for rest in later:
            if turn < len(rest):
                yield rest[turn]


def _pieces(file: _CorpusFile, part: CorpusPart, seen: set[bytes]) -> list[str]:
    try:
        raw = Path(file.path).read_bytes()
    except OSError:  # a RECORD may name removed files
        return []
    if b"\0" in raw or len(raw) > MAX_FILE_BYTES:
        return []
    text, num_bad = decode_utf8(raw)
    if num_bad or max((len(line) for line in text.splitlines()), default=0) > MAX_LINE_CHARS:
        return []
    pieces: list[str] = []
    for extracted in part.extract(text):
        pieces += split_at_lines(extracted, PIECE_CHARS)
    return [piece for piece in pieces[:MAX_PIECES_PER_FILE] if _is_new(piece, seen)]


def _is_new(piece: str, seen: set[bytes]) -> bool:
    """Whether no earlier piece had the same words; remembers it."""
    digest = _key(0, *piece.split())
    is_new = digest not in seen
    seen.add(digest)
    return is_new


def split_at_lines(text: str, num_chars: int) -> list[str]:
    """Consecutive pieces of whole lines, each of at most `num_chars` or one longer line."""
    pieces: list[str] = []
    current: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        if current and size + len(line) > num_chars:
            pieces.append("".join(current))
            current, size = [], 0
        current.append(line)
        size += len(line)
    pieces.append("".join(current))
    return [piece for piece in pieces if piece.strip()]


def _files(part: CorpusPart) -> Iterator[_CorpusFile]:
    candidates = [f for name in part.packages for f in _package_files(name)]
    if part.uses_stdlib:
        candidates += _stdlib_files()
    for file in candidates:
        *folders, name = file.name.split("/")
        is_licence = name.upper().startswith(_LICENCE_NAMES) and not name.endswith(".py")
        belongs = is_licence if part.is_licence else file.name.endswith(part.suffixes)
        if belongs and is_licence == part.is_licence and not _SKIPPED_FOLDERS & set(folders):
            yield file


@cache
def _package_files(package: str) -> tuple[_CorpusFile, ...]:
    """Files of a distribution by its RECORD; none if not installed."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return ()
    record = distribution.read_text("RECORD") or ""
    root = str(distribution.locate_file(""))
    return tuple(
        _CorpusFile(name=row[0], path=f"{root}/{row[0]}")
        for row in csv.reader(record.splitlines())
        if row and not row[0].startswith("..") and not row[0].endswith((".pyc", ".so"))
    )


@cache
def _stdlib_files() -> tuple[_CorpusFile, ...]:
    root = Path(sysconfig.get_path("stdlib"))
    found = [
        path
        for folder in root.iterdir()
        if folder.name not in _SKIPPED_FOLDERS
        for path in ([folder] if folder.is_file() else folder.rglob("*.*"))
        if path.suffix != ".pyc" and path.is_file()
    ]
    return tuple(
        _CorpusFile(name=f"stdlib/{p.relative_to(root).as_posix()}", path=str(p)) for p in found
    )
