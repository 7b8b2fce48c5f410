"""Observables of draws against the model's own forward passes; what a user's function may do."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import spectro
from spectro.models.architecture import displaced_params
from spectro.models.components import FULL
from spectro.models.engine import engine_of
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.sampling import observables
from spectro.sampling.config import ObservableConfig, require_observable_names
from spectro.sampling.draws import gaussian_draws
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.reweighted import Reweighted

VOCAB, CONTEXT, NUM_DRAWS, NUM_CHAINS = 53, 12, 6, 3
SAMPLER = Reweighted(gamma=1000.0, nbeta=20.0, min_effective_fraction=0.125)
HERE = "tests.sampling.test_observables"


def target_rank(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    """Of every token: how many logits are above the target's."""
    return (logits_nTV > logits_nTV.gather(-1, targets_nT[..., None])).sum(-1)


def loss(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    """Of every token."""
    return cross_entropy(logits_nTV.mT, targets_nT, reduction="none")


def worst_loss(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    """One number of the batch, which is no mean of its sequences'."""
    return loss(logits_nTV, targets_nT).max()


CHOSEN = {
    "token": ObservableConfig(tokens=(29,), split="probe"),
    "sequences": ObservableConfig(sequences=(5, 0)),
    "everything": ObservableConfig(),
    "loss_again": ObservableConfig(tokens=(29,), split="probe", function=f"{HERE}:loss"),
    "rank": ObservableConfig(tokens=(29, 3), split="probe", function=f"{HERE}:target_rank"),
    "worst": ObservableConfig(sequences=(1, 4), function=f"{HERE}:worst_loss"),
    "other_loss": ObservableConfig(sequences=(1, 4), function=f"{HERE}:loss"),
}


@pytest.fixture(scope="module")
def model() -> GPTNeoXForCausalLM:
    torch.manual_seed(1)
    config = GPTNeoXConfig(
        vocab_size=VOCAB, hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    return GPTNeoXForCausalLM(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def ids() -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(7)
    sizes = {"sampling": 8, "evaluation": 6, "probe": 5}
    return {
        n: torch.randint(0, VOCAB, (s, CONTEXT + 1), generator=stream) for n, s in sizes.items()
    }


def measured(
    model: GPTNeoXForCausalLM, ids: dict[str, Tensor], chosen: dict[str, ObservableConfig]
) -> spectro.Result:
    return spectro.susceptibilities(
        model, ids["sampling"], ids["probe"], sampler=SAMPLER, evaluation_ids=ids["evaluation"],
        components=["l0h1", "unembed"], num_chains=NUM_CHAINS, num_draws=NUM_DRAWS,
        scoring=spectro.ScoringConfig(shortlist_size=0), observables=chosen, seed=3,
    )  # fmt: skip


def traces(
    model: GPTNeoXForCausalLM, ids: dict[str, Tensor], name: str
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Observables [C·T], losses of the probe tokens [C·T, N] and weights [C·T] of all draws, by
    whole forward passes in float64."""
    engine = engine_of(model)
    exact = GPTNeoXForCausalLM(model.config).eval().double().requires_grad_(False)
    exact.load_state_dict(model.state_dict())
    component = next(c for c in (*engine.shape.components, FULL) if c.name == name)
    table = engine.blocks(component)
    center = {block: engine.params[own.parameter][own.index] for block, own in table.items()}
    params = {n: p.double() for n, p in engine.params.items()}
    phi: dict[str, list[float]] = {q: [] for q in CHOSEN}
    probe, mean_loss = [], []
    for chain in range(NUM_CHAINS):
        source = gaussian_draws({name: center}, SAMPLER, chain, KeyedRandomness(seed=3))
        delta = source.read(name, slice(0, NUM_DRAWS))
        for draw in range(NUM_DRAWS):
            moved = {b: (own + delta[b][draw]).double() for b, own in center.items()}
            weights = displaced_params(params, table, moved)
            logits = {
                n: functional_call(exact, weights, (i[:, :-1],)).logits for n, i in ids.items()
            }
            losses = {n: loss(own, ids[n][:, 1:]).flatten() for n, own in logits.items()}
            chosen = [logits["evaluation"][[1, 4]], ids["evaluation"][[1, 4], 1:]]
            rank = target_rank(logits["probe"], ids["probe"][:, 1:]).flatten().double()
            for q, value in {
                "token": losses["probe"][29],
                "sequences": losses["evaluation"].view(6, CONTEXT)[[0, 5]].mean(),
                "everything": losses["evaluation"].mean(),
                "loss_again": losses["probe"][29],
                "rank": rank[[3, 29]].mean(),
                "worst": worst_loss(*chosen),
                "other_loss": loss(*chosen).mean(),
            }.items():
                phi[q].append(float(value))
            probe.append(losses["probe"].detach().numpy())
            mean_loss.append(float(losses["evaluation"].mean()))
    clean = loss(exact(ids["evaluation"][:, :-1]).logits, ids["evaluation"][:, 1:]).mean()
    weight = np.exp(-SAMPLER.nbeta * (np.array(mean_loss) - float(clean)))
    return {q: np.array(own) for q, own in phi.items()}, np.array(probe), weight


def minus_cov(phi: np.ndarray, losses: np.ndarray, weight: np.ndarray) -> np.ndarray:
    centred = losses - np.average(losses, axis=0, weights=weight)
    return -np.average(
        centred * (phi - np.average(phi, weights=weight))[:, None], axis=0, weights=weight
    )


@pytest.mark.parametrize("name", ["l0h1", "unembed", "full"])
def test_influence_is_the_weighted_covariance_of_whole_forward_passes(
    model: GPTNeoXForCausalLM, ids: dict[str, Tensor], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of observable; the error is the spread of what is left without one chain."""
    monkeypatch.setattr(observables, "LOGITS_BYTES", 1)  # a sequence at a time
    result = measured(model, ids, CHOSEN)
    phi, losses, weight = traces(model, ids, name)
    of_chain = np.repeat(np.arange(NUM_CHAINS), NUM_DRAWS)
    for q in CHOSEN:
        expected = minus_cov(phi[q], losses, weight)
        without = [
            minus_cov(phi[q][kept], losses[kept], weight[kept])
            for kept in (of_chain != chain for chain in range(NUM_CHAINS))
        ]
        error = np.sqrt((NUM_CHAINS - 1) * np.var(without, axis=0))
        if name == "full":
            values = (
                result.columns[f"full_influence_{q}"],
                result.columns[f"full_influence_{q}_error"],
            )
        else:
            place = result.components.index(name)
            values = (
                result.influence(q)[..., place],
                result.columns[f"influence_{q}_error"][..., place],
            )
        for found, truth in zip(values, (expected, error), strict=True):
            assert np.abs(found.ravel() - truth).max() < 2e-4 * np.abs(truth).max(), q


def shape_of_one(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    return logits_nTV.mean((1, 2))


def number(logits_nTV: Tensor, targets_nT: Tensor) -> float:
    return 1.0


def spoils(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    logits_nTV -= 1
    return loss(logits_nTV, targets_nT)


def raises(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    raise RuntimeError("two\nlines")


def not_finite(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    return loss(logits_nTV, targets_nT).log1p() / 0


def one_shape_or_another(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    return loss(logits_nTV, targets_nT) if len(targets_nT) == 1 else logits_nTV.mean()


def complex_numbers(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    return loss(logits_nTV, targets_nT) * 1j


def not_finite_elsewhere(logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    """Finite at w* alone, whose logits come first."""
    CLEAN.append(logits_nTV.clone())
    return torch.tensor(0.0 if torch.equal(CLEAN[0], logits_nTV) else torch.inf)


CLEAN: list[Tensor] = []
REFUSED: list[tuple[dict[str, object], str]] = [
    ({"tokens": (72,)}, "q: tokens has 72, but the evaluation set has tokens 0 to 71: 6 sequences"),
    ({"sequences": (5,), "split": "probe"}, "q: sequences has 5, but the probe set has sequences"),
    ({"subset": "code"}, "q: subset 'code' has no sequence in the evaluation set"),
    ({"function": "no_such_module:f"}, "q: function 'no_such_module:f' cannot be imported: Module"),
    ({"function": f"{HERE}:nothing"}, "expected a function 'nothing' in 'tests.sampling.test_obs"),
    ({"function": f"{HERE}:VOCAB"}, "expected a function 'VOCAB' in 'tests.sampling.test_observab"),
    ({"function": f"{HERE}:shape_of_one"}, "q: the function must return a tensor with one value f"),
    ({"function": f"{HERE}:number"}, "or one for the batch, shape (); found <class 'float'>"),
    ({"function": f"{HERE}:spoils"}, "q: the function changed its arguments in place"),
    ({"function": f"{HERE}:raises"}, "q: the function raised RuntimeError: two lines"),
    ({"function": f"{HERE}:not_finite"}, "q: the function is inf at the model's own weights"),
    ({"function": f"{HERE}:one_shape_or_another"}, "q: the function returned one value for some"),
    ({"function": f"{HERE}:complex_numbers"}, "q: the function must return real numbers, found"),
    ({"function": f"{HERE}:worst_loss", "tokens": (1,)}, "q: tokens were chosen, but the function"),
    (
        {"function": f"{HERE}:not_finite_elsewhere", "sequences": (0,)},
        "chain 0, draw 0: the observable q is inf",
    ),
]


@pytest.mark.parametrize(("wanted", "message"), REFUSED)
def test_what_cannot_be_observed_is_refused_in_one_line(
    model: GPTNeoXForCausalLM, ids: dict[str, Tensor], wanted: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        measured(model, ids, {"q": ObservableConfig(**wanted)})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"tokens": (1,), "subset": "code"}, "give tokens or subset, not both"),
        ({"split": "probe"}, "split probe needs tokens or sequences by number"),
        ({"split": "probe", "subset": "code"}, "split probe needs tokens or sequences by number"),
        ({"tokens": (-1,)}, "tokens must be whole numbers from 0 on"),
        ({"tokens": (True,)}, "tokens must be whole numbers from 0 on"),
        ({"sequences": (1, 1)}, "sequences must name each once"),
        ({"function": "module.f"}, "function must be an import path, package.module:function"),
    ],
)
def test_impossible_choices_are_refused(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObservableConfig(**wanted)


@pytest.mark.parametrize("name", ["", "Loss", "1st", "my-query", "a b", "query_error"])
def test_names_that_no_column_can_have(name: str) -> None:
    with pytest.raises(ValueError, match=r"observables: a name must be lower-case"):
        require_observable_names({name: ObservableConfig()})


def test_passes_are_shared(
    model: GPTNeoXForCausalLM, ids: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten functions of the same sequences take as many passes as one; evaluated losses none."""
    counted: list[int] = []
    real: Callable[..., Tensor] = GPTNeoX.logits

    def logits(self: GPTNeoX, ids_BT: Tensor) -> Tensor:
        counted.append(len(ids_BT))
        return real(self, ids_BT)

    monkeypatch.setattr(GPTNeoX, "logits", logits)
    one = {"a": ObservableConfig(sequences=(1, 4), function=f"{HERE}:worst_loss")}
    ten = {f"a{k}": own for k in range(10) for own in one.values()}
    measured(model, ids, {"b": ObservableConfig(tokens=(5,))})
    without = counted.copy()
    counted.clear()
    measured(model, ids, one)
    with_one = counted.copy()
    counted.clear()
    measured(model, ids, ten)
    assert counted == with_one
    # one sequence and all at w*; then once a draw: two components and all weights
    assert len(with_one) == len(without) + 2 + 3 * NUM_CHAINS * NUM_DRAWS
