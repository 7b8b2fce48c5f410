"""Data weights that shift responses towards a target: patterning, by the pseudo-inverse of χ.

A target is a shift of some components (below zero: express more), a principal axis, or what more
tokens of a pattern type or a cluster would bring. Weights are on sequences, tokens, clusters,
subsets or combinations of pattern types; the file out= has the sequences with token ids and
weights, for a training loop.

The prediction is to first order, from the half of the chains that the weights were not made from.
Directions that the halves do not share are left out (min_reliability); the ridge is
cross-validated between the halves. Bounds: no weight below zero or above max_ratio times its
share, and an effective number of units of at least min_effective_share of all.

  spectro pattern runs/demo target.pattern=induction out=more_induction.parquet
  spectro pattern runs/demo 'target.components={l1h*: -1}' target.size=0.1
  spectro pattern runs/demo target.axis=2 target.opposite=true units=subsets
  spectro pattern runs/demo target.cluster=17 units=tokens format=json
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spectro.storage.credentials import refuse_credentials
from spectro.tokens.display.terminal_text import plain as on_one_line
from spectro.views.config import DataUnit, Target

from .command import Command
from .output import print_json, say, show, table
from .reading import Format, StoredRun
from .rows import ENDINGS, write_table

if TYPE_CHECKING:  # loads scipy and numba
    from spectro.views.patterning import Patterning


@dataclass(frozen=True, kw_only=True)
class PatternJob:
    """Settings of `spectro pattern`."""

    run: StoredRun = field(default_factory=StoredRun)
    """Run, or a part of one, with halves of its chains."""
    target: Target = field(default_factory=Target)
    """Wanted shift of the responses."""
    units: DataUnit = DataUnit.SEQUENCES
    """What gets a weight: `sequences`, `tokens`, `clusters`, `subsets` or `patterns`."""
    min_reliability: float = 0.5
    """Least share of a direction's variance that is not noise of the draws, in (0, 1)."""
    min_effective_share: float = 0.25
    """Least effective number of units, as a share of all, in (0, 1)."""
    max_ratio: float = 10.0
    """Largest weight, as a multiple of the unit's share of the tokens; > 1."""
    format: Format = Format.TABLE
    """Output format."""
    out: str | None = None
    """File for the weighted sequences: .parquet or .csv; a file that exists is replaced."""

    def __post_init__(self) -> None:
        refuse_credentials(self.out or "", "out")
        if self.out is not None and not self.out.endswith(ENDINGS):
            raise ValueError(f"out must end in {' or '.join(ENDINGS)}, found {self.out}")
        for name in ("min_reliability", "min_effective_share"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be between 0 and 1, found {value}")
        if self.max_ratio <= 1:
            raise ValueError(f"max_ratio must be above 1, found {self.max_ratio}")


def _pattern(job: PatternJob) -> None:
    from spectro.views.patterning import patterning, weighted_sequences  # not for --help
    from spectro.views.run_view import RunView

    job.target.require_one()
    view = RunView(job.run.uri)
    found = patterning(
        view, job.target, job.units, min_reliability=job.min_reliability,
        min_effective_share=job.min_effective_share, max_ratio=job.max_ratio,
    )  # fmt: skip
    if job.out is not None:
        write_table(weighted_sequences(view, found), job.out)
    if job.format is Format.JSON:
        print_json(_as_dict(found))
        return
    _show(found, job.run.uri)
    if job.out is not None:
        say(f"weighted sequences: {job.out}")


COMMAND = Command(
    name="pattern", config=PatternJob, run=_pattern, positional=("run.uri",),
    usage="<run> target.…=… [key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _show(found: Patterning, place: str) -> None:
    weights = found.weights
    rows = [
        [name, f"{target:+.3f}", f"{predicted:+.3f} ± {error:.3f}"]
        for name, target, predicted, error in zip(
            found.components, weights.target_H, weights.predicted_H, weights.error_H, strict=True
        )
    ]
    caption = (
        "Shifts of E[φ] / nβ in standard deviations of tokens, to first order; below zero the "
        "component expresses more.\n± is half the difference between halves of the chains."
    )
    head = ["component", "target", "predicted"]
    show(table(f"Patterning of {on_one_line(place)}", head, rows, left=head[:1], caption=caption))
    factors = [[on_one_line(name), f"{f:.2f}"] for name, f in found.subset_factor.items()]
    show(table("Weight of the subsets", ["subset", "factor"], factors, left=("subset",)))
    axes, factor_U = weights.axes, weights.factor_U
    say(
        f"{len(factor_U):,} {found.unit.value}: factors {factor_U.min():.2f} to "
        f"{factor_U.max():.2f}, effective number {weights.effective_share:.0%} of all"
    )
    say(
        f"reached {weights.reached:.0%} of the target; {1 - weights.reachable:.0%} of its square "
        f"is along no reliable direction ({len(axes.reliability_A)} of "
        f"{len(axes.reliability_A) + axes.num_dropped} are reliable)"
    )


def _as_dict(found: Patterning) -> dict[str, Any]:
    weights = found.weights
    return {
        "components": found.components,
        "units": found.unit.value,
        "num_units": len(weights.factor_U),
        "target": weights.target_H,
        "predicted": weights.predicted_H,
        "error": weights.error_H,
        "reached": weights.reached,
        "reachable": weights.reachable,
        "effective_share": weights.effective_share,
        "largest_factor": weights.factor_U.max(),
        "axis_reliability": weights.axes.reliability_A,
        "num_axes_dropped": weights.axes.num_dropped,
        "ridge": weights.ridge.ridge,
        "ridge_tried": weights.ridge.ridge_G,
        "ridge_error": weights.ridge.error_G,
        "subset_factor": dict(found.subset_factor),
    }


if __name__ == "__main__":
    raise SystemExit(main())
