"""Influence and λ̂ against devinterp 2.0.1, along the same draws (benchmarks/replayed.py).

devinterp keeps the trace of every token's loss, draws × tokens, and takes covariances (with n − 1)
and λ̂ from it. Ours are running sums over the same draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray
from torch import Tensor

from benchmarks.parity import BATCH, CONTEXT, VOCAB, toy_ids, toy_model
from benchmarks.replayed import Replayed
from spectro.models.components import FULL_GROUP
from spectro.models.config import ScoringConfig
from spectro.models.engine import engine_of
from spectro.models.token_ids import check_ids
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.config import ChainConfig, ObservableConfig
from spectro.sampling.observables import SplitSequences
from spectro.sampling.samplers import Sgld
from spectro.susceptibility.estimator import ChainSums, EstimatorConfig
from spectro.susceptibility.measurement import MeasuredModel, chain_sums, scored_chain
from spectro.susceptibility.reliability import estimate_influence
from spectro.susceptibility.summary import ColumnChains
from spectro.susceptibility.tile_sums import TileSums
from tests.device.measured import Settings

pytestmark = pytest.mark.slow

datasets = pytest.importorskip("datasets", reason="devinterp's inputs are Hugging Face datasets")
pytest.importorskip("devinterp", reason="the peer to compare with: pip install devinterp==2.0.1")
from devinterp.slt.bif import compute_bif  # noqa: E402
from devinterp.slt.llc import compute_llc  # noqa: E402
from devinterp.slt.sampling import sample  # noqa: E402
from devinterp.slt.weight_restrictions import create_param_masks  # noqa: E402

NUM_DRAWS, NUM_INIT = 8, 5
SEED = 100
GAMMA, NBETA, STEP_SIZE = 30.0, 10.0, 1e-4
COMPONENTS = {"l0h1": "l0h1", "l1mlp": "l1 mlp", "full": None}
QUERIES = {
    "token": ObservableConfig(tokens=(2 * CONTEXT + 7,), split="probe"),
    "sequence": ObservableConfig(sequences=(3,), split="probe"),
    "evaluated": ObservableConfig(),
}


def random_ids() -> dict[str, Tensor]:
    return toy_ids(sampling=22, evaluation=8, probe=12)


def dataset(rows: Tensor) -> Any:
    return datasets.Dataset.from_dict({"input_ids": rows.tolist()}).with_format("torch")


@pytest.fixture(scope="module", params=COMPONENTS)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[xarray.DataTree, ChainSums, list[ComponentChain]]:
    """devinterp's traces; our sums and chains along the same draws."""
    name, model, ids = request.param, toy_model(), random_ids()
    masks = COMPONENTS[name] and create_param_masks(model, COMPONENTS[name])
    step_size = 20 * STEP_SIZE
    tree = sample(
        model.requires_grad_(True),
        dataset(ids["sampling"]),
        {
            split: (dataset(ids[split]), len(ids[split]) // BATCH)
            for split in ("evaluation", "probe")
        },
        param_masks=masks,
        lr=step_size,
        n_beta=NBETA,
        localization=GAMMA,
        num_chains=2,
        num_draws=NUM_DRAWS,
        batch_size=BATCH,
        num_burnin_steps=2,
        num_steps_bw_draws=3,
        num_init_loss_batches=NUM_INIT,
        init_seed=SEED,
        device="cpu",
        output_path=tmp_path_factory.mktemp("peer") / "samples.zarr",
    )
    measured = measured_model(model.requires_grad_(False), ids, probe_of(tree))
    settings = Settings(
        sampler=Sgld(gamma=GAMMA, nbeta=NBETA, step_size=step_size),
        chain=ChainConfig(
            num_chains=2, num_draws=NUM_DRAWS, batch_size=BATCH, num_burnin_steps=2,
            steps_between_draws=3,
        ),
        estimator=EstimatorConfig(),
        observables=QUERIES,
    )  # fmt: skip
    group = FULL_GROUP
    if name != "full":
        (group,) = measured.model.shape.groups([name], with_full=False)
    replayed = Replayed.of(
        model, [] if name == "full" else [name], num_sequences=len(ids["sampling"]),
        batch_size=BATCH, seed=SEED,
    )  # fmt: skip
    chains = {}
    for chain in range(2):  # one by one, as devinterp
        chains |= measured.chains(group, settings, {}, replayed).run([chain])
    probe = check_ids(measured.model, probe_of(tree), "probe")
    tiles = [
        measured.score(group, {chain: scored_chain(own.draws, own.components)}, probe, {})[name]
        for chain, own in chains.items()
    ]
    components = [own.components[name] for own in chains.values()]
    sums = chain_sums({name: TileSums.joined(tiles)}, {name: components})[name]
    return tree, sums, components


def probe_of(tree: xarray.DataTree) -> Tensor:
    """The probe sequences in devinterp's order."""
    return torch.from_numpy(tree["input_ids_probe"].values.reshape(-1, CONTEXT + 1))


def measured_model(model: Any, ids: dict[str, Tensor], probe: Tensor) -> MeasuredModel:
    engine = engine_of(model)
    return MeasuredModel(
        ScoringConfig(),
        model=lambda: engine,
        sampling_ids=lambda: ids["sampling"],
        evaluation_ids=lambda: ids["evaluation"],
        split=lambda split: SplitSequences(
            ids_ST1=probe if split == "probe" else ids["evaluation"]
        ),
    )


def peer_influence(tree: xarray.DataTree, query: str) -> np.ndarray:
    """−Cov of the query's loss and each probe token's, from devinterp's covariances, [N]."""
    found = compute_bif(tree, compute_covariance=True, device="cpu")["influences"].values
    num_evaluation = len(random_ids()["evaluation"])
    by_token = found.transpose(0, 2, 1, 3)  # sequence, position of the query; of the token
    if query == "evaluated":
        cov = by_token[:num_evaluation].mean((0, 1))[num_evaluation:]
    elif query == "sequence":
        cov = by_token[num_evaluation + 3].mean(0)[num_evaluation:]
    else:
        cov = by_token[num_evaluation + 2, 7][num_evaluation:]
    n = 2 * NUM_DRAWS
    return -cov.reshape(-1) * (n - 1) / n


@pytest.mark.parametrize("query", QUERIES)
def test_influences_are_minus_its_covariances(both: Any, query: str) -> None:
    """To float32: devinterp rounds ℓ ≈ ln V, we Δℓ; the other factor is the query's spread."""
    tree, sums, _ = both
    theirs, ours = peer_influence(tree, query), estimate_influence(sums, query).chi_N
    phi = np.concatenate(sums.observables[query])
    allowed = 32 * np.finfo(np.float32).eps * np.log(VOCAB) * (phi.std() + np.abs(phi).mean())
    assert np.abs(ours - theirs).max() < allowed
    assert allowed < 1e-3 * theirs.std()


def test_learning_coefficient_of_its_traces(both: Any) -> None:
    """λ̂ from devinterp's losses of the draws; and its own estimate from our losses of the steps.

    Its own averages minibatch losses over all steps, burn-in included, and takes off those of the
    first minibatches at w*; ours is of the draws, on the evaluation set. Our chains end with their
    last draw, devinterp's some steps later.
    """
    tree, _, chains = both
    loss = tree["loss_evaluation"].values.astype(np.float64)  # chain, draw, batch, position
    clean = random_model_loss(random_ids()["evaluation"])
    own = ColumnChains(chains=chains, exact=None, phi_offset=0.0, num_sets=1, nbeta=NBETA)
    rounding = 8 * np.finfo(np.float32).eps * np.log(VOCAB) * NBETA
    assert abs(own.llc - NBETA * (loss.mean() - clean)) < rounding
    spread = NBETA * np.abs(np.diff(loss.mean((1, 2, 3))))[0] / 2
    assert abs(own.llc_error - spread) < rounding
    steps = np.stack([chain.step_loss for chain in chains])
    cut = xarray.DataTree(tree.to_dataset().isel(step=slice(0, steps.shape[1])))
    theirs = compute_llc(cut)
    assert np.abs(theirs["loss_trace"].values - steps).max() < rounding / NBETA
    found = NBETA * (steps.mean(1) - float(tree["init_loss"].values.mean()))
    assert np.abs(found - theirs["llc_per_chain"].values).max() < rounding
    assert abs(own.llc) > 100 * rounding


def random_model_loss(ids: Tensor) -> float:
    model = toy_model().double()
    with torch.no_grad():
        return float(model(ids, labels=ids).loss)
