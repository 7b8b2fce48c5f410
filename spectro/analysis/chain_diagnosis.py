"""Convergence diagnostics: verdicts on a component's chains, with evidence and remedy.

All rules that apply are reported; the verdict is the worst, in the order of `Verdict`. Thresholds
are here, except those of sampler bias (`sampling/pilot/sampler_bias.py`). A rule with a p-value
also requires an effect size: with many draws everything is significant, with few an R̂ of 1.2 is
chance.

Shapes: K lags.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from spectro.analysis import chain_traces as stats
from spectro.analysis.chain_traces import ComponentTraces, FloatArray, Settings
from spectro.analysis.chain_verdict import Finding, Verdict
from spectro.sampling.pilot.damage import DAMAGED
from spectro.sampling.reweighted import MIN_EFFECTIVE_FRACTION

P_VALUE = 1e-4
"""p-value of a rule that tests: 410 components give a false alarm per rule in 25 runs."""
RHAT = 1.1
"""R̂ of chains that disagree (Gelman & Rubin 1992; Brooks & Gelman 1998 have 1.1 to 1.2)."""
UNSETTLED_RHAT = 1.5
"""R̂ above which chains are not called level, even if not significant."""
SHIFT = 1.0
"""Least drift, in standard deviations of the draws (ours: half of it biases E[φ] as much)."""
SPIKE = 15.0
"""Robust deviations from the median: beyond the skew of ΔL of few weights (ours)."""
MIN_EFFECTIVE_SHARE = 0.2
"""Least ESS per draw (ours)."""
MIN_EFFECTIVE = 4.0
"""Least ESS of independent draws."""
ROUNDING = 1e-6
"""ΔL, nats, within the rounding of float32 losses."""
MIN_RELIABILITY = 0.5
"""Reliability of the whole column below which noise exceeds signal."""
MIN_MEAN = 3.0
"""E[ΔL] in Monte-Carlo errors below which the component hardly moved, or ΔL is noise (ours)."""
WANTED_RELIABILITY = 0.8
"""Target of a remedy."""
NUM_LAGS = 20
"""Lags of the reported autocorrelation."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Diagnosis of one component."""

    traces: ComponentTraces
    findings: tuple[Finding, ...]
    """Every rule that applies, worst first."""
    rhat: float
    """R̂ of ΔL over chains; NaN with one chain."""
    autocorrelation: FloatArray
    """ρ_0 … of stepped chains, [K]; empty for independent draws."""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        if self.findings:
            return self.findings[0].verdict
        return Verdict.INDEPENDENT if self.traces.independent else Verdict.LEVELS

    @property
    def change(self) -> str:
        """Remedy of the worst finding, or empty."""
        return self.findings[0].change if self.findings else ""


def diagnose(traces: ComponentTraces, settings: Settings) -> Diagnosis:
    """Diagnose the chains of one component."""
    finite = all(np.isfinite(trace).all() for trace in traces.delta_loss)
    stepped = finite and not traces.independent
    rules = [_not_finite] if not finite else _OF_DRAWS if traces.independent else _OF_CHAINS
    findings = [found for rule in rules if (found := rule(traces, settings)) is not None]
    order = list(Verdict)
    return Diagnosis(
        traces=traces,
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.verdict))),
        rhat=stats.rhat(traces.delta_loss) if finite else math.nan,
        autocorrelation=stats.autocorrelation(traces.delta_loss, NUM_LAGS)
        if stepped
        else np.empty(0),
    )


def _step(verb: str, settings: Settings, then: str) -> str:
    """Phrase such as `lower sampler.step_size (0.001)`; empty without a step."""
    if math.isnan(settings.step_size):
        return ""
    return f"{verb} sampler.step_size ({settings.step_size:g}){then}"


def _not_finite(traces: ComponentTraces, settings: Settings) -> Finding | None:
    bad = [
        (chain, int(np.flatnonzero(~np.isfinite(trace))[0]))
        for chain, trace in zip(traces.chains, traces.delta_loss, strict=True)
        if not np.isfinite(trace).all()
    ]
    return Finding(
        verdict=Verdict.NOT_FINITE,
        evidence=f"chain {bad[0][0]}, draw {bad[0][1]}",
        change=f"{_step('lower', settings, ' or ')}lower sampler.nbeta "
        f"({settings.nbeta:g}), or raise sampler.gamma ({settings.gamma:g})",
    )


def _stuck(traces: ComponentTraces, settings: Settings) -> Finding | None:
    still = [
        chain
        for chain, trace in zip(traces.chains, traces.delta_loss, strict=True)
        if len(trace) >= (stats.LEAST_DRAWS if traces.corrected else 2) and np.ptp(trace) == 0
    ]
    if not still:
        return None
    step = "" if traces.independent else _step("raise", settings, "; ")
    return Finding(
        verdict=Verdict.STUCK,
        evidence=f"ΔL of chain {still[0]} is the same at every draw",
        change=f"{step}does the component do anything? If not, leave it out (components)",
    )


