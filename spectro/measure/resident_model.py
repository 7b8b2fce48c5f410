"""What a worker of a run keeps between units: the model and the sequences of the chains."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.tokens import TokensInfo
from spectro.models.cost.budget import RowBudget
from spectro.models.cost.rows import scoring_budget, stepping_budget
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.groups import loss_headroom
from spectro.models.load import load_model
from spectro.models.losses import shortlisting_of
from spectro.models.scoring import Scoring
from spectro.models.token_ids import check_ids
from spectro.models.top_k_softmax import TopKFit
from spectro.sampling.pilot.pilot import listed_components
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.storage.store import Store
from spectro.tokens.sequences import Sequences
from spectro.work.units import Unit

T = TypeVar("T")


class ResidentModel:
    """The model, and the sequences of the chains, loaded when first asked for."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config
        self.root = Store(config.run.uri)
        self._parts = config.parts
        self._budgets: dict[bool, RowBudget] = {}
        self._kept: dict[str, Any] = {}
        self._tokens: TokensInfo | None = None

    def of(self, unit: Unit) -> tuple[Store, PipelineConfig]:
        """The part of the run that a unit belongs to, and its configuration."""
        return self.root.child(unit.part), self._parts[unit.part]

    @cached_property
    def hf_model(self) -> GPTNeoXForCausalLM:
        """The checkpoint."""
        return load_model(self.config.model)

    @cached_property
    def model(self) -> GPTNeoX:
        """The same weights, as the engine takes them."""
        return GPTNeoX.from_pretrained_model(self.hf_model, self.config.model.precision)

    @cached_property
    def shortlisting(self) -> TopKFit | None:
        """The top-K softmax that losses may use; None where it costs more than it saves."""
        return shortlisting_of(self.model, self.config.scoring, self.evaluation_ids)

    def scoring(self, pilot: Mapping[str, PosteriorMoments]) -> Scoring:
        """How a group's losses are computed, as its pilot has found."""
        lists, names = self.shortlisting, listed_components(self.config.scoring, pilot)
        if lists is None or not names:
            return Scoring(budget=self.scoring_budget(listed=False))
        return Scoring(
            budget=self.scoring_budget(listed=True),
            shortlisting=dataclasses.replace(lists, components=names),
        )

    def scoring_budget(self, *, listed: bool) -> RowBudget:
        """Rows of a scoring pass; a worker keeps what it has learnt of them."""
        if listed not in self._budgets:
            lists = self.config.scoring.shortlist_size if listed else 0
            self._budgets[listed] = scoring_budget(self.model, lists)
        return self._budgets[listed]

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """What a stage wants kept by a worker, made once."""
        if name not in self._kept:
            self._kept[name] = make()
        kept: T = self._kept[name]
        return kept

    @cached_property
    def headroom(self) -> float:
        """ln V − L(w*) on the evaluation set, nats: what the model has learnt of its text."""
        return loss_headroom(self.model, self.evaluation_ids, self.scoring_budget(listed=False))

    @cached_property
    def stepping_budget(self) -> RowBudget:
        """Rows of a step, with what its backward pass keeps."""
        return stepping_budget(self.model)

    @cached_property
    def sampling_ids(self) -> Tensor:
        """Sequences of the minibatches, int64 [M, T+1]."""
        return self._split("sampling")

    @cached_property
    def evaluation_ids(self) -> Tensor:
        """Sequences on which ΔL is taken, int64 [E, T+1]."""
        return self._split("evaluation")

    def probe_ids(self, shard: int) -> Tensor:
        """Sequences of one token shard, int64 [n, T+1]."""
        _, sequences = self.probe_shard(shard)
        return check_ids(self.model, torch.from_numpy(sequences.ids_ST1), "tokens/probe")

    def probe_shard(self, shard: int) -> tuple[npt.NDArray[np.int32], Sequences]:
        """Sequence ids and sequences of one token shard, checked against the markers."""
        if self._tokens is None or shard >= self._tokens.splits["probe"].num_shards:
            self._tokens = tokens.read_info(self.root)  # additions only append
        return tokens.read_shard(self.root, "probe", shard, self._tokens)

    def _split(self, split: str) -> Tensor:
        ids = tokens.read_split(self.root, split).ids_ST1
        return check_ids(self.model, torch.from_numpy(ids), f"tokens/{split}")
