"""Spans (sequences of T + 1 ids) of an indexed dataset.

`sequences`: an item is one training sequence of a pre-shuffled file (Pythia's has 2049 ids). An
item of n ids gives (n − 1) // T spans that overlap by one id and never leave it. `documents`: items
are joined in index order, as GPT-NeoX packs them (end-of-text is already in the items), and spans
follow one another through that stream.

Shapes: n spans, T context.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.config import Items
from spectro.tokens.packing import num_samples
from spectro.tokens.sources.memmap import BLOCK_ITEMS, IndexedDataset
from spectro.tokens.sources.source_report import SourceReport

_LOOKED_AT = 1000
"""Documents whose last id is examined, for the report."""


@dataclass(frozen=True, kw_only=True)
class Spans:
    """The spans of a dataset, computed by number."""

    dataset: IndexedDataset
    items: Items
    context: int
    """T."""
    cumulative: _Cumulative
    """Cumulative spans (`sequences`) or ids (`documents`) over items."""

    def __len__(self) -> int:
        total = self.cumulative.total
        return total if self.items is Items.SEQUENCES else num_samples(total, self.context)

    def read(self, spans: NDArray[np.int64], vocab_size: int) -> NDArray[np.int32]:
        """Spans by their numbers; int32 [len(spans), T + 1].

        Raises ValueError for ids outside the vocabulary.
        """
        ids = self.dataset.ids[self._places(spans)].astype(np.int64)
        if ids.size and not (ids.min() >= 0 and ids.max() < vocab_size):
            raise ValueError(
                f"memmap source: found ids from {ids.min()} to {ids.max()}, the model's vocabulary "
                f"is 0 to {vocab_size - 1}: was it tokenised for another model?"
            )
        return np.asarray(ids, dtype=np.int32)

    def _places(self, spans: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the spans' ids in the `.bin` file, int64 [n, T + 1]."""
        within_T1 = np.arange(self.context + 1)
        if self.items is Items.SEQUENCES:
            item_n, number_n = self.cumulative.locate(spans)
            first_n = self.dataset.starts(item_n) + number_n * self.context
            return np.asarray(first_n[:, None] + within_T1)
        joined_nT1 = spans[:, None] * self.context + within_T1
        item, rest = self.cumulative.locate(joined_nT1.reshape(-1))
        return np.asarray((self.dataset.starts(item) + rest).reshape(joined_nT1.shape))


def find_spans(
    dataset: IndexedDataset, *, context: int, items: Items, eot_id: int, report: SourceReport
) -> Spans:
    """The spans of a dataset; the report says how the index was read and what is left over.

    Raises ValueError if items share ids (training sequences may share the one id that ends one and
    begins the next), or if there is no span.
    """
    count = _spans_of(context) if items is Items.SEQUENCES else _as_they_are
    spans = Spans(
        dataset=dataset, items=items, context=context, cumulative=_Cumulative.of(dataset, count)
    )
    sizes = _Sizes.of(dataset, context)
    if len(spans) == 0:
        raise ValueError(
            f"{dataset.index_path}: no span of {context + 1} ids: {sizes.words(items)}; give a "
            f"shorter tokens.context{', or items: documents' if items is Items.SEQUENCES else ''}"
        )
    covered = _covered(dataset, shared=1 if items is Items.SEQUENCES else 0)
    report.note(f"{dataset.index_path.name}: {sizes.words(items)}")
    report.count("items of the index", dataset.num_items)
    report.count("sequences found", len(spans))
    report.count("ids that no item names", len(dataset.ids) - covered)
    if items is Items.SEQUENCES:
        report.count("items too short for a sequence", sizes.num_short)
        report.count("ids left over at the ends of items", sizes.num_left_over)
    else:
        report.note(_end_of_text(dataset, eot_id))
        left_over = spans.cumulative.total - len(spans) * context - 1
        report.count("ids left over at the end of the stream", left_over)
    return spans


def _spans_of(context: int) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    return lambda sizes: np.maximum(sizes - 1, 0) // context


