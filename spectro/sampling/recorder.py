"""Records ΔL, weights and traces of a chain, and stops it where its loss is not finite.

Draws come in blocks. Until a block is complete everything stays on the device; then ΔL of its
draws is taken in one pass and all numbers are fetched together.

Shapes: T draws of a component, S steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.components import FULL
from spectro.models.scoring import Scoring
from spectro.sampling.advance import StepInfo
from spectro.sampling.checkpoint import Checkpoint, joined
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.component_trace import ComponentRecord
from spectro.sampling.config import ChainConfig
from spectro.sampling.draws import DrawSource, StackedDraws, rounded, stack
from spectro.sampling.evaluate import Evaluated, evaluate
from spectro.sampling.mala import Mala
from spectro.sampling.observables import Observables
from spectro.sampling.pilot.importance_weights import importance_weights
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.reweighted import Sampler
from spectro.sampling.samplers import Blocks, ChainState

FloatArray = npt.NDArray[np.float64]
BLOCK_BYTES = 2**30
"""A block of draws is cut shorter rather than take more memory than this."""


class NonFiniteLossError(ValueError):
    """A chain's loss is not a number any more; its draws must not be used."""


class Recorder:
    """Collects one chain of a group."""

    def __init__(
        self,
        part: GroupModel[Any],
        sampler: Sampler,
        config: ChainConfig,
        evaluation_ids: Tensor,
        *,
        chain: int,
        pilot: Mapping[str, PosteriorMoments],
        scoring: Scoring | None,
        observables: Observables | None = None,
    ) -> None:
        self._observables = observables
        self._part, self._sampler, self._config = part, sampler, config
        self._evaluation_ids, self._scoring = evaluation_ids, scoring
        self._chain, self._pilot = chain, pilot
        self._found: dict[str, ComponentRecord] = {}

    def record_independent(
        self,
        source: DrawSource,
        names: list[str],
        on_block: Callable[[int, int], None] | None,
    ) -> None:
        """Take ΔL of independent draws, block by block, until each component has enough.

        Resumes where a snapshot was taken.
        """
        for name in names:
            self._found.setdefault(name, ComponentRecord(independent=True))
        size, taken = self._config.draws_per_block, max(map(self._num_draws, names))
        names = [n for n in names if self._num_draws(n) == taken and not self._enough(n)]
        for start in range(taken, self._config.num_draws if names else 0, size):
            block = slice(start, min(start + size, self._config.num_draws))
            self._evaluated(source, dict.fromkeys(names, block))
            names = [name for name in names if not self._enough(name)]
            if on_block is not None:
                on_block(block.stop, self._config.num_draws)
            if not names:
                break

    def record_step(self, name: str, moved: StepInfo, *, drawing: bool) -> None:
        """Keep what a step reported; `drawing` is True after burn-in."""
        found = self._found.setdefault(name, ComponentRecord(independent=False))
        found.step_loss.waiting.append(moved.loss)
        if drawing and moved.acceptance is not None:
            found.acceptance.waiting.append(moved.acceptance)

    def take_draws(
        self, states: Mapping[str, ChainState], step: int, sink: Callable[[str, int, Blocks], None]
    ) -> list[str]:
        """Take states as draws; evaluate and hand over complete blocks.

        Returns the components that need no more draws.
        """
        full = {}
        for name, state in states.items():
            found = self._found[name]
            found.pending.append(rounded(state.displacement, self._config.draw_dtype))
            found.draw_steps.append(step)
            if len(found.pending) == self._block_size(name) or self._is_last(found):
                full[name] = stack(found.pending)
                found.pending = []
        if not full:
            return []
        self._require_finite_steps(full)
        wanted = {name: slice(0, len(next(iter(d.values())))) for name, d in full.items()}
        self._evaluated(StackedDraws(draws=full), wanted)
        for name, draws in full.items():
            sink(name, len(self._found[name].delta_loss) - wanted[name].stop, draws)
        return [name for name in full if self._is_done(name)]

    @property
    def num_draws(self) -> int:
        """Draws of all components that ΔL was taken of."""
        return sum(len(found.delta_loss) for found in self._found.values())

    def snapshot(self) -> Checkpoint:
        """Everything recorded so far."""
        return joined({name: found.snapshot() for name, found in self._found.items()})

    def restore(self, snapshot: Checkpoint) -> None:
        """Resume from a snapshot."""
        self._found = {
            name: ComponentRecord.of(snapshot.part(name), self._part.weights(name))
            for name in snapshot.values
        }

    def finish(self) -> dict[str, ComponentChain]:
        """Everything that was collected, in the order of the group's components."""
        names = [name for name in self._part.names if name in self._found]
        return {name: self._component(self._found[name], name) for name in names}

    def _component(self, found: ComponentRecord, name: str) -> ComponentChain:
        steps = found.draw_steps
        for trace in (found.step_loss, found.acceptance):
            trace.fetch()
        accepted = found.acceptance.fetched
        return ComponentChain(
            independent=found.independent,
            delta_loss=np.array(found.delta_loss),
            weight=np.array(found.weight),
            reliability=found.halves.reliability(self._config.num_chains),
            steps_between_draws=steps[1] - steps[0] if len(steps) > 1 else 0,
            step_loss=found.step_loss.fetched,
            acceptance=float(accepted.mean()) if len(accepted) else math.nan,
            observables={q: np.array(phi) for q, phi in found.observables.items()},
        )

    def _evaluated(self, source: DrawSource, wanted: Mapping[str, slice]) -> None:
        """Record ΔL, weights and halves of the next draws."""
        of_draws = evaluate(self._part, source, wanted, self._evaluation_ids, self._scoring)
        for name, evaluated in of_draws.items():
            self._require_finite(name, evaluated.delta_loss, "the loss on the evaluation set")
        if self._observables is not None:
            self._observe(self._observables, source, wanted, of_draws)
        for name, evaluated in of_draws.items():
            found = self._found[name]
            first = len(found.delta_loss)
            weight_R = np.ones(len(evaluated.delta_loss))
            if found.independent and self._sampler.nbeta > 0:
                center = self._pilot[name].prior_delta_loss
                weight_R = importance_weights(evaluated.delta_loss, self._sampler.nbeta, center)
            half_R = self._half(found, first, len(weight_R))
            for half in range(2):
                found.halves.add(half, evaluated, weight_R * (half_R == half))
            found.delta_loss += evaluated.delta_loss.tolist()
            found.weight += weight_R.tolist()

    def _observe(
        self,
        observables: Observables,
        source: DrawSource,
        wanted: Mapping[str, slice],
        evaluated: Mapping[str, Evaluated],
    ) -> None:
        """Record further observables of the next draws."""
        found = observables.of_draws(self._part, source, wanted, evaluated, self._scoring)
        for name, of_component in found.items():
            for observable, phi_R in of_component.items():
                self._require_finite(name, phi_R, f"the observable {observable}")
                self._found[name].observables.setdefault(observable, []).extend(phi_R.tolist())

    def _num_draws(self, name: str) -> int:
        return len(self._found[name].delta_loss)

    def _half(self, found: ComponentRecord, first: int, count: int) -> npt.NDArray[np.intp]:
        """Half that each draw belongs to: alternating pairs, or blocks where draws correlate."""
        together = 2 if found.independent else self._config.draws_per_block
        return np.arange(first, first + count) // together % 2

    def _is_last(self, found: ComponentRecord) -> bool:
        return len(found.delta_loss) + len(found.pending) == self._config.num_draws

    def _is_done(self, name: str) -> bool:
        num_draws = self._num_draws(name)
        if num_draws == self._config.num_draws:
            return True
        return num_draws % self._config.draws_per_block == 0 and self._enough(name)

    def _enough(self, name: str) -> bool:
        target = self._config.target_reliability
        if target is None or name == FULL.name:  # by `two_chain` its noise enters all columns
            return False
        return self._found[name].halves.reliability(self._config.num_chains) >= target

    def _block_size(self, name: str) -> int:
        """Draws in one block: a divisor of `draws_per_block` that memory allows."""
        draw_bytes = sum(t.numel() * t.element_size() for t in self._part.weights(name).values())
        most = self._config.draws_per_block
        fitting = [n for n in range(2, most + 1) if most % n == 0 and n * draw_bytes <= BLOCK_BYTES]
        return max(fitting, default=1)

    def _require_finite_steps(self, names: Iterable[str]) -> None:
        for name in names:
            trace = self._found[name].step_loss
            first, new = len(trace.fetched), trace.fetch()
            bad = ~np.isfinite(new)
            if isinstance(self._sampler, Mala) and first == 0:
                started = np.cumsum(~np.isposinf(new)) > 0  # before, its start is not accepted yet
                bad[:-1] &= started[:-1]
            if bad.any():
                step = int(np.flatnonzero(bad)[0])
                raise NonFiniteLossError(
                    f"component {name}, chain {self._chain}, step {first + step}: the loss is "
                    f"{new[step]}; {_REMEDY}"
                )

    def _require_finite(self, name: str, value_R: FloatArray, what: str) -> None:
        """Refuse numbers of the next draws that are not finite."""
        bad = np.flatnonzero(~np.isfinite(value_R))
        if len(bad):
            remedy = _REMEDY_ALONE if self._found[name].independent else _REMEDY
            raise NonFiniteLossError(
                f"component {name}, chain {self._chain}, draw {self._num_draws(name) + bad[0]}: "
                f"{what} is {value_R[bad[0]]}; {remedy}"
            )


_REMEDY = (
    "the chain was stopped and nothing of it is kept. Raise sampler.gamma, or lower sampler.nbeta "
    "or, where the sampler has one, sampler.step_size"
)
_REMEDY_ALONE = (
    "nothing of the chain is kept. Its draws are independent ones of N(w*, 1/gamma), so gamma is "
    "too small for this component: raise sampler.gamma"
)
