"""`spectro calibrate` in this process: pilot, scaling law, choice of a split."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spectro.calibrate.choose import Split
from spectro.calibrate.setting import Setting, best_setting
from spectro.config import PipelineConfig
from spectro.planning.calibration.config import CalibrateConfig
from spectro.planning.calibration.cost import CostModel, sampler_of, with_split
from spectro.planning.calibration.pilot import Pilot
from spectro.planning.device_costs import Device
from spectro.planning.rates import Rates
from spectro.work.threads import own_threads, use_threads


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was found and chosen."""

    settings: tuple[Setting, ...]
    """Every γ and nβ."""
    chosen: Setting
    """The one that is taken."""
    is_decided: bool
    """Whether it leads the other settings beyond the error."""
    config: PipelineConfig
    """Of the run that is proposed."""
    device: Device
    """What its cost is counted on."""
    budget_seconds: float
    """Of one such device."""
    splits: tuple[Split, ...]
    """What the budget pays at the chosen setting."""
    num_tokens: int
    """Of the pilot."""
    pilot_seconds: float
    """What the pilot took."""


def calibrate(
    config: PipelineConfig,
    settings: CalibrateConfig,
    rates: Rates | None,
    on_step: Callable[[str], None] = lambda what: None,
) -> Calibration:
    """Measure a pilot, fit, choose.

    Args:
        config: of the run: model, tokens, components, its own γ and nβ.
        settings: what is asked for.
        rates: of the device of a budget in GPU-hours; None: what the pilot takes here.
        on_step: called with what begins.

    Raises ValueError, in one line: nothing fits into the budget, every γ destroys the model, every
    nβ needs chains, the pilot is too small.
    """
    start = time.perf_counter()
    use_threads(own_threads(config.run))
    pilot = Pilot.of(config, settings)
    findings = [pilot.at_gamma(gamma, on_step) for gamma in sorted(set(settings.gammas))]
    whole = [found for found in findings if found.responses is not None]
    if not whole:
        worst = max(findings, key=lambda found: found.gamma)
        raise ValueError(
            f"every gamma of calibrate.gammas destroys the model: at {worst.gamma:g} the draws of "
            f"{worst.damaged} lose {worst.damage:.0%} of what it has learnt; try larger ones"
        )
    on_step("rates")
    costs = CostModel(config=config, size=pilot.size, device=pilot.device(rates, whole))
    judged = [
        pilot.setting(found, nbeta, costs)
        for found in findings
        for nbeta in sorted(set(settings.nbetas))
    ]
    _require_choice(judged, settings)
    chosen, is_decided = best_setting(judged, (config.sampler.gamma, config.sampler.nbeta))
    assert chosen.choice is not None
    best = chosen.choice.best
    sampler = sampler_of(config, chosen.gamma, chosen.nbeta)
    proposed = with_split(config, sampler, best.num_sequences, best.num_draws)
    if settings.budget_minutes is not None:
        on_step("text")
        pilot.require_text(proposed)
    return Calibration(
        settings=tuple(judged),
        chosen=chosen,
        is_decided=is_decided,
        config=proposed,
        device=costs.device,
        budget_seconds=settings.budget_seconds,
        splits=tuple(pilot.splits(chosen, costs)),
        num_tokens=pilot.num_tokens,
        pilot_seconds=time.perf_counter() - start,
    )


def _require_choice(judged: Sequence[Setting], settings: CalibrateConfig) -> None:
    """ValueError, in one line, that says why no setting has a choice."""
    if any(setting.choice is not None for setting in judged):
        return
    measured = [s for s in judged if s.cells]
    if not measured:
        least = max((s for s in judged if s.chained), key=lambda s: s.effective_fraction)
        raise ValueError(
            f"every nbeta of calibrate.nbetas needs chains (at gamma {least.gamma:g}, nbeta "
            f"{least.nbeta:g} the effective fraction is {least.effective_fraction:.2f}): add nbeta "
            "0, raise gamma, or lower sampler.min_effective_fraction"
        )
    if all(s.law is None for s in measured):
        raise ValueError(
            f"a pilot of {settings.num_tokens} tokens with {settings.num_draws} draws is too small "
            "for a law: too few of its cells share more neighbours than chance; raise "
            "calibrate.num_draws or calibrate.num_tokens"
        )
    raise ValueError(
        f"a budget of {settings.budget_seconds:g} seconds pays fewer than {settings.min_tokens} "
        f"tokens with {settings.min_draws} draws each: raise the budget, or lower "
        "calibrate.min_tokens"
    )
