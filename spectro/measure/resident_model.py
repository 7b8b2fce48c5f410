"""What a worker of a run keeps between units: the model and the sequences of the chains."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.tokens import TokensInfo
from spectro.measure.checkpoint_copy import on_this_machine
from spectro.models.engine import engine_of
from spectro.models.load import load_model
from spectro.models.token_ids import check_ids
from spectro.sampling.config import QuerySplit
from spectro.sampling.observables import SplitSequences
from spectro.storage.store import Store
from spectro.susceptibility.measurement import MeasuredModel
from spectro.tokens.sequences import Sequences
from spectro.work.units import Unit

T = TypeVar("T")


class ResidentModel(MeasuredModel):
    """The model, and the sequences of the chains, loaded when first asked for."""

    def __init__(self, config: PipelineConfig) -> None:
        super().__init__(
            config.scoring,
            model=lambda: engine_of(self.hf_model, config.model.precision, loaded=True),
            sampling_ids=lambda: self._ids("sampling"),
            evaluation_ids=lambda: self._ids("evaluation"),
            split=self._query_split,
        )
        self.config = config
        self.root = Store(config.run.uri)
        self._parts = config.parts
        self._kept: dict[str, Any] = {}
        self._tokens: TokensInfo | None = None

    def of(self, unit: Unit) -> tuple[Store, PipelineConfig]:
        """The part of the run that a unit belongs to, and its configuration."""
        return self.root.child(unit.part), self._parts[unit.part]

    @cached_property
    def hf_model(self) -> PreTrainedModel:
        """The checkpoint."""
        model = on_this_machine(self.config.model, self.config.run.scratch, weights=True)
        return load_model(model)

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """What a stage wants kept by a worker, made once."""
        if name not in self._kept:
            self._kept[name] = make()
        kept: T = self._kept[name]
        return kept

    def probe_ids(self, shard: int) -> Tensor:
        """Sequences of one token shard, int64 [n, T+1]."""
        _, sequences = self.probe_shard(shard)
        return check_ids(self.model, torch.from_numpy(sequences.ids_ST1), "tokens/probe")

    def probe_shard(self, shard: int) -> tuple[npt.NDArray[np.int32], Sequences]:
        """Sequence ids and sequences of one token shard, checked against the markers."""
        if self._tokens is None or shard >= self._tokens.splits["probe"].num_shards:
            self._tokens = tokens.read_info(self.root)  # additions only append
        return tokens.read_shard(self.root, "probe", shard, self._tokens)

    def _ids(self, split: str) -> Tensor:
        ids = tokens.read_split(self.root, split).ids_ST1
        return check_ids(self.model, torch.from_numpy(ids), f"tokens/{split}")

    def _query_split(self, split: QuerySplit) -> SplitSequences:
        """Sequences of which observables are taken, with their subsets."""

        def read() -> SplitSequences:
            found = tokens.read_split(self.root, split.value)
            ids = check_ids(self.model, torch.from_numpy(found.ids_ST1), f"tokens/{split.value}")
            subsets = [found.subset_names[subset] for subset in found.subset_S]
            return SplitSequences(ids_ST1=ids, subsets=subsets)

        return self.keep(f"sequences/{split.value}", read)