def _as_they_are(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return sizes


@dataclass(frozen=True, kw_only=True)
class _Cumulative:
    """Cumulative counts over items, kept by blocks: an index may have 1e8 items."""

    dataset: IndexedDataset
    count: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    """Sizes of items → their counts."""
    before: NDArray[np.int64]
    """Sum before each block of items, and of all, int64 [blocks + 1]."""

    @classmethod
    def of(
        cls, dataset: IndexedDataset, count: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    ) -> _Cumulative:
        sums = [int(count(dataset.sizes[b].astype(np.int64)).sum()) for b in dataset.blocks()]
        return cls(dataset=dataset, count=count, before=np.cumsum([0, *sums], dtype=np.int64))

    @property
    def total(self) -> int:
        return int(self.before[-1])

    def locate(self, places_n: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Item of each position in the joined counts, and position within it; int64 [n] each."""
        item_n, rest_n = np.empty_like(places_n), np.empty_like(places_n)
        block_n = np.searchsorted(self.before, places_n, side="right") - 1
        by_block = np.argsort(block_n, kind="stable")
        blocks, firsts = np.unique(block_n[by_block], return_index=True)
        for block, own in zip(blocks, np.split(by_block, firsts[1:]), strict=True):
            first = int(block) * BLOCK_ITEMS
            sizes = self.dataset.sizes[first : first + BLOCK_ITEMS].astype(np.int64)
            before = np.concatenate([[0], np.cumsum(self.count(sizes))])
            inside = places_n[own] - self.before[block]
            found = np.searchsorted(before, inside, side="right") - 1
            item_n[own], rest_n[own] = first + found, inside - before[found]
        return item_n, rest_n


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """Statistics of the items' sizes, for the report."""

    num_items: int
    num_documents: int
    least: int
    most: int
    num_short: int
    """Items of at most T ids."""
    num_left_over: int
    """Ids outside all spans of their item."""

    @classmethod
    def of(cls, dataset: IndexedDataset, context: int) -> _Sizes:
        count, short, left_over = _spans_of(context), 0, 0
        least, most = 2**31, 0
        for block in dataset.blocks():
            sizes = dataset.sizes[block].astype(np.int64)
            spans = count(sizes)
            least, most = min(least, int(sizes.min())), max(most, int(sizes.max()))
            short += int((spans == 0).sum())
            left_over += int((sizes - np.where(spans > 0, spans * context + 1, 0)).sum())
        return cls(
            num_items=dataset.num_items,
            num_documents=max(0, len(dataset.doc_idx) - 1),
            least=least,
            most=most,
            num_short=short,
            num_left_over=left_over,
        )

    def words(self, items: Items) -> str:
        lengths = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        what = {
            Items.SEQUENCES: "each taken for one training sequence, which no span leaves "
            "(items: sequences)",
            Items.DOCUMENTS: "joined to one stream in the order of the index (items: documents)",
        }[items]
        return (
            f"{self.num_items:,} items of {lengths} ids in {self.num_documents:,} documents, {what}"
        )


def _covered(dataset: IndexedDataset, *, shared: int) -> int:
    """Ids of the `.bin` file within items.

    Raises ValueError if an item shares more than `shared` ids with earlier ones.
    """
    order = _order_of_starts(dataset)
    covered, end = 0, 0
    for block in dataset.blocks():
        items = np.arange(block.start, block.stop) if order is None else order[block]
        sizes, starts = dataset.sizes[items].astype(np.int64), dataset.starts(items)
        taken = sizes > 0
        items, starts, ends = items[taken], starts[taken], (starts + sizes)[taken]
        before = np.maximum.accumulate(np.concatenate([[end], ends]))
        overlap = before[:-1] - starts
        if (overlap > shared).any():
            at = int(np.argmax(overlap > shared))
            raise ValueError(
                f"{dataset.index_path}: item {items[at]} shares {overlap[at]} ids with another "
                "item: their tokens would be measured twice, and be in two splits; give an index "
                "that names each id once"
            )
        covered += int((ends - np.maximum(starts, before[:-1])).clip(min=0).sum())
        end = int(before[-1])
    return covered


def _order_of_starts(dataset: IndexedDataset) -> NDArray[np.int64] | None:
    """Items by position in the `.bin` file, int64 [items]; None if they are in order."""
    last = 0
    for block in dataset.blocks():
        offsets = np.asarray(dataset.offsets[block])
        if (np.diff(offsets, prepend=last) < 0).any():
            return np.argsort(dataset.offsets, kind="stable")
        last = int(offsets[-1])
    return None


def _end_of_text(dataset: IndexedDataset, eot_id: int) -> str:
    """Sentence on how many of the first documents end with end-of-text."""
    bounds = dataset.doc_idx if len(dataset.doc_idx) > 1 else np.arange(dataset.num_items + 1)
    last_items = np.unique(np.asarray(bounds[1 : _LOOKED_AT + 1], dtype=np.int64)) - 1
    last_items = last_items[last_items >= 0]
    last_items = last_items[dataset.sizes[last_items] > 0]
    last_ids = dataset.ids[dataset.starts(last_items) + dataset.sizes[last_items] - 1]
    return (
        f"{int((last_ids == eot_id).sum())} of the first {len(last_items)} documents end with "
        f"end-of-text (id {eot_id}); nothing is put between documents, as in GPT-NeoX"
    )
