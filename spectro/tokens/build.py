"""Builds sampling, evaluation and probe sequences from sources, and further probe sequences later.

Each subset's sequences have a fixed order (`order.py`) keyed by (seed, subset name), so adding a
subset does not change the others: first sampling, then evaluation, then probe sequences.
Neighbouring sequences of a stream share one id, as in training; no two splits share a position.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.tokens.keys import keyed_rng
from spectro.tokens.order import keyed_order, num_pools
from spectro.tokens.overlap import count_repeated
from spectro.tokens.packing import Encode, encode_stream, first_batch, num_samples, sample
from spectro.tokens.sequences import Sequences, TokenSplits
from spectro.tokens.sources.embedded import read_embedded
from spectro.tokens.sources.hub import is_local, read_hub
from spectro.tokens.sources.jsonl import read_jsonl
from spectro.tokens.sources.memmap import open_indexed
from spectro.tokens.sources.memmap_spans import find_spans
from spectro.tokens.sources.parquet import read_parquet
from spectro.tokens.sources.remote import OpenUrl, no_urls
from spectro.tokens.sources.source_report import DOCUMENTS, SourceReport
from spectro.tokens.sources.text_folder import read_text_folder

OnProgress = Callable[[float, float], None]


def build(
    config: TokensConfig,
    tokenizer_encode: Encode,
    eot_id: int,
    vocab_size: int,
    progress: OnProgress | None = None,
    open_url: OpenUrl = no_urls,
) -> TokenSplits:
    """Read, pack and sample all subsets.

    Args:
        config: sources, context, and counts per subset.
        tokenizer_encode: texts -> ids, without special tokens.
        eot_id: end-of-text, appended to each document.
        vocab_size: upper bound of the ids.
        progress: called with (subsets done, subsets in all).
        open_url: opens sources at URLs.

    Raises ValueError for too little text, damaged files or ids outside the vocabulary,
    FileNotFoundError.
    """
    parts = dict.fromkeys(config.subsets, range(config.num_sequences))
    reports = {name: SourceReport() for name in parts}
    reader = _SubsetReader(config, tokenizer_encode, eot_id, vocab_size, open_url)
    read = reader.read_all(config.subsets, parts, reports, progress)
    evaluation, probe = config.num_sampling_sequences, config.first_probe_sequence
    bounds = {
        "sampling": slice(0, evaluation),
        "evaluation": slice(evaluation, probe),
        "probe": slice(probe, None),
    }
    count_repeated(read, bounds, reports)
    names = tuple(config.subsets)
    splits = {
        split: _mixed(config.seed, split, {name: ids[part] for name, ids in read.items()}, names)
        for split, part in bounds.items()
    }
    return TokenSplits(**splits, reports=reports)


def build_more(
    config: TokensConfig,
    sources: Mapping[str, Source],
    parts: Mapping[str, range],
    subset_names: tuple[str, ...],
    tokenizer_encode: Encode,
    eot_id: int,
    vocab_size: int,
    progress: OnProgress | None = None,
    open_url: OpenUrl = no_urls,
) -> tuple[Sequences, dict[str, SourceReport]]:
    """Further probe sequences, and a report per source.

    Args:
        config: of the run; its subsets and counts are not used.
        sources: by subset.
        parts: subset → range of its order.
        subset_names: all subsets of the run, those of `parts` among them.
        tokenizer_encode, eot_id, vocab_size, progress, open_url: see `build`, also for errors.
    """
    reports = {name: SourceReport() for name in parts}
    reader = _SubsetReader(config, tokenizer_encode, eot_id, vocab_size, open_url)
    read = reader.read_all(sources, parts, reports, progress)
    words = [f"{name} {part.start} {part.stop}" for name, part in parts.items()]
    return _mixed(config.seed, " ".join(["more", *words]), read, subset_names), reports


def check_source(
    config: TokensConfig,
    name: str,
    source: Source,
    part: range,
    encode: Encode,
    eot_id: int,
    vocab_size: int,
    open_url: OpenUrl = no_urls,
) -> None:
    """Raise, as `build` would, for a source that cannot give sequences `part` of its order.

    Checks what is quick: all of an index, the files and first documents of text, nothing of the hub
    (which needs the network).
    """
    report = SourceReport()
    try:
        if source.kind is SourceKind.MEMMAP:
            reader = _SubsetReader(config, encode, eot_id, vocab_size, open_url)
            reader.read(name, source, part, report)
        elif source.kind is not SourceKind.HUB or is_local(source):
            found = documents(source, config.seed, report, open_url)
            first = first_batch(_limited(found, config, report))
            if not report.counts[DOCUMENTS]:
                raise ValueError(f"{source.path or source.name} holds no document ({report.line})")
            encode_stream(
                first, encode, eot_id=eot_id, vocab_size=vocab_size,
                enough=lambda _: True, report=report,
            )  # fmt: skip
    except (ValueError, FileNotFoundError) as error:
        raise _of_subset(name, error) from error


@dataclass(frozen=True)
class _SubsetReader:
    """Reads sequences of subsets in their order."""

    config: TokensConfig
    encode: Encode
    eot_id: int
    vocab_size: int
    open_url: OpenUrl

    def read_all(
        self,
        sources: Mapping[str, Source],
        parts: Mapping[str, range],
        reports: Mapping[str, SourceReport],
        progress: OnProgress | None,
    ) -> dict[str, NDArray[np.int32]]:
        """Subset → the requested part of its order, int32 [num_sequences, T+1]."""
        if not 0 <= self.eot_id < self.vocab_size:
            raise ValueError(f"eot_id must be in [0, {self.vocab_size}), found {self.eot_id}")
        found: dict[str, NDArray[np.int32]] = {}
        for done, (name, part) in enumerate(parts.items()):
            if progress is not None:
                progress(done, len(parts))
            try:
                found[name] = self.read(name, sources[name], part, reports[name])
            except (ValueError, FileNotFoundError) as error:
                raise _of_subset(name, error) from error
        if progress is not None:
            progress(len(parts), len(parts))
        return found

    def read(
        self, name: str, source: Source, part: range, report: SourceReport
    ) -> NDArray[np.int32]:
        """Sequences `part` of a subset's order; int32 [len(part), T+1]."""
        config = self.config
        if source.kind is SourceKind.MEMMAP:
            spans = find_spans(
                open_indexed(str(source.path), self.open_url),
                context=config.context,
                items=source.items,
                eot_id=self.eot_id,
                report=report,
            )
            drawn = self._draw(name, part, len(spans), len(spans), report)
            return spans.read(drawn, self.vocab_size)
        wanted = num_pools(part.stop, config.pool_sequences) * config.pool_sequences
        stream = encode_stream(
            _limited(documents(source, config.seed, report, self.open_url), config, report),
            self.encode,
            eot_id=self.eot_id,
            vocab_size=self.vocab_size,
            enough=lambda num_ids: num_samples(num_ids, config.context) >= wanted,
            report=report,
        )
        available = min(num_samples(len(stream), config.context), wanted)  # only whole pools
        drawn = self._draw(name, part, available, config.pool_sequences, report)
        return sample(stream, drawn, config.context)

    def _draw(
        self, name: str, part: range, num_available: int, pool_sequences: int, report: SourceReport
    ) -> NDArray[np.int64]:
        """Positions of sequences `part` of a subset's order, int64 [len(part)]."""
        if num_available < part.stop:
            read = f" ({report.line})" if report.line else ""
            raise ValueError(
                f"needs {part.stop} sequences of {self.config.context + 1} ids, found "
                f"{num_available}: give more text, a shorter context or smaller counts{read}"
            )
        order = keyed_order(self.config.seed, name, num_available, pool_sequences, part.stop)
        return order[part.start :]


