"""What a worker does for each kind of unit: read, compute, put.

The science gets arrays and gives arrays; everything is read from the run's storage and written
there, so that a unit can be done anywhere.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import cached_property, partial, singledispatch

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from spectro.cluster_stage.find import find_and_write_clusters
from spectro.cluster_stage.fitting import make_transform
from spectro.cluster_stage.knn import make_lists, make_pair, measure_recall
from spectro.cluster_stage.units import (
    ClusterUnit,
    ListsUnit,
    NeighboursUnit,
    PairUnit,
    RecallUnit,
    TransformUnit,
)
from spectro.cluster_stage.vectors import ListsOnNode
from spectro.clustering.config import ClusterConfig
from spectro.config import PipelineConfig
from spectro.formats import draws, tokens
from spectro.formats.tokens import TokensInfo
from spectro.measure.assembly import assemble_shard, summarise
from spectro.measure.chains import run_chains
from spectro.measure.shared_draws import known_pilot
from spectro.measure.tiles import run_tile
from spectro.measure.tokenise import add_tokens, make_tokens
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.load import load_model
from spectro.models.token_ids import check_ids
from spectro.predict.ensemble import Ensemble
from spectro.sampling.pilot.pilot import (
    independent_components,
)
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.storage.store import Store
from spectro.susceptibility.measurement import MeasuredModel
from spectro.tokens.sequences import Sequences
from spectro.upsampling.learning import learn, read_ensemble
from spectro.upsampling.prediction import predict_shard, summarise_predictions
from spectro.upsampling.units import LearningUnit, PredictionSummaryUnit, PredictionUnit
from spectro.views.page.write import write_page
from spectro.work.errors import HandedBack
from spectro.work.threads import own_threads, use_threads
from spectro.work.units import (
    AssemblyUnit,
    ChainUnit,
    MoreTokensUnit,
    PilotUnit,
    ReportUnit,
    SummaryUnit,
    TileUnit,
    TokensUnit,
    Unit,
)

logger = logging.getLogger(__name__)
OnProgress = Callable[[float, float], None]
Leave = Callable[[], bool]
"""Whether the worker was told to leave."""


class ResidentModel(MeasuredModel):
    """What a worker keeps between units: the model and the sequences of the chains."""

    def __init__(self, config: PipelineConfig) -> None:
        super().__init__(
            config.scoring,
            model=lambda: GPTNeoX.from_pretrained_model(self.hf_model, config.model.precision),
            sampling_ids=lambda: self._split("sampling"),
            evaluation_ids=lambda: self._split("evaluation"),
        )
        self.config = config
        self.root = Store(config.run.uri)
        self._parts = config.parts
        self._ensemble: Ensemble | None = None
        self._tokens: TokensInfo | None = None

    def of(self, unit: Unit) -> tuple[Store, PipelineConfig]:
        """The part of the run that a unit belongs to, and its configuration."""
        return self.root.child(unit.part), self._parts[unit.part]

    def lists_of(self, unit: ListsUnit) -> tuple[ListsOnNode, ClusterConfig]:
        """What a unit about neighbour lists works on, and the settings of its clusters."""
        store, config = self.of(unit)
        lists = ListsOnNode(store, unit.key, unit.half, unit.layout, config.run.scratch)
        return lists, config.cluster

    @property
    def search_device(self) -> str:
        """Where exact neighbours are searched: a GPU if this process has one."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def hf_model(self) -> GPTNeoXForCausalLM:
        """The checkpoint."""
        return load_model(self.config.model)

    def ensemble(self, num_folds: int) -> Ensemble:
        """The networks of an upsampled run; a worker keeps them."""
        if self._ensemble is None:
            self._ensemble = read_ensemble(self.root, num_folds, self.model.device)
        return self._ensemble

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


def _may_leave(leave: Leave) -> None:
    """Hand back a unit without checkpoint where the worker is to leave: it begins anew."""
    if leave():
        raise HandedBack("asked to leave; this unit begins anew")


