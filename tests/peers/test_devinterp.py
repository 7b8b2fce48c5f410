"""Restricted chains and two-chain susceptibilities against devinterp 2.0.1, the public peer.

devinterp is given a random model; its noise and its data order are replayed into our chains
(replayed.py), so what is left to differ is arithmetic. Ours moves a component's own slices through
the prefix and suffix factorisation, devinterp a masked full model.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

import spectro
from tests.peers.replayed import (
    ALPHA,
    CONTEXT,
    DAMPING,
    GAMMA,
    NBETA,
    SEED,
    STEP_SIZE,
    VOCAB,
    DevinterpRandomness,
    random_ids,
    random_model,
)

pytestmark = pytest.mark.slow

datasets = pytest.importorskip("datasets", reason="devinterp's inputs are Hugging Face datasets")
pytest.importorskip("devinterp", reason="the peer to compare with: pip install devinterp==2.0.1")
from devinterp.slt.susceptibilities import susceptibilities as peer_susceptibilities  # noqa: E402
from devinterp.slt.weight_restrictions import create_param_masks  # noqa: E402

CHAINS = {"num_chains": 2, "num_draws": 6, "num_burnin_steps": 2, "batch_size": 4}
COMPONENTS = ["l0h1", "l1h0", "l0mlp", "l1mlp", "embed"]


@pytest.fixture(scope="module")
def model() -> GPTNeoXForCausalLM:
    return random_model()


@pytest.fixture(scope="module")
def ids() -> dict[str, Tensor]:
    return random_ids()


def _dataset(rows: Tensor):
    return datasets.Dataset.from_dict({"input_ids": rows.tolist()}).with_format("torch")


@pytest.fixture(scope="module", autouse=True)
def garbage_of_others() -> Iterator[None]:
    """devinterp collects garbage around every chain; what was there before has none."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module", params=["rmsprop_sgld", "sgmcmc_sgld"])
def both(request, model: GPTNeoXForCausalLM, ids: dict[str, Tensor], tmp_path_factory):
    """(devinterp's χ, ours), both [tokens, components], their names, and E_C[φ]."""
    preconditioned = request.param == "rmsprop_sgld"
    batch = CHAINS["batch_size"]
    masks = {name: create_param_masks(model, _peer_name(name)) for name in COMPONENTS}
    masks |= {"unembed": {"lm_head.weight": None}, "full": None}
    step_size = STEP_SIZE if preconditioned else 20 * STEP_SIZE
    tree = peer_susceptibilities(
        model.requires_grad_(True),
        _dataset(ids["sampling"]),
        {
            "evaluation": (_dataset(ids["evaluation"]), len(ids["evaluation"]) // batch),
            "probe": (_dataset(ids["probe"]), len(ids["probe"]) // batch),
        },
        masks,
        sampling_task="evaluation",
        lr=step_size,
        n_beta=NBETA,
        localization=GAMMA,
        num_steps_bw_draws=3,
        num_init_loss_batches=5,
        init_seed=SEED,
        sampling_method=request.param,
        device="cpu",
        output_path=tmp_path_factory.mktemp("peer") / "samples.zarr",
        **({"rmsprop_eps": DAMPING, "rmsprop_alpha": ALPHA} if preconditioned else {}),
        **CHAINS,
    )
    theirs = tree["susceptibilities"]["sus"]
    probe = torch.from_numpy(tree["context"]["input_ids"].values.reshape(-1, CONTEXT + 1))
    common = {"gamma": GAMMA, "nbeta": NBETA, "step_size": step_size}
    ours = spectro.susceptibilities(
        model.requires_grad_(False),
        ids["sampling"],
        probe,
        sampler=spectro.Psgld(**common, damping=DAMPING, alpha=ALPHA)
        if preconditioned
        else spectro.Sgld(**common),
        components=[*COMPONENTS, "unembed"],
        evaluation_ids=ids["evaluation"],
        steps_between_draws=3,
        estimator=spectro.EstimatorConfig(
            baseline=spectro.Baseline.UNPAIRED, num_baseline_batches=5
        ),
        randomness=DevinterpRandomness(model, len(ids["sampling"]), batch),
        **CHAINS,
    )
    columns = [list(theirs.coords["wr"].values).index(name) for name in ours.components]
    return (
        theirs.values[:, columns],
        ours.chi.reshape(-1, len(ours.components)),
        ours.components,
        ours.mean_phi,
    )


def _peer_name(component: str) -> str:
    return f"{component[:2]} mlp" if component.endswith("mlp") else component


def test_two_chain_susceptibilities_agree(both) -> None:
    """To float32: both sides round ℓ ≈ ln V in every Δℓ, and χ is Δℓ times φ.

    The rounding of ℓ and of the sums that lead to it, at the worst of 144 tokens, is taken as 32
    units in the last place.
    """
    theirs, ours, components, mean_phi = both
    scale = theirs.std(axis=0)
    error = np.abs(ours - theirs).max(axis=0)
    allowed = 32 * np.finfo(np.float32).eps * np.log(VOCAB) * np.abs(mean_phi)
    assert (scale > 1e-3).all(), dict(zip(components, scale, strict=True))
    assert (error < allowed).all(), dict(zip(components, error / allowed, strict=True))
    assert (allowed < 1e-4 * scale).all()  # far finer than what is compared
