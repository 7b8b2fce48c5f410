"""Δℓ of a pilot's tokens along every draw, and χ from any of the draws at any nβ.

A run keeps sums over draws; a pilot keeps every draw's Δℓ, so that disjoint sets of draws of any
size, and every nβ by its weights ω = exp(−nβ ΔL), come from the same forward passes.

Shapes: H components, R draws (2k and 2k+1 are an antithetic pair), N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.scoring import Scoring
from spectro.sampling.draws import GaussianDraws
from spectro.sampling.evaluate import evaluate
from spectro.sampling.keys import Randomness
from spectro.sampling.pilot.importance_weights import importance_weights

PILOT_CHAIN = -2
"""Chain number of these draws: no run measures with them."""
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Responses:
    """What a pilot measured at one γ."""

    gamma: float
    """γ."""
    components: tuple[str, ...]
    """Names, [H]."""
    delta_HRN: Float32
    """Δℓ of every token along every draw, nats."""
    delta_loss_HR: Float64
    """ΔL of every draw on the evaluation set, nats."""

    def __post_init__(self) -> None:
        num_components, num_draws, _ = self.delta_HRN.shape
        if num_draws % 2 or self.delta_loss_HR.shape != (num_components, num_draws):
            raise ValueError(
                f"responses need whole antithetic pairs with a ΔL each, found {num_draws} draws of "
                f"{num_components} components and ΔL of shape {self.delta_loss_HR.shape}"
            )

    @property
    def num_draws(self) -> int:
        """R."""
        return int(self.delta_HRN.shape[1])

    @property
    def num_tokens(self) -> int:
        """N."""
        return int(self.delta_HRN.shape[2])

    def chi(self, draws: Sequence[int], nbeta: float, num_tokens: int) -> Float32:
        """Restricted χ of the first tokens, −E_ω[ΔL (Δℓ − ΔL)] over some draws, nats², [N, H]."""
        chosen = list(draws)
        chi_NH = np.empty((num_tokens, len(self.components)), np.float32)
        for column, loss_R in enumerate(self.delta_loss_HR):
            loss = loss_R[chosen]
            weight = importance_weights(loss, nbeta, float(loss_R.mean()))
            weight *= loss / weight.sum()
            delta_RN = self.delta_HRN[column, chosen, :num_tokens]
            chi_NH[:, column] = float(weight @ loss) - weight @ delta_RN
        return chi_NH


def measure_responses(
    parts: Iterable[GroupModel[Any]],
    gamma: float,
    num_draws: int,
    probe_ids: Tensor,
    evaluation_ids: Tensor,
    randomness: Randomness,
    scoring: Scoring,
    on_group: Callable[[], None] | None = None,
) -> Responses:
    """Forward passes of a pilot: every component's draws on probe and evaluation tokens.

    Args:
        parts: groups of components.
        gamma: γ of the Gaussian draws.
        num_draws: R, even.
        probe_ids: int64 [S, T+1], the tokens of the pilot.
        evaluation_ids: int64 [E, T+1], on which ΔL is taken.
        randomness: where noise comes from; the same noise for every γ.
        scoring: how losses are computed.
        on_group: called after each group.
    """
    names: list[str] = []
    delta, delta_loss = [], []
    for part in parts:
        source = GaussianDraws(
            weights={name: part.weights(name) for name in part.names},
            gamma=gamma,
            antithetic=True,
            chain=PILOT_CHAIN,
            randomness=randomness,
        )
        wanted = dict.fromkeys(part.names, slice(0, num_draws))
        on_probe = evaluate(part, source, wanted, probe_ids, scoring)
        on_evaluation = evaluate(part, source, wanted, evaluation_ids, scoring)
        for name in part.names:
            names.append(name)
            delta.append(on_probe[name].delta_RN.numpy().astype(np.float32))
            delta_loss.append(on_evaluation[name].delta_loss)
        if on_group is not None:
            on_group()
    return Responses(
        gamma=gamma,
        components=tuple(names),
        delta_HRN=np.stack(delta),
        delta_loss_HR=np.stack(delta_loss),
    )


def losses_of_draws(
    parts: Iterable[GroupModel[Any]],
    gamma: float,
    num_draws: int,
    evaluation_ids: Tensor,
    randomness: Randomness,
    scoring: Scoring,
) -> tuple[Float64, list[str]]:
    """ΔL of P independent draws of every component, nats, [H, P], and the components' names.

    Draws that are not in pairs: ΔL is mostly even in a draw, so a pair is one draw of it.
    """
    names, delta_loss = [], []
    for part in parts:
        source = GaussianDraws(
            weights={name: part.weights(name) for name in part.names},
            gamma=gamma,
            antithetic=False,
            chain=PILOT_CHAIN,
            randomness=randomness,
        )
        wanted = dict.fromkeys(part.names, slice(0, num_draws))
        found = evaluate(part, source, wanted, evaluation_ids, scoring)
        names += list(part.names)
        delta_loss += [found[name].delta_loss for name in part.names]
    return np.stack(delta_loss), names
