"""A measured run as its views read it: what is asked for, never all of χ.

A place is the URI of a run, of its control (`<run>/control`), or of a folder of clusters in either
(`<run>/clusters-k30`), or of a half of its chains (`<run>/clusters/half-0`; χ is then still that of
all chains). Tokens are named by token_id = sequence_id · T + position.
Shapes: n tokens or sequences asked for, H components, T context.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.formats import run_dir, tokens
from spectro.formats.clusters.clusters import PROVENANCE, StoredClusters, read_clusters
from spectro.formats.product import (
    LABELS,
    RESPONSE,
    SUMMARY_NAME,
    measured_shards,
    moments_name,
    part_name,
    read_chi,
)
from spectro.formats.shard_file import columns_by_range, head_by_range
from spectro.storage.checksummed_json import read_sealed, unseal
from spectro.storage.ranges import Meter
from spectro.storage.store import Store
from spectro.susceptibility.interval import Interval

DEFAULT_CLUSTERS = "clusters"
HALF = re.compile(r"half-[01]")
"""Folder of the clusters of a half of the chains, within those of all."""


class RunView:
    """Opens a place; reads when asked.

    Raises ValueError, in one line, where there is no measured run.
    """

    def __init__(self, uri: str) -> None:
        store = Store(uri)
        self.folder = DEFAULT_CLUSTERS
        if store.exists(PROVENANCE) and not store.exists(run_dir.NAME):
            above, _, self.folder = store.uri.rpartition("/")
            if HALF.fullmatch(self.folder):
                above, _, whole = above.rpartition("/")
                self.folder = f"{whole}/{self.folder}"
            store = Store(above)
        self.store = store
        self.file = run_dir.require(store)
        self.root = store if store.exists(tokens.MARKER) else store.above()
        if not (self.root.exists(tokens.MARKER) and store.exists(moments_name(0))):
            raise ValueError(
                f"{store.uri} has no susceptibilities yet: measure them with spectro resume "
                f"run.uri={store.uri}"
            )

    @property
    def uri(self) -> str:
        """Of the part of the run."""
        return self.store.uri

    @property
    def name(self) -> str:
        """Last part of the URI."""
        return self.store.uri.rpartition("/")[2]

    @property
    def title(self) -> str:
        """Names of the run, of its part, and of clusters that are not its own."""
        names = [] if self.root.uri == self.uri else [self.root.uri.rpartition("/")[2]]
        others = [] if self.folder == DEFAULT_CLUSTERS else [self.folder]
        return " / ".join([*names, self.name, *others])

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return self.file.config

    def require_draws(self) -> None:
        """Raise ValueError, in one line, for a run whose χ is predicted: it has no chains."""
        if self.is_predicted:
            raise ValueError(
                f"{self.uri} has no chains and no draws: its χ is predicted from the run "
                f"{self.config['upsample']['source']}; give that one"
            )

    @property
    def is_predicted(self) -> bool:
        """Whether χ is predicted from another run (`spectro upsample`), not measured."""
        return bool(self.config.get("upsample"))

    @property
    def interval(self) -> Interval:
        """What χ ± is, given the standard errors of the columns."""
        return (
            Interval.of_predictions()
            if self.is_predicted
            else Interval.over_chains(self.num_chains)
        )

    @property
    def num_chains(self) -> int | None:
        """C of every component; None where the configuration does not have it."""
        found = self.config.get("chain", {}).get("num_chains")
        return None if found is None else int(found)

    @cached_property
    def info(self) -> tokens.TokensInfo:
        """Of the sequences."""
        return tokens.read_info(self.root)

    @cached_property
    def components(self) -> tuple[str, ...]:
        """Names of the columns of χ, from the end of the first shard's object."""
        shard = self.measured[0]
        return head_by_range(self.store, part_name(shard), self._sizes[shard], Meter()).components

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What is known of every column over all tokens (susceptibility/summary.py).

        Raises ValueError, in one line, where its columns are not those of the rows, in their order.
        """
        summary = dict(read_sealed(self.store, SUMMARY_NAME))
        if self.measured and tuple(summary.get("components", self.components)) != self.components:
            raise ValueError(
                f"{self.uri}/{SUMMARY_NAME} has other columns than the rows, or in another order: "
                "was it copied from another run? Delete it; the run makes it again"
            )
        return summary

    @cached_property
    def subset_names(self) -> tuple[str, ...]:
        """Of all subsets, those of later additions last."""
        last = self.info.splits["probe"].num_shards - 1
        return tokens.read_shard(self.root, "probe", last, self.info)[1].subset_names

    @property
    def context(self) -> int:
        """T."""
        return self.info.context

    @property
    def num_shards(self) -> int:
        """Token shards that the run has, measured or not."""
        return self.info.splits["probe"].num_shards

    @cached_property
    def measured(self) -> tuple[int, ...]:
        """Numbers of the token shards that are measured, in order; more may be while it goes on."""
        return tuple(n for n in range(self.num_shards) if n in self._sizes)

    @property
    def is_complete(self) -> bool:
        """Whether every token that the run has is measured."""
        return len(self.measured) == self.num_shards

    def require_measured(self, shards: Sequence[int] | None = None) -> None:
        """Raise ValueError, in one line, unless these token shards are measured; None: all."""
        wanted = range(self.num_shards) if shards is None else shards
        lacking = sorted(set(wanted) - set(self.measured))
        if lacking:
            raise ValueError(
                f"{self.uri}: {len(self.measured)} of {self.num_shards} token shards are measured, "
                f"shard {lacking[0]} is not; go on with spectro resume run.uri={self.root.uri}"
            )

    def moments(self) -> list[dict[str, Any]]:
        """Markers of every measured shard, in order (formats/product.py)."""
        read = self.store.read_many(moments_name(shard) for shard in self.measured)
        return [unseal(data, f"{self.store.uri}/{name}") for name, data in read]

    @property
    def num_tokens(self) -> int:
        """Tokens that the run has, measured or not."""
        return self.info.splits["probe"].num_sequences * self.context

    @property
    def is_control(self) -> bool:
        """Whether it is the nβ = 0 control of a run, whose sequences it shares."""
        return self.root.uri != self.uri

    @property
    def is_half(self) -> bool:
        """Whether its clusters are those of a half of the chains, in the space of that half's χ."""
        return HALF.fullmatch(self.folder.rpartition("/")[2]) is not None

    @property
    def has_clusters(self) -> bool:
        """Whether there are clusters at this place."""
        return self.store.exists(f"{self.folder}/{PROVENANCE}")

    @cached_property
    def clusters(self) -> StoredClusters:
        """The clusters of this place; raises ValueError, in one line, where there are none."""
        if not self.has_clusters:
            raise ValueError(
                f"{self.uri} has no clusters yet: make them with spectro cluster run.uri={self.uri}"
            )
        return read_clusters(self.store.child(self.folder).uri)

    def labels(self, columns: Sequence[str] = LABELS) -> pa.Table:
        """All that is known of every token but χ, in the order of token ids; χ is not read.

        Parts of objects are not held against their checksums. Raises ValueError, in one line,
        unless all tokens are measured.
        """
        self.require_measured()
        shards = [self._labels(shard, columns) for shard in range(self.num_shards)]
        return pa.concat_tables(shards).unify_dictionaries()  # later shards may know more subsets

    def labels_of(
        self, token_id_n: npt.NDArray[np.integer], columns: Sequence[str] = LABELS
    ) -> pa.Table:
        """The same of some tokens [n], in their order; only shards that have some are read.

        Raises ValueError for an id that no token has.
        """
        ids = self._known(np.asarray(token_id_n, np.int64), self.num_tokens, "token")
        if not ids.size:
            return self._labels(self.measured[0], columns).slice(0, 0)
        self.require_measured(np.unique(self._shard_of(ids // self.context)).tolist())
        order_n = np.argsort(ids, kind="stable")
        ends = np.searchsorted(ids[order_n], self._first_sequences * self.context)
        tables = [
            self._labels(shard, columns).take(
                ids[order_n[start:stop]] - self._first_sequences[shard] * self.context
            )
            for shard, (start, stop) in enumerate(pairwise(ends.tolist()))
            if start < stop
        ]
        place_n = np.empty_like(order_n)
        place_n[order_n] = np.arange(ids.size)
        return pa.concat_tables(tables).unify_dictionaries().take(place_n)

    def shards(self) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """χ of all tokens: (first token id, [n, H]), a shard at a time.

        Raises ValueError, in one line, unless all tokens are measured, along the same columns.
        """
        self.require_measured()
        for shard, first in enumerate(self._first_sequences[:-1].tolist()):
            yield first * self.context, read_chi(self.store, shard, self.components)

    def chi(self, token_id_n: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """χ of some tokens [n, H], in their order; only shards that have some are read.

        Raises ValueError for an id that no token has, or one that is not measured.
        """
        ids = self._known(np.asarray(token_id_n, np.int64), self.num_tokens, "token")
        shard_n = self._shard_of(ids // self.context)
        self.require_measured(np.unique(shard_n).tolist())
        found = np.empty((ids.size, len(self.components)), np.float32)
        for shard in np.unique(shard_n).tolist():
            own = shard_n == shard
            first = int(self._first_sequences[shard]) * self.context
            found[own] = read_chi(self.store, shard, self.components)[ids[own] - first]
        return found

    def vectors(self, token_id_n: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Vectors of some tokens under the clusters' transform, [n, D]; errors as `chi`."""
        return self.clusters.transform.apply(self.chi(token_id_n), self.response(token_id_n))

    def response(self, token_id_n: npt.NDArray[np.integer]) -> npt.NDArray[np.float32] | None:
        """B of some tokens, [n]; None unless the clusters' transform takes it out."""
        if not self.clusters.transform.needs_response:
            return None
        return np.asarray(self.labels_of(token_id_n, [RESPONSE])[RESPONSE], np.float32)

    def sequences(
        self, sequence_id_n: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int16]]:
        """Token ids [n, T + 1] and subsets [n] of some sequences, in their order.

        Raises ValueError for an id that no sequence has.
        """
        num_sequences = self.info.splits["probe"].num_sequences
        ids = self._known(np.asarray(sequence_id_n, np.int64), num_sequences, "sequence")
        shard_n = self._shard_of(ids)
        rows = np.empty((ids.size, self.context + 1), np.int32)
        subset = np.empty(ids.size, np.int16)
        for shard in np.unique(shard_n).tolist():
            own = shard_n == shard
            place = ids[own] - self._first_sequences[shard]
            _, sequences = tokens.read_shard(self.root, "probe", shard, self.info)
            rows[own], subset[own] = sequences.ids_ST1[place], sequences.subset_S[place]
        return rows, subset

    def shard_of(self, sequence_id: int) -> int:
        """Number of the token shard that has a sequence."""
        return int(np.searchsorted(self._first_sequences, sequence_id, side="right")) - 1

    @cached_property
    def _sizes(self) -> dict[int, int]:
        """Bytes of the rows of every shard that is measured."""
        return measured_shards(self.store)

    def _labels(self, shard: int, columns: Sequence[str]) -> pa.Table:
        return columns_by_range(self.store, part_name(shard), self._sizes[shard], columns, Meter())

    def _shard_of(self, sequence_id_n: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.searchsorted(self._first_sequences, sequence_id_n, side="right") - 1

    @cached_property
    def _first_sequences(self) -> npt.NDArray[np.int64]:
        """First sequence of every shard, and the number of all."""
        return np.cumsum([0, *self.info.splits["probe"].shard_sizes], dtype=np.int64)

    def _known(self, ids: npt.NDArray[np.int64], number: int, what: str) -> npt.NDArray[np.int64]:
        wrong = ids[(ids < 0) | (ids >= number)]
        if wrong.size:
            raise ValueError(f"{self.uri} has no {what} {wrong[0]}: its ids are 0 to {number - 1}")
        return ids
