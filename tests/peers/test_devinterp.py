"""Restricted chains and two-chain susceptibilities against devinterp 2.0.1, the public peer.

devinterp is given a random model of each kind; its noise and its data order are replayed into our
chains (benchmarks/replayed.py), so what is left to differ is arithmetic. Ours moves a component's
own slices through the prefix and suffix factorisation, devinterp a masked full model.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import spectro
from benchmarks.replayed import Replayed

pytestmark = pytest.mark.slow

datasets = pytest.importorskip("datasets", reason="devinterp's inputs are Hugging Face datasets")
pytest.importorskip("devinterp", reason="the peer to compare with: pip install devinterp==2.0.1")
from devinterp.slt.susceptibilities import susceptibilities as peer_susceptibilities  # noqa: E402

SEED, VOCAB, CONTEXT = 100, 53, 12
GAMMA, NBETA, STEP_SIZE, DAMPING, ALPHA = 30.0, 10.0, 1e-4, 0.01, 0.9
CHAINS = {"num_chains": 2, "num_draws": 6, "num_burnin_steps": 2, "batch_size": 4}
SIZES = {
    "vocab_size": VOCAB, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 32, "initializer_range": 0.3,
}  # fmt: skip
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
"""devinterp's chains are in training mode."""
KINDS: dict[str, tuple[dict[str, object], list[str]]] = {
    "gpt_neox": (
        SIZES | {"tie_word_embeddings": False},
        ["l0h1", "l1h0", "l0mlp", "l1mlp", "embed", "unembed"],
    ),
    "gpt2": (
        {**SIZES, **NO_DROPOUT, "n_inner": 32, "tie_word_embeddings": True},
        ["l0h1", "l1h0", "l0mlp", "l1mlp", "embed"],
    ),
    "llama": (
        {
            **SIZES, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
            "tie_word_embeddings": True,
        },
        ["l0h1", "l1h2", "l0kv1", "l1kv0", "l0mlp", "l1mlp", "embed"],
    ),
}  # fmt: skip
"""Settings by type of model, and the components that are compared."""


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    fields = dict(KINDS[request.param][0])
    if request.param == "gpt2":
        del fields["intermediate_size"]  # GPT-2 calls it n_inner
    torch.manual_seed(1)
    config = AutoConfig.for_model(request.param, **fields)
    return AutoModelForCausalLM.from_config(config).double().eval()


@pytest.fixture(scope="module")
def ids() -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(7)
    sizes = {"sampling": 22, "evaluation": 8, "probe": 12}
    return {
        n: torch.randint(0, VOCAB, (s, CONTEXT + 1), generator=stream) for n, s in sizes.items()
    }


def _dataset(rows: Tensor):
    return datasets.Dataset.from_dict({"input_ids": rows.tolist()}).with_format("torch")


@pytest.fixture(scope="module", autouse=True)
def garbage_of_others() -> Iterator[None]:
    """devinterp collects garbage around every chain; what was there before has none."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module", params=["rmsprop_sgld", "sgmcmc_sgld"])
def both(request, model: PreTrainedModel, ids: dict[str, Tensor], tmp_path_factory):
    """devinterp's χ, [tokens, components], and our result."""
    preconditioned = request.param == "rmsprop_sgld"
    batch = CHAINS["batch_size"]
    names = KINDS[model.config.model_type][1]
    replayed = Replayed.of(
        model.requires_grad_(False), names,
        num_sequences=len(ids["sampling"]), batch_size=batch, seed=SEED,
    )  # fmt: skip
    step_size = STEP_SIZE if preconditioned else 20 * STEP_SIZE
    tree = peer_susceptibilities(
        model.requires_grad_(True),
        _dataset(ids["sampling"]),
        {
            "evaluation": (_dataset(ids["evaluation"]), len(ids["evaluation"]) // batch),
            "probe": (_dataset(ids["probe"]), len(ids["probe"]) // batch),
        },
        {**replayed.masks, "full": None},
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
        components=names,
        evaluation_ids=ids["evaluation"],
        steps_between_draws=3,
        estimator=spectro.EstimatorConfig(
            baseline=spectro.Baseline.UNPAIRED, num_baseline_batches=5
        ),
        randomness=replayed,
        **CHAINS,
    )
    columns = [list(theirs.coords["wr"].values).index(name) for name in ours.components]
    return theirs.values[:, columns], ours


def test_two_chain_susceptibilities_agree(both) -> None:
    """To float32, in which devinterp stores losses: each is off by up to half a unit in its last
    place. χ is a product of two differences of losses, φ and one of at most max |B|.
    """
    theirs, ours = both
    names, chi = ours.components, ours.chi.reshape(theirs.shape)
    scale = theirs.std(axis=0)
    error = np.abs(chi - theirs).max(axis=0)
    unit = np.finfo(np.float32).eps * ours.loss.max()
    allowed = unit * np.abs(ours.full_response).max()
    assert (scale > 1e-2).all(), dict(zip(names, scale, strict=True))
    assert (error < allowed).all(), dict(zip(names, error / allowed, strict=True))
    assert (allowed < 1e-3 * scale).all()  # far finer than what is compared