def _spikes(traces: ComponentTraces, settings: Settings) -> Finding | None:
    found = stats.spikes(traces.delta_loss, SPIKE)
    if not found:
        return None
    chain, draw = found[0]
    return Finding(
        verdict=Verdict.SPIKES,
        evidence=f"{len(found)} of {traces.num_draws} draws, the first is draw {draw} of chain "
        f"{traces.chains[chain]}",
        change=f"{'' if traces.independent else _step('lower', settings, ', or ')}"
        f"raise sampler.gamma ({settings.gamma:g})",
    )


def _disagree(traces: ComponentTraces, settings: Settings) -> Finding | None:
    rhat, p = stats.rhat(traces.delta_loss), stats.disagreement(traces.delta_loss)
    if not (rhat > RHAT and p < P_VALUE):
        return None
    return Finding(
        verdict=Verdict.DISAGREE,
        evidence=f"R̂ {rhat:.2f}, p {p:.0e}",
        change=f"raise chain.num_burnin_steps ({settings.num_burnin_steps}), or "
        f"{_step('raise', settings, ', or ')}hold chains closer: raise sampler.gamma "
        f"({settings.gamma:g})",
    )


def _drifts(traces: ComponentTraces, settings: Settings) -> Finding | None:
    whole, start = stats.trend(traces.delta_loss), stats.late_rise(traces.delta_loss)
    found = [each for each in (whole, start) if each.p < P_VALUE and abs(each.size) >= SHIFT]
    if not found:
        return None
    tails = [trace[len(trace) // 2 :] for trace in traces.delta_loss]
    rest = stats.trend(tails)
    settles = not (rest.p < P_VALUE**0.5 and abs(rest.size) >= SHIFT / 2)
    worst = max(found, key=lambda each: abs(each.size))
    sense = "rises" if worst.size > 0 else "falls"
    burnin = f"raise chain.num_burnin_steps ({settings.num_burnin_steps})"
    return Finding(
        verdict=Verdict.DRIFTS,
        evidence=f"ΔL {sense} by {abs(worst.size):.1f} deviations, p {worst.p:.0e}; "
        + ("level in the second half" if settles else "not level in the second half either"),
        change=burnin
        if settles
        else f"raise sampler.gamma ({settings.gamma:g}) to hold the chain, or {burnin} and "
        f"chain.num_draws ({settings.num_draws})",
    )


def _falls(traces: ComponentTraces, settings: Settings) -> Finding | None:
    errors = stats.mean_in_errors(traces)
    if not errors < -MIN_MEAN or _within_rounding(traces):
        return None
    return Finding(
        verdict=Verdict.FALLS,
        evidence=f"mean ΔL is {-errors:.1f} errors below zero",
        change=f"w* is no minimum for it: raise sampler.gamma ({settings.gamma:g}) or lower "
        f"sampler.nbeta ({settings.nbeta:g})",
    )


def _damaged(traces: ComponentTraces, settings: Settings) -> Finding | None:
    if not traces.damage >= DAMAGED:
        return None
    needed = "" if math.isnan(traces.gamma_needed) else f", to about {traces.gamma_needed:.0f}"
    above = ", above ln V" if traces.damage >= 1 else ""
    return Finding(
        verdict=Verdict.DESTROYED if traces.damage >= 1 else Verdict.DAMAGED,
        evidence=f"mean loss {traces.damage:.0%} of the way from L(w*) to a uniform guess{above}",
        change=f"raise sampler.gamma ({settings.gamma:g}{needed})",
    )


def _biased(traces: ComponentTraces, settings: Settings) -> Finding | None:
    bias = traces.bias
    if bias is None or not bias.matters:
        return None
    return Finding(
        verdict=Verdict.BIASED,
        evidence=f"E[ΔL] is off by {bias.nats:+.3g} ± {bias.error_nats:.1g} nats, "
        f"{bias.deviations:+.1f} posterior deviations, and the deviation of ΔL is "
        f"{bias.spread:.2f} ± {bias.spread_error:.2f} of the posterior's, by "
        f"{_SOURCES[bias.source]}",
        change=f"{_step('lower', settings, ', or ')}take sampler=mala or "
        "sampler=reweighted, which have no such bias"
        if not traces.corrected
        else f"raise chain.num_burnin_steps ({settings.num_burnin_steps})",
    )


_SOURCES = {"weights": "importance weights", "metropolis": "Metropolis-adjusted chains"}


def _bias_unknown(traces: ComponentTraces, settings: Settings) -> Finding | None:
    """Uncorrected steps whose relevant bias could not be detected."""
    bias = traces.bias
    if traces.corrected or (bias is not None and (bias.matters or bias.resolved)):
        return None
    return Finding(
        verdict=Verdict.BIAS_UNKNOWN,
        evidence="the pilot does not know E[ΔL] of the posterior"
        if bias is None
        else f"known to ± {bias.error_deviations:.1f} posterior deviations only",
        change="take sampler=mala or sampler=reweighted, which have none"
        if bias is None
        else f"raise chain.num_draws ({settings.num_draws})",
    )


def _collapsed(traces: ComponentTraces, settings: Settings) -> Finding | None:
    share = traces.effective_sample_size / max(1, traces.num_draws)
    if share >= MIN_EFFECTIVE_FRACTION:
        return None
    return Finding(
        verdict=Verdict.COLLAPSED,
        evidence=f"{traces.num_draws} draws are worth {traces.effective_sample_size:.1f}",
        change="raise sampler.min_effective_fraction, so that it gets a chain, or lower "
        f"sampler.nbeta ({settings.nbeta:g})",
    )


def _remembers(traces: ComponentTraces, settings: Settings) -> Finding | None:
    shortest, tau = min(len(trace) for trace in traces.delta_loss), traces.correlation_time
    moves = all(np.ptp(trace) > 0 for trace in traces.delta_loss)
    if tau <= 1 / MIN_EFFECTIVE_SHARE or shortest < 2 / MIN_EFFECTIVE_SHARE or not moves:
        return None
    return Finding(
        verdict=Verdict.REMEMBERS,
        evidence=f"{traces.num_draws} draws are worth {traces.effective_sample_size:.0f}",
        change=f"{_step('raise', settings, ', or ')}raise chain.steps_between_draws "
        f"({traces.steps_between_draws}, to about {math.ceil(traces.steps_between_draws * tau)})",
    )


def _within_rounding(traces: ComponentTraces) -> bool:
    return max(float(np.abs(trace).max()) for trace in traces.delta_loss) < ROUNDING


def _little_signal(traces: ComponentTraces, settings: Settings) -> Finding | None:
    if _within_rounding(traces):
        return Finding(
            verdict=Verdict.LITTLE_SIGNAL,
            evidence=f"no ΔL is beyond {ROUNDING:g} nats, the rounding of a mean loss",
            change=f"lower sampler.gamma ({settings.gamma:g}): the component is not moved",
        )
    known, whole = traces.known_reliability, traces.whole_reliability
    if known <= 0 or whole < MIN_RELIABILITY:
        factor = stats.more_data(whole, WANTED_RELIABILITY) if known > 0 else math.inf
        agree = f"reliability of the column {whole:.2f}"
        wanted = math.ceil(settings.num_draws * factor) if factor < 20 else None
        enough = "" if wanted is None else f", to about {wanted} for {WANTED_RELIABILITY:g}"
        other = f", or lower sampler.gamma ({settings.gamma:g})" if wanted is None else ""
        return Finding(
            verdict=Verdict.LITTLE_SIGNAL,
            evidence=agree if known > 0 else f"halves of the chains do not agree (r {known:.2f})",
            change=f"raise chain.num_draws ({settings.num_draws}{enough}){other}",
        )
    errors = stats.mean_in_errors(traces)
    if abs(errors) >= MIN_MEAN or math.isnan(errors):
        return None
    return Finding(
        verdict=Verdict.LITTLE_SIGNAL,
        evidence=f"mean ΔL is {errors:.1f} errors from zero",
        change=f"lower sampler.gamma ({settings.gamma:g}): the component is hardly moved",
    )


def _too_few(traces: ComponentTraces, settings: Settings) -> Finding | None:
    """Too few independent draws."""
    if traces.num_draws >= stats.LEAST_DRAWS and traces.effective_sample_size >= MIN_EFFECTIVE:
        return None
    return Finding(
        verdict=Verdict.TOO_SHORT,
        evidence=f"{traces.num_draws} draws are worth {traces.effective_sample_size:.1f}",
        change=f"raise chain.num_draws ({settings.num_draws})",
    )


def _too_short(traces: ComponentTraces, settings: Settings) -> Finding | None:
    shortest, rhat = min(len(t) for t in traces.delta_loss), stats.rhat(traces.delta_loss)
    enough = shortest >= stats.LEAST_DRAWS
    settled = not rhat > UNSETTLED_RHAT or stats.disagreement(traces.delta_loss) < P_VALUE
    if enough and settled:
        return None
    return Finding(
        verdict=Verdict.TOO_SHORT,
        evidence=f"R̂ {rhat:.2f}" if enough else f"{shortest} draws of a chain",
        change=f"raise chain.num_draws ({settings.num_draws}"
        + (")" if enough else f", to {stats.LEAST_DRAWS} at least)")
        + f" and chain.steps_between_draws ({traces.steps_between_draws})",
    )


_Rule = Callable[[ComponentTraces, Settings], Finding | None]
_OF_DRAWS: Sequence[_Rule] = (
    _damaged, _stuck, _spikes, _falls, _collapsed, _too_few, _little_signal,
)  # fmt: skip
_OF_CHAINS: Sequence[_Rule] = (
    _damaged, _stuck, _spikes, _disagree, _drifts, _falls, _biased, _bias_unknown, _remembers,
    _too_short, _little_signal,
)  # fmt: skip
"""Rules for independent draws and for stepped chains, worst first."""
