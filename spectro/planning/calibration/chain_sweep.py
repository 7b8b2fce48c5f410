"""Short chains in every cell of ε × nβ × γ, with a verdict from their traces."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from spectro.analysis.chain_diagnosis import Diagnosis, diagnose
from spectro.analysis.chain_traces import Settings, traces_of
from spectro.analysis.chain_verdict import Verdict
from spectro.config import PipelineConfig
from spectro.measure.sampled_groups import groups_of
from spectro.models.components import Group
from spectro.planning.calibration.pilot import Pilot
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.recorder import NonFiniteLossError
from spectro.sampling.samplers import Exponential, Psgld, Sgld

Stepped = Exponential | Psgld | Sgld
NOT_OF_THE_STEP = (Verdict.TOO_SHORT, Verdict.LITTLE_SIGNAL, Verdict.BIAS_UNKNOWN)
"""What short chains cannot help: no reason against a step."""


@dataclass(frozen=True, kw_only=True)
class ChainCell:
    """One ε, nβ and γ."""

    sampler: Stepped
    """With its ε, nβ and γ."""
    verdicts: dict[str, Verdict]
    """Component → verdict; the one of components that left the finite region is NOT_FINITE."""
    change: str
    """What the worst component's verdict would change."""
    effective_per_gradient: float
    """Least of a component: independent draws that a gradient is worth; 0 where one failed."""
    bias_deviations: float
    """Largest known |bias| of E[ΔL], in posterior deviations; NaN where none is known."""

    @property
    def name(self) -> str:
        """As messages have it."""
        one = self.sampler
        return f"step size {one.step_size:g}, nbeta {one.nbeta:g}, gamma {one.gamma:g}"

    @property
    def worst(self) -> tuple[str, Verdict]:
        """The component with the worst verdict."""
        order = list(Verdict)
        return min(self.verdicts.items(), key=lambda item: order.index(item[1]))

    @property
    def num_wrong(self) -> int:
        """Components with a verdict against the cell."""
        return sum(not (v.is_good or v in NOT_OF_THE_STEP) for v in self.verdicts.values())


def best_cell(cells: list[ChainCell]) -> ChainCell:
    """The cell of fewest components that speak against it, then of most draws per gradient."""
    return min(cells, key=lambda cell: (cell.num_wrong, -cell.effective_per_gradient))


def sweep(pilot: Pilot, on_step: Callable[[str], None]) -> list[ChainCell]:
    """Chains as `chain.*` says, in every cell.

    Raises ValueError, in one line, where the sampler has no step or no cell is possible.
    """
    sampler, settings = pilot.config.sampler, pilot.settings
    if not isinstance(sampler, Exponential | Psgld | Sgld):
        raise ValueError(
            "calibrate.step_sizes needs a sampler with a step, sampler=psgld, sgld or "
            f"exponential, found {type(sampler).__name__.lower()}, whose draws have no such bias"
        )
    found, impossible = [], ""
    for gamma, nbeta, step in product(settings.gammas, settings.nbetas, settings.step_sizes):
        name = f"step size {step:g}, nbeta {nbeta:g}, gamma {gamma:g}"
        try:
            one = dataclasses.replace(sampler, step_size=step, nbeta=nbeta, gamma=gamma)
        except ValueError as error:
            impossible = f"{name}: {error}"
            on_step(f"left out: {impossible}")
            continue
        on_step(name)
        found.append(_cell(pilot, dataclasses.replace(pilot.config, sampler=one)))
    if not found:
        raise ValueError(f"no cell of calibrate.step_sizes is possible; {impossible}")
    return found


def _cell(pilot: Pilot, config: PipelineConfig) -> ChainCell:
    sampler = config.sampler
    assert isinstance(sampler, Exponential | Psgld | Sgld)
    diagnoses: list[Diagnosis] = []
    failed: dict[str, Verdict] = {}
    rates = [math.inf]
    for group in groups_of(config, pilot.size):
        try:
            own, per_gradient = _group(pilot, config, group)
        except NonFiniteLossError:
            failed |= {c.name: Verdict.NOT_FINITE for c in group.components}
            rates.append(0.0)
        else:
            diagnoses += own
            rates += per_gradient
    biases = [abs(d.traces.bias.deviations) for d in diagnoses if d.traces.bias is not None]
    order = list(Verdict)
    worst = min(diagnoses, key=lambda d: order.index(d.verdict), default=None)
    return ChainCell(
        sampler=sampler,
        verdicts={d.traces.name: d.verdict for d in diagnoses} | failed,
        change="lower sampler.step_size" if failed or worst is None else worst.change,
        effective_per_gradient=min(rates),
        bias_deviations=max(biases, default=math.nan),
    )


def _group(
    pilot: Pilot, config: PipelineConfig, group: Group
) -> tuple[list[Diagnosis], list[float]]:
    """Diagnoses of a group's components, and effective draws per gradient of each."""
    chain = config.chain
    exact = pilot.measured.pilot(group, config)
    results = pilot.measured.chains(group, config, exact).run(range(chain.num_chains))
    recorded = Settings(
        num_draws=chain.num_draws,
        num_burnin_steps=chain.num_burnin_steps,
        gamma=config.sampler.gamma,
        nbeta=config.sampler.nbeta,
        step_size=getattr(config.sampler, "step_size", math.nan),
    )
    diagnoses, per_gradient = [], []
    for name in exact:
        own: dict[int, ComponentChain] = {c: r.components[name] for c, r in results.items()}
        traces = traces_of(name, own, exact.get(name), {})
        diagnoses.append(diagnose(traces, recorded))
        num_steps = sum(found.step_loss.size for found in own.values())
        per_gradient.append(traces.effective_sample_size / max(1, num_steps))
    return diagnoses, per_gradient