def _stay() -> bool:
    """Never told to leave."""
    return False


def execute(
    unit: Unit, resident: ResidentModel, on_progress: OnProgress, leave: Leave = _stay
) -> None:
    """Do a unit; its objects are in storage when this returns.

    Raises HandedBack soon after `leave` says True, with a checkpoint in storage where the unit
    has any; a pilot begins anew, other units without checkpoints are finished.
    """
    if not isinstance(unit, ChainUnit) and all(resident.root.exists(n) for n in unit.outputs):
        logger.info("another worker has done it")  # the listing was stale, or somebody was faster
        return
    if unit.takes_all_cores:
        use_threads(own_threads(resident.config.run))
    _execute(unit, resident, on_progress, leave)


@singledispatch
def _execute(unit: Unit, resident: ResidentModel, on_progress: OnProgress, leave: Leave) -> None:
    raise TypeError(f"no one knows how to do a {type(unit).__name__}")


@_execute.register
def _tokens(
    unit: TokensUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    make_tokens(resident, on_progress)


@_execute.register
def _more_tokens(
    unit: MoreTokensUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    add_tokens(unit, resident, on_progress)


@_execute.register
def _pilot(unit: PilotUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave) -> None:
    store, config = resident.of(unit)
    pilot = resident.pilot(
        unit.group,
        config,
        known=known_pilot(unit, unit.group.name, resident),
        on_step=partial(_may_leave, leave),
    )
    alone = independent_components(config.sampler, pilot)
    for name, moments in pilot.items():
        logger.info(
            "pilot %s: effective fraction %.2f, E[ΔL] %.4f nats (%s), %s",
            name,
            moments.effective_fraction,
            moments.delta_loss,
            moments.source or "not known",
            "independent draws" if name in alone else _step_in_words(moments),
        )
    draws.write_pilot(store, unit.group.name, pilot)


def _step_in_words(moments: PosteriorMoments) -> str:
    """How a component steps: what its `mala` step keeps, where the pilot tuned one."""
    return "a chain" if math.isnan(moments.rho) else f"a chain, ρ {moments.rho:.3f}"


@_execute.register
def _chain(unit: ChainUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave) -> None:
    run_chains(unit, resident, on_progress, leave)


@_execute.register
def _tile(unit: TileUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave) -> None:
    run_tile(unit, resident, on_progress, leave)


@_execute.register
def _assembly(
    unit: AssemblyUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    assemble_shard(unit, resident)


@_execute.register
def _summary(
    unit: SummaryUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    store, config = resident.of(unit)
    summarise(unit, store, config)


@_execute.register
def _learning(
    unit: LearningUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    learn(unit, resident, on_progress)


@_execute.register
def _prediction(
    unit: PredictionUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    predict_shard(unit, resident, on_progress)


@_execute.register
def _prediction_summary(
    unit: PredictionSummaryUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    summarise_predictions(unit, resident)


@_execute.register
def _transform(
    unit: TransformUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    store, config = resident.of(unit)
    make_transform(unit, store, config.cluster, config.estimator.kind, on_progress)


@_execute.register
def _pair(unit: PairUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave) -> None:
    lists, config = resident.lists_of(unit)
    with lists:
        make_pair(unit, lists, config, resident.search_device, on_progress)


@_execute.register
def _neighbours(
    unit: NeighboursUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    lists, config = resident.lists_of(unit)
    with lists:
        make_lists(unit, lists, config, resident.search_device, on_progress)


@_execute.register
def _recall(
    unit: RecallUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    lists, config = resident.lists_of(unit)
    with lists:
        measure_recall(unit, lists, config, resident.search_device, on_progress)


@_execute.register
def _cluster(
    unit: ClusterUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    store, config = resident.of(unit)
    find_and_write_clusters(unit, store, config, on_progress, leave)


@_execute.register
def _report(
    unit: ReportUnit, resident: ResidentModel, on_progress: OnProgress, leave: Leave
) -> None:
    write_page(resident.root, resident.config, unit.probe_sha256, on_progress)
