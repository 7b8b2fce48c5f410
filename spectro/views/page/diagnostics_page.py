"""Diagnoses as plain values, and as a page: a table, traces, reliability against draws.

The page is one file without scripts: text is escaped, pictures are SVG in `data:` addresses, in
which nothing can run, one for light and one for dark.
"""

import base64
import hashlib
import html
import math
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any

from matplotlib.figure import Figure

from spectro.analysis.chain_diagnosis import Diagnosis
from spectro.analysis.chain_traces import ComponentTraces
from spectro.analysis.chain_verdict import Verdict
from spectro.views.config import THEMES
from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.theme import Theme, theme
from spectro.views.drawing.traces import LABELLED
from spectro.views.figures.config import Kind
from spectro.views.figures.kinds import chain_figure

HELP = (
    "One line per component: what its chains did, how sure that is, and the setting to change. "
    "R̂ compares chains, effective draws are the independent ones that all are worth, reliability "
    "is that of the whole column, predicted from halves, as clusters see it where that is known."
)
FACTORS = (0.5, 1, 2, 4, 8)
"""Multiples of the run's draws for which reliability is predicted."""
HEADS = (
    ("component", False), ("verdict", False), ("R̂", True), ("draws", True), ("effective", True),
    ("ρ₁", True), ("bias of E[ΔL], nats (in sd)", True), ("reliability", True),
    ("what to change", False),
)  # fmt: skip
"""Columns of the table, and whether they are numbers."""


def as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """Everything that is said of a component, as plain values; what is not known is None.

    `reliability.measured` are correlations of χ from halves of the chains, one per split, and
    `measured_centred` is the row-centred one, as clusters see the column; `reliability.predicted`
    follow from their means by Spearman and Brown's formula, None where halves do not agree.
    """
    traces = diagnosis.traces
    return {
        "component": traces.name,
        "verdict": str(diagnosis.verdict),
        "good": diagnosis.verdict.is_good,
        "findings": [
            {"verdict": str(each.verdict), "evidence": each.evidence, "change": each.change}
            for each in diagnosis.findings
        ],
        "independent": traces.independent,
        "num_draws": traces.num_draws,
        "effective_sample_size": _number(traces.effective_sample_size),
        "steps_between_draws": traces.steps_between_draws,
        "rhat": _number(diagnosis.rhat),
        "autocorrelation": [_number(value) for value in diagnosis.autocorrelation],
        "metropolis_corrected": traces.corrected,
        "sampler_bias": None if traces.bias is None else traces.bias.as_dict(),
        "damage": _number(traces.damage),
        "gamma_needed": _number(traces.gamma_needed),
        "reliability": {
            "measured": [
                {"draws": traces.draws_of_token * traces.half_share, "reliability": _number(value)}
                for value in traces.split_reliability or (traces.reliability,)
            ],
            "measured_centred": _number(traces.centred_reliability),
            "predicted": [
                {
                    "draws": traces.draws_of_token * factor,
                    "reliability": _number(traces.predicted(traces.reliability, factor)),
                    "centred": _number(traces.predicted(traces.centred_reliability, factor)),
                }
                for factor in FACTORS
            ],
        },
        "delta_loss": [
            {"chain": chain, "draws": [_number(value) for value in trace]}
            for chain, trace in zip(traces.chains, traces.delta_loss, strict=True)
        ],
    }


def cells(diagnosis: Diagnosis) -> tuple[str, ...]:
    """A line of the table, in the order of `HEADS`."""
    traces = diagnosis.traces
    first = diagnosis.autocorrelation[1] if len(diagnosis.autocorrelation) > 1 else math.nan
    evidence = f" ({diagnosis.findings[0].evidence})" if diagnosis.findings else ""
    return (
        traces.name,
        f"{diagnosis.verdict}{evidence}",
        _format(diagnosis.rhat, ".2f"),
        str(traces.num_draws),
        _format(traces.effective_sample_size, ".0f"),
        _format(float(first), ".2f"),
        _bias_cell(traces),
        "≤ 0" if traces.known_reliability <= 0 else _format(traces.whole_reliability, ".2f"),
        diagnosis.change or "–",
    )


def _bias_cell(traces: ComponentTraces) -> str:
    """Bias ± error in nats, and in posterior deviations; `exact`, or `unknown`."""
    bias = traces.bias
    if bias is not None:
        return f"{bias.nats:+.3f} ± {bias.error_nats:.3f} ({bias.deviations:+.1f})"
    return "exact" if traces.independent or traces.corrected else "unknown"


def summary_of(diagnoses: Sequence[Diagnosis]) -> str:
    """How many components got each verdict, in one sentence."""
    counts = Counter(diagnosis.verdict for diagnosis in diagnoses)
    parts = [f"{counts[verdict]} × {verdict}" for verdict in Verdict if counts[verdict]]
    return f"{len(diagnoses)} components: {'; '.join(parts)}."


def page(title: str, diagnoses: Sequence[Diagnosis], panels: int) -> str:
    """The page as HTML; the same diagnoses give the same bytes.

    Args:
        title: of the run.
        diagnoses: all that the table has.
        panels: traces of so many are drawn, the worst first.
    """
    num_drawn = min(panels, len(diagnoses))
    style = _read("diagnostics.css")
    few = f"Shown are {num_drawn} of {len(diagnoses)} components, the worst verdicts first."
    return Template(_read("diagnostics.html")).substitute(
        title=html.escape(title),
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii"),
        lede=html.escape(summary_of(diagnoses)),
        help=html.escape(HELP),
        table=_table(diagnoses),
        shown=few if num_drawn < len(diagnoses) else "",
        traces=_picture(Kind.TRACES, diagnoses, panels, "ΔL along the draws of every component"),
        labelled=str(LABELLED),
        curves=_picture(
            Kind.RELIABILITY, diagnoses, panels, "reliability against the number of draws"
        ),
    )


def _table(diagnoses: Sequence[Diagnosis]) -> str:
    heads = "".join(
        f'<th scope="col"{" class=number" if number else ""}>{html.escape(name)}</th>'
        for name, number in HEADS
    )
    rows = [f"<tr>{heads}</tr>"]
    for diagnosis in diagnoses:
        kinds = ["number" if number else "" for _, number in HEADS]
        kinds[1] = "" if diagnosis.verdict.is_good else "bad"
        row = zip(cells(diagnosis), kinds, strict=True)
        rows.append(
            "<tr>"
            + "".join(f'<td class="{k}">{html.escape(text)}</td>' for text, k in row)
            + "</tr>"
        )
    return "\n".join(rows)


def _picture(kind: Kind, diagnoses: Sequence[Diagnosis], panels: int, what: str) -> str:
    """A kind of figure in both themes."""
    light, dark = (
        _address(chain_figure(kind, diagnoses, chosen, panels), chosen)
        for chosen in map(theme, THEMES)
    )
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{html.escape(what)}"></picture>'
    )


def _address(figure: Figure, chosen: Theme) -> str:
    data = base64.b64encode(to_bytes(figure, ".svg", chosen)).decode("ascii")
    return f"data:image/svg+xml;base64,{data}"


def _format(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _read(name: str) -> str:
    return (files("spectro.views.page") / name).read_text(encoding="utf-8")
