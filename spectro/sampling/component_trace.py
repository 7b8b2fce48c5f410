"""ΔL, weights and traces of one component while its chain runs.

Numbers of single steps stay on the device until they are asked for, so that no step waits for
one; each is fetched once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.sampling.checkpoint import Checkpoint
from spectro.sampling.draws import stack
from spectro.sampling.evaluate import HalvesOfColumn
from spectro.sampling.samplers import Blocks

FloatArray = npt.NDArray[np.float64]
NO_NUMBERS: FloatArray = np.zeros(0)


def numbers(tensors: Sequence[Tensor]) -> FloatArray:
    """Scalars on a device as one array, fetched together."""
    return torch.stack(list(tensors)).double().cpu().numpy() if tensors else NO_NUMBERS


@dataclass
class Trace:
    """A growing row of scalars on a device."""

    fetched: FloatArray = field(default_factory=lambda: NO_NUMBERS)
    """Those that are on the host."""
    waiting: list[Tensor] = field(default_factory=list)
    """Those that are not."""

    def fetch(self) -> FloatArray:
        """Fetch what waits; returns what was new."""
        new = numbers(self.waiting)
        self.fetched, self.waiting = np.concatenate([self.fetched, new]), []
        return new


@dataclass(kw_only=True)
class ComponentRecord:
    """One component of one chain."""

    independent: bool
    """Whether its draws are independent."""
    delta_loss: list[float] = field(default_factory=list)
    """ΔL of its draws, nats."""
    weight: list[float] = field(default_factory=list)
    """ω of its draws."""
    step_loss: Trace = field(default_factory=Trace)
    """L at each step, nats; see `ComponentChain.step_loss`."""
    acceptance: Trace = field(default_factory=Trace)
    """Acceptance probability of each Metropolis step after burn-in."""
    pending: list[Blocks] = field(default_factory=list)
    """Draws that wait for their block to be complete."""
    draw_steps: list[int] = field(default_factory=list)
    """Steps after which draws were taken."""
    halves: HalvesOfColumn = field(default_factory=HalvesOfColumn)
    """What its column looks like on the evaluation tokens."""
    observables: dict[str, list[float]] = field(default_factory=dict)
    """Further observable → its value at every draw."""

    def snapshot(self) -> Checkpoint:
        """All of it."""
        self.step_loss.fetch()
        self.acceptance.fetch()
        arrays = {
            "delta_loss": np.array(self.delta_loss, dtype=np.float64),
            "weight": np.array(self.weight, dtype=np.float64),
            "step_loss": self.step_loss.fetched,
            "acceptance": self.acceptance.fetched,
            "half0": self.halves.sums[0],
            "half1": self.halves.sums[1],
        }
        arrays |= {f"observed/{name}": np.array(phi) for name, phi in self.observables.items()}
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        pending = stack(self.pending) if self.pending else {}
        return Checkpoint(
            tensors=tensors | {f"pending/{block}": tensor for block, tensor in pending.items()},
            values={
                "independent": self.independent,
                "draw_steps": list(self.draw_steps),
                "half_weights": list(self.halves.weight),
                "pending": list(pending),
            },
        )

    @classmethod
    def of(cls, snapshot: Checkpoint, like: Mapping[str, Tensor]) -> ComponentRecord:
        """Restore a snapshot; `like` are the component's weights, for their device."""
        found, values = snapshot.tensors, snapshot.values
        pending = {b: found[f"pending/{b}"].to(like[b].device) for b in values["pending"]}
        count = len(next(iter(pending.values()))) if pending else 0
        return cls(
            independent=values["independent"],
            delta_loss=_array(found["delta_loss"]).tolist(),
            weight=_array(found["weight"]).tolist(),
            step_loss=Trace(_array(found["step_loss"])),
            acceptance=Trace(_array(found["acceptance"])),
            pending=[{b: tensor[i] for b, tensor in pending.items()} for i in range(count)],
            draw_steps=list(values["draw_steps"]),
            halves=HalvesOfColumn(
                sums=[_array(found["half0"]), _array(found["half1"])],
                weight=list(values["half_weights"]),
            ),
            observables={
                name.removeprefix("observed/"): _array(tensor).tolist()
                for name, tensor in found.items()
                if name.startswith("observed/")
            },
        )


def _array(tensor: Tensor) -> FloatArray:
    return np.array(tensor.cpu().numpy(), dtype=np.float64)
