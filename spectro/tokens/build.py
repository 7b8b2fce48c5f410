"""Sources -> sampling, evaluation and probe sequences.

Per subset a *pool* of packed sequences is made (`pool_factor` times what is needed, or all that
the source gives; for memmaps the whole file), and the sequences of the three splits are drawn
from it uniformly without replacement, keyed by (seed, subset name): adding a subset does not
change the others. Neighbouring sequences of a pool share one id, as in training; no two splits
share a position of a pool.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.tokens.embedded import read_embedded
from spectro.tokens.hub import read_hub
from spectro.tokens.jsonl import read_jsonl
from spectro.tokens.keys import keyed_rng
from spectro.tokens.memmap import open_indexed, read_spans, span_starts
from spectro.tokens.packing import Encode, encode_stream, num_samples, sample
from spectro.tokens.parquet import read_parquet
from spectro.tokens.sequences import Sequences, TokenSplits
from spectro.tokens.text_folder import read_text_folder

OnProgress = Callable[[float, float], None]


def build(
    config: TokensConfig,
    tokenizer_encode: Encode,
    eot_id: int,
    vocab_size: int,
    progress: OnProgress | None = None,
) -> TokenSplits:
    """Read, pack and sample all subsets.

    Args:
        config: sources, context, and counts per subset.
        tokenizer_encode: texts -> ids, without special tokens.
        eot_id: end-of-text, put after each document.
        vocab_size: ids must lie below it.
        progress: called with (subsets done, subsets in all).

    Raises:
        ValueError: too little text in a subset, damaged files, ids outside the vocabulary.
        FileNotFoundError: a file or folder that is not there.
    """
    if not 0 <= eot_id < vocab_size:
        raise ValueError(f"eot_id must be in [0, {vocab_size}), found {eot_id}")
    subset_ids: list[NDArray[np.int32]] = []
    for done, (name, source) in enumerate(config.subsets.items()):
        if progress is not None:
            progress(done, len(config.subsets))
        try:
            ids = _subset(config, name, source, tokenizer_encode, eot_id, vocab_size)
        except (ValueError, FileNotFoundError) as error:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"subset {name!r}: {error}") from error
        subset_ids.append(ids)
    if progress is not None:
        progress(len(config.subsets), len(config.subsets))
    return _split(config, subset_ids)


def _subset(
    config: TokensConfig, name: str, source: Source, encode: Encode, eot_id: int, vocab_size: int
) -> NDArray[np.int32]:
    """The subset's sequences of all splits, in the order drawn; int32 [num_sequences, T+1]."""
    if source.kind is SourceKind.MEMMAP:
        dataset = open_indexed(str(source.path))
        starts = span_starts(dataset, config.context)
        drawn = _draw(config, name, len(starts))
        return read_spans(dataset, starts[drawn], context=config.context, vocab_size=vocab_size)
    wanted = int(np.ceil(config.pool_factor * config.num_sequences))
    stream = encode_stream(
        _limited(documents(source, config.seed), config),
        encode,
        eot_id=eot_id,
        vocab_size=vocab_size,
        enough=lambda num_ids: num_samples(num_ids, config.context) >= wanted,
    )
    drawn = _draw(config, name, num_samples(len(stream), config.context))
    return sample(stream, drawn, config.context)


def documents(source: Source, seed: int) -> Iterator[str]:
    """Documents of a text source, in an order that depends on the source and the seed alone."""
    match source.kind:
        case SourceKind.EMBEDDED:
            return read_embedded(str(source.name), seed)
        case SourceKind.TEXT_FOLDER:
            return read_text_folder(str(source.path), source.pattern)
        case SourceKind.JSONL:
            return read_jsonl(str(source.path), source.field)
        case SourceKind.PARQUET:
            return read_parquet(str(source.path), source.field)
        case SourceKind.HUB:
            return read_hub(source)
        case SourceKind.MEMMAP:
            raise ValueError("a memmap source holds ids, not documents")


def _limited(texts: Iterator[str], config: TokensConfig) -> Iterator[str]:
    for _, text in zip(range(config.max_documents), texts, strict=False):
        if text:
            yield text[: config.max_document_chars]


def _draw(config: TokensConfig, name: str, num_available: int) -> NDArray[np.int64]:
    """Indices of the subset's sequences, uniform without replacement, int64 [num_sequences]."""
    if num_available < config.num_sequences:
        raise ValueError(
            f"needs {config.num_sequences} sequences of {config.context + 1} ids, found "
            f"{num_available}: give more text, a shorter context or smaller counts"
        )
    rng = keyed_rng(config.seed, "sequences", name)
    return np.asarray(rng.choice(num_available, config.num_sequences, replace=False), np.int64)


def _split(config: TokensConfig, subset_ids: list[NDArray[np.int32]]) -> TokenSplits:
    counts = {
        "probe": config.num_probe_sequences,
        "sampling": config.num_sampling_sequences,
        "evaluation": config.num_evaluation_sequences,
    }
    splits: dict[str, Sequences] = {}
    start = 0
    for split, count in counts.items():
        parts = [ids[start : start + count] for ids in subset_ids]
        splits[split] = _mixed(config, split, parts)
        start += count
    return TokenSplits(**splits)


def _mixed(config: TokensConfig, split: str, parts: list[NDArray[np.int32]]) -> Sequences:
    """Subsets interleaved in a keyed order, so that every token shard holds all of them."""
    subset_S = np.repeat(np.arange(len(parts), dtype=np.int16), [len(part) for part in parts])
    order = keyed_rng(config.seed, "order", split).permutation(len(subset_S))
    return Sequences(
        ids_ST1=np.concatenate(parts)[order],
        subset_S=subset_S[order],
        subset_names=tuple(config.subsets),
    )
