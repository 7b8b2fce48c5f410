"""The induction circuit: do the principal axes of χ find the heads that make it?

Induction heads are found without χ: by their attention from a token to the one after its earlier
occurrence, on random tokens repeated once (prefix matching), and by the loss without each head.
Beside them: principal axes of χ of all heads, and the response matrix. Published of a two-layer
attention-only transformer (Baker et al. 2025): axis 1 is uniform, axis 2 has induction heads at
one side and multigram heads at the other. What does not hold in this run is printed as such. The
model is loaded; any run with attention heads will do.

  spectro circuit runs/circuit
  spectro circuit runs/circuit out=circuit.svg
  spectro circuit runs/circuit format=json num_axes=5
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spectro.formats.out_file import place_of
from spectro.storage.credentials import refuse_credentials
from spectro.tokens.display.terminal_text import plain as on_one_line
from spectro.views.config import THEMES, MatrixRows, suffix_of

from .command import Command
from .output import print_json, say, show, table
from .reading import Format, StoredRun
from .stored import working_config

if TYPE_CHECKING:  # loads torch
    from spectro.views.circuit import CircuitData


@dataclass(frozen=True, kw_only=True)
class CircuitJob:
    """Settings of `spectro circuit`."""

    run: StoredRun = field(default_factory=StoredRun)
    """A measured run, or a part of one."""
    rows: MatrixRows = MatrixRows.PATTERNS
    """Sets of tokens of the response matrix: `subsets`, `clusters` or `patterns`."""
    num_axes: int = 4
    """Principal axes."""
    num_sequences: int = 64
    """Sequences of random tokens that head scores are taken on."""
    length: int = 64
    """Random tokens of a sequence, before they are repeated."""
    format: Format = Format.TABLE
    """Output format."""
    out: str | None = None
    """Page (.svg, .pdf or .png); a file that exists is replaced."""
    theme: str = THEMES[0]
    """`light` or `dark`."""

    def __post_init__(self) -> None:
        refuse_credentials(self.out or "", "out")
        if self.out is not None:
            suffix_of(self.out)
        for name, least in (("num_axes", 2), ("num_sequences", 1), ("length", 4)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name} must be at least {least}, found {value}")
        if self.theme not in THEMES:
            raise ValueError(f"theme must be one of {', '.join(THEMES)}; found {self.theme!r}")


def _circuit(job: CircuitJob) -> None:
    from spectro.views.circuit import circuit_of  # not for --help
    from spectro.views.run_view import RunView

    if job.out is not None:
        place_of(job.out)  # refused before anything is measured
    view = RunView(job.run.uri)
    data = circuit_of(
        view, working_config(view.uri), rows=job.rows, num_axes=job.num_axes,
        num_sequences=job.num_sequences, length=job.length,
    )  # fmt: skip
    if job.out is not None:
        _draw(data, job.out, job.theme)
    if job.format is Format.JSON:
        print_json(_as_dict(data))
        return
    _print(data)
    if job.out is not None:
        say(f"circuit: {job.out}")


COMMAND = Command(
    name="circuit", config=CircuitJob, run=_circuit, may_trust=True, positional=("run.uri",),
    usage="<run> [out=<file>.svg|.pdf|.png] [key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _draw(data: CircuitData, out: str, theme_name: str) -> None:
    from spectro.views.drawing.circuit import figure  # matplotlib
    from spectro.views.drawing.theme import theme
    from spectro.views.figures.figures import put_figure

    chosen = theme(theme_name)
    put_figure(figure(data, chosen), out, chosen)


def _print(data: CircuitData) -> None:
    """Claims, then a row for each head."""
    from spectro.analysis.circuit import claims  # scikit-learn

    found, scores = data.circuit, data.circuit.scores
    axes = range(len(found.principal.loading_AH))
    columns = ["head", "kind", "prefix matching", "previous token", "rise repeated", "rise first"]
    columns += [f"axis {axis + 1}" for axis in axes]
    rows = [
        [
            name, kind.value,
            f"{scores.prefix_matching_C[h]:.3f}", f"{scores.previous_token_C[h]:.3f}",
            f"{scores.rise_repeated_C[h]:+.3f}", f"{scores.rise_first_C[h]:+.3f}",
            *(f"{found.principal.loading_AH[axis, h]:+.3f}" for axis in axes),
        ]
        for h, (name, kind) in enumerate(zip(scores.components, scores.kinds, strict=True))
    ]  # fmt: skip
    shares = [f"{share:.1%}" for share in found.principal.share_H[: len(axes)].tolist()]
    rows.append(["share of variance", *[""] * 5, *shares])
    rows.append(["AUC of heads", *[""] * 5, *(f"{v:.2f}" for v in found.head_auc_A)])
    rows.append(["AUC of tokens", *[""] * 5, *(f"{v:.2f}" for v in found.token_auc_A)])
    caption = (
        "Attention and rises of the loss (nats, without the head) on random tokens repeated once; "
        "loadings of the principal axes of chi, columns standardised.\nAUC of heads: induction "
        "against multigram; of tokens: those that complete a repeated pair."
    )
    show(table("The induction circuit", columns, rows, left=("head", "kind"), caption=caption))
    for claim in claims(found):
        say(f"{'holds' if claim.holds else 'does not hold'}: {claim.text}; found {claim.found}")


def _as_dict(data: CircuitData) -> dict[str, Any]:
    """Everything, as one object."""
    from spectro.analysis.circuit import claims

    found, scores, matrix = data.circuit, data.circuit.scores, data.matrix
    return {
        "claims": [{"claim": c.text, "found": c.found, "holds": c.holds} for c in claims(found)],
        "heads": [
            {
                "name": name,
                "kind": kind.value,
                "prefix_matching": scores.prefix_matching_C[h],
                "previous_token": scores.previous_token_C[h],
                "rise_repeated": scores.rise_repeated_C[h],
                "rise_first": scores.rise_first_C[h],
                "loadings": found.principal.loading_AH[:, h],
            }
            for h, (name, kind) in enumerate(zip(scores.components, scores.kinds, strict=True))
        ],
        "share_of_variance": found.principal.share_H,
        "auc_of_heads": found.head_auc_A,
        "auc_of_tokens": found.token_auc_A,
        "matrix": [
            {"name": on_one_line(name), "shift": shift_H, "half_width_95": width_H}
            for name, shift_H, width_H in zip(
                matrix.names, matrix.mean_RH, matrix.half_width_RH, strict=True
            )
        ],
    }


if __name__ == "__main__":
    raise SystemExit(main())
