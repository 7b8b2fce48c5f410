"""Restricted chains and two-chain susceptibilities against devinterp 2.0.1, the public peer.

devinterp is given a random model; its noise (torch's global generator, one normal tensor per
whole parameter and step) and its data order (a seeded DataLoader) are replayed into our chains,
so what is left to differ is arithmetic. Ours moves a component's own slices through the prefix
and suffix factorisation, devinterp a masked full model.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import spectro

pytestmark = pytest.mark.slow

datasets = pytest.importorskip("datasets", reason="devinterp's inputs are Hugging Face datasets")
pytest.importorskip("devinterp", reason="the peer to compare with: pip install devinterp==2.0.1")
from devinterp.slt.susceptibilities import susceptibilities as peer_susceptibilities  # noqa: E402
from devinterp.slt.weight_restrictions import create_param_masks  # noqa: E402

SEED, VOCAB, CONTEXT = 100, 53, 12
GAMMA, NBETA, STEP_SIZE, DAMPING, ALPHA = 30.0, 10.0, 1e-4, 0.01, 0.9
CHAINS = {"num_chains": 2, "num_draws": 6, "num_burnin_steps": 2, "batch_size": 4}
COMPONENTS = ["l0h1", "l1h0", "l0mlp", "l1mlp", "embed"]


class DevinterpRandomness:
    """devinterp's noise and data order, as a `Randomness`."""

    def __init__(self, model: GPTNeoXForCausalLM, num_sequences: int, batch_size: int) -> None:
        self._shapes = {name: p.shape for name, p in model.named_parameters()}
        self._heads = model.config.num_attention_heads
        self._streams: dict[tuple[str, int], torch.Generator] = {}
        order = DataLoader(
            range(num_sequences),
            batch_size=batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(SEED),
            drop_last=True,
        )
        self._epoch = list(order)

    def minibatch(self, chain: int, step: int, num_sequences: int, batch_size: int) -> Tensor:
        return self._epoch[step % len(self._epoch)]

    def noise(
        self, component: str, chain: int, step: int, like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        stream = self._streams.setdefault(
            (component, chain), torch.Generator().manual_seed(SEED + chain)
        )
        noise = {
            name: torch.normal(0.0, 1.0, size=self._shapes[name], generator=stream)
            for name in _parameters(component, list(self._shapes))
        }
        return self._blocks(component, noise)

    def _blocks(self, component: str, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cut the whole-parameter noise down to the component's blocks."""
        if component == "full":
            return noise
        values = list(noise.values())
        if component in ("embed", "unembed"):
            return {"weight": values[0]}
        if component.endswith("mlp"):
            names = ("up_weight", "up_bias", "down_weight", "down_bias")
            return dict(zip(names, values, strict=True))
        head, size = int(component.split("h")[1]), len(values[2]) // self._heads
        rows = slice(3 * size * head, 3 * size * (head + 1))
        return {
            "qkv_weight": values[0][rows],
            "qkv_bias": values[1][rows],
            "dense_weight": values[2][:, size * head : size * (head + 1)],
        }


def _parameters(component: str, names: list[str]) -> list[str]:
    """Parameters that devinterp draws noise for, in its order."""
    if component == "full":
        return names
    if component == "embed":
        return ["gpt_neox.embed_in.weight"]
    if component == "unembed":
        return ["lm_head.weight"]
    prefix = f"gpt_neox.layers.{component[1]}."
    if component.endswith("mlp"):
        return [n for n in names if n.startswith(prefix + "mlp.")]
    attention = [n for n in names if n.startswith(prefix + "attention.")]
    return [n for n in attention if not n.endswith("dense.bias")]


@pytest.fixture(scope="module")
def model() -> GPTNeoXForCausalLM:
    torch.manual_seed(1)
    config = GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    return GPTNeoXForCausalLM(config).eval()


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
