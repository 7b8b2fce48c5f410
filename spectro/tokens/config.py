"""Configuration of the token stage: sources by subset, context, numbers of sequences."""

from dataclasses import dataclass, field, fields
from enum import Enum

from spectro.settings import refuse_without_effect


class SourceKind(Enum):
    """Kind of source of a subset."""

    EMBEDDED = "embedded"
    """Text of the installed packages; never uses the network."""
    TEXT_FOLDER = "text_folder"
    """Every file of a folder is one document, plain or compressed."""
    JSONL = "jsonl"
    """One JSON object per line, plain or compressed (gzip, zstd, bzip2, xz)."""
    PARQUET = "parquet"
    """One document per row."""
    HUB = "hub"
    """A Hugging Face dataset, streamed; the only kind that uses the network."""
    MEMMAP = "memmap"
    """GPT-NeoX `.bin`/`.idx`, already tokenised: Pythia's own training data."""


class Items(Enum):
    """Items of a `memmap` source's index."""

    SEQUENCES = "sequences"
    """One training sequence of a pre-shuffled file, such as Pythia's of 2049 ids: a measured
    sequence stays within one item, and an item that is too short gives none."""
    DOCUMENTS = "documents"
    """A document, or a part of one: items are joined in index order, as GPT-NeoX packs them, and
    sequences are cut from that stream, with nothing between items."""


FIELDS_OF: dict[SourceKind, frozenset[str]] = {
    SourceKind.EMBEDDED: frozenset({"name"}),
    SourceKind.TEXT_FOLDER: frozenset({"path", "pattern"}),
    SourceKind.JSONL: frozenset({"path", "field"}),
    SourceKind.PARQUET: frozenset({"path", "field"}),
    SourceKind.HUB: frozenset({"name", "hub_config", "hub_split", "hub_revision", "field"}),
    SourceKind.MEMMAP: frozenset({"path", "items"}),
}
"""Fields of `Source` that a reader uses; others are refused."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Source of one subset."""

    kind: SourceKind
    """Which reader is used; decides which of the other fields are needed."""
    path: str | None = None
    """`text_folder`: the folder. `jsonl`, `parquet`: a file, folder or glob. `memmap`: the path of
    the pair with or without `.bin`. Each may be at a URL of fsspec, such as `s3://bucket/text`."""
    pattern: str = "**/*"
    """`text_folder`: which files of the folder, as a glob; hidden names and caches are skipped
    unless it spells their first character (`.github/**/*`)."""
    name: str | None = None
    """`embedded`: name of the part. `hub`: name of the dataset, such as `timaeus/pile-github`."""
    hub_config: str | None = None
    """`hub`: configuration (subset) of the dataset."""
    hub_split: str = "train"
    """`hub`: split of the dataset."""
    hub_revision: str | None = None
    """`hub`: branch, tag or commit; pin a commit to make a study repeatable."""
    field: str = "text"
    """`jsonl`, `parquet`, `hub`: the field that holds the document, dots for nested ones; a name
    that itself has dots comes first."""
    items: Items = Items.SEQUENCES
    """`memmap`: what an item of the index is, `sequences` (pre-shuffled batches) or `documents`."""

    def __post_init__(self) -> None:
        kind, used = self.kind.value, FIELDS_OF[self.kind]
        for name in ("path", "name"):
            value = getattr(self, name)
            if name in used and not value:
                raise ValueError(f"a source of kind {kind} needs a {name}; found none")
            if name not in used and value:
                raise ValueError(
                    f"a source of kind {kind} takes no {name}, found {value!r}: is the kind wrong?"
                )
        if not self.field:
            raise ValueError(f"a source of kind {kind} needs a field, such as 'text'; found none")
        names = {f.name for f in fields(self)} - used - {"kind"}
        refuse_without_effect(self, "", dict.fromkeys(names, f"on a source of kind {kind}"))


def embedded_subsets() -> dict[str, Source]:
    """The parts of the embedded corpus, each as a subset."""
    names = ("python", "docs", "docstrings", "licences", "cpp_headers", "web", "data", "config")
    return {name: Source(kind=SourceKind.EMBEDDED, name=name) for name in names}


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """Token sequences of a run. Counts are per subset."""

    subsets: dict[str, Source] = field(default_factory=embedded_subsets)
    """Sources by the name that the product shows."""
    context: int = 128
    """T: targets per sequence; sequences carry T + 1 ids."""
    seed: int = 0
    """Keys which sequences are taken, and the order of the embedded corpus' files."""
    num_probe_sequences: int = 16
    """Sequences per subset whose tokens are measured."""
    num_sampling_sequences: int = 16
    """Sequences per subset that the chains' minibatches are drawn from."""
    num_evaluation_sequences: int = 8
    """Sequences per subset on which ΔL is taken."""
    sequences_per_shard: int = 32
    """Probe sequences per token shard, the unit of work and of the product's files."""
    pool_sequences: int = 1024
    """Sequences of a pool: documents are read until a pool is full, and its sequences are taken in
    random order before the next one is begun. A memory map is one pool."""
    max_documents: int = 200_000
    """At most this many documents of a subset are read, whatever the pool holds."""
    max_document_chars: int = 200_000
    """Longer documents are cut here before they are tokenised."""

    def __post_init__(self) -> None:
        if not self.subsets:
            raise ValueError("tokens.subsets is empty: name at least one source")
        if len(self.subsets) > 2**15 - 1:
            raise ValueError(f"tokens.subsets has {len(self.subsets)} entries, at most 32767")
        bounds = {
            "context": 1, "num_probe_sequences": 1, "num_sampling_sequences": 1,
            "num_evaluation_sequences": 1, "sequences_per_shard": 1, "pool_sequences": 1,
            "max_documents": 1, "max_document_chars": 1, "seed": 0,
        }  # fmt: skip
        for name, least in bounds.items():
            value = getattr(self, name)
            if not value >= least:
                raise ValueError(f"tokens.{name} must be at least {least}, found {value}")
        if self.seed >= 2**63:
            raise ValueError(f"tokens.seed must be below 2^63, found {self.seed}")
        if all(source.kind is SourceKind.MEMMAP for source in self.subsets.values()):
            of_text = ("pool_sequences", "max_documents", "max_document_chars")
            reason = "where all sources are of kind memmap: they hold no documents to cut"
            refuse_without_effect(self, "tokens.", dict.fromkeys(of_text, reason))

    @property
    def first_probe_sequence(self) -> int:
        """First probe sequence in a subset's order."""
        return self.num_sampling_sequences + self.num_evaluation_sequences

    @property
    def num_sequences(self) -> int:
        """Sequences required of each subset, over all splits."""
        return self.first_probe_sequence + self.num_probe_sequences


@dataclass(frozen=True, kw_only=True)
class MoreConfig:
    """Tokens added to a run and measured along its own draws."""

    num_probe_sequences: int
    """Sequences per subset whose tokens are measured, those that are there already included."""
    subsets: dict[str, Source] = field(default_factory=dict)
    """Which subsets are added to: sources by name, also new ones. Empty: the run's own."""
    sequences_per_shard: int | None = None
    """Sequences per added token shard; None: as the run has it."""

    def __post_init__(self) -> None:
        for name in ("num_probe_sequences", "sequences_per_shard"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"more.{name} must be at least 1, found {value}")