def _of_subset(name: str, error: ValueError | FileNotFoundError) -> Exception:
    kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
    return kind(f"subset {name!r}: {error}")


def documents(
    source: Source, seed: int, report: SourceReport, open_url: OpenUrl = no_urls
) -> Iterator[str]:
    """Documents of a text source, in an order that depends on source and seed alone.

    `report` counts what the reader skips and replaces.
    """
    match source.kind:
        case SourceKind.EMBEDDED:
            return read_embedded(str(source.name), seed)
        case SourceKind.TEXT_FOLDER:
            return read_text_folder(str(source.path), source.pattern, report, open_url)
        case SourceKind.JSONL:
            return read_jsonl(str(source.path), source.field, report, open_url)
        case SourceKind.PARQUET:
            return read_parquet(str(source.path), source.field, report, open_url)
        case SourceKind.HUB:
            return read_hub(source, report)
        case SourceKind.MEMMAP:
            raise ValueError("a memmap source holds ids, not documents")


def _limited(texts: Iterator[str], config: TokensConfig, report: SourceReport) -> Iterator[str]:
    """Non-empty documents, cut to length, up to the maximal number."""
    most_chars = config.max_document_chars
    for _, text in zip(range(config.max_documents), texts, strict=False):
        report.count(DOCUMENTS)
        report.count("empty documents skipped", int(not text))
        report.count("documents cut to max_document_chars", int(len(text) > most_chars))
        if text:
            yield text[:most_chars]
    if report.counts[DOCUMENTS] == config.max_documents:
        report.note(f"reading ended at max_documents={config.max_documents}")


def _mixed(
    seed: int, key: str, read: Mapping[str, NDArray[np.int32]], subset_names: tuple[str, ...]
) -> Sequences:
    """Subsets interleaved in a keyed order, so that every token shard has all of them."""
    subset_S = np.repeat(
        np.array([subset_names.index(name) for name in read], dtype=np.int16),
        [len(ids) for ids in read.values()],
    )
    order = keyed_rng(seed, "order", key).permutation(len(subset_S))
    return Sequences(
        ids_ST1=np.concatenate(list(read.values()))[order],
        subset_S=subset_S[order],
        subset_names=subset_names,
    )
