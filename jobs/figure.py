"""A picture of a run for a paper, with one sentence of help in it. The same run gives the same
bytes.

A run may be a part of one (<run>/control) or a folder of clusters (<run>/clusters-k30).

  kind=map          tokens in χ-space, clusters as rings, regions (max_points, seed)
  kind=card         one cluster: profile, tokens, subsets, random members (cluster, num_contexts)
  kind=clusters     sizes, conductances, stabilities; the control's beside them
  kind=sae          clusters against features of an autoencoder (autoencoder, max_rows)
  kind=matrix       mean responses of sets of tokens × components (rows, scaling, max_rows)
  kind=axes         principal axes: variance, loadings, tokens at both ends (num_axes, num_tokens)
  kind=shift        every component's response to more of one subset, with intervals (rows)
  kind=scatter      χ of two components, token by token (components, scaling, max_points)
  kind=spread       quantiles of χ over sets of tokens, component by component (rows, components)
  kind=control      every column against that of the nβ = 0 control
  kind=moved        what the posterior moves: χ less the control's, with errors (num_tokens)
  kind=traces       ΔL along the draws of every chain, with its verdict (components, max_rows)
  kind=rhat         R̂ and effective sample size of every component (components)
  kind=reliability  reliability of the columns against the number of draws (components)
  kind=text         a sequence of the run, coloured by χ (sequence_id, components)
  kind=across       one token in several runs: its clusters in each (token, others)

  spectro figure runs/demo kind=matrix out=matrix.svg theme=dark
  spectro figure runs/demo kind=matrix rows=clusters scaling=centred out=clusters.pdf
  spectro figure runs/demo/clusters-k30 kind=card cluster=3 out=card.png
  spectro figure runs/demo kind=scatter components=[l0h1,l2mlp] out=scatter.svg
  spectro figure runs/demo kind=traces components=[full,l0h1] out=traces.png

A file of that name is replaced, a folder or an object of a run never. A text in bands: spectro
text. One token in several runs: spectro across. The numbers behind matrix and shift: spectro
matrix; behind traces, rhat and reliability: spectro diagnose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spectro.formats.out_file import place_of
from spectro.storage.credentials import refuse_credentials
from spectro.views.config import suffix_of
from spectro.views.figures.config import FigureConfig

from .command import Command
from .output import say
from .reading import StoredRun


@dataclass(frozen=True, kw_only=True)
class FigureJob(FigureConfig):
    """Settings of `spectro figure`."""

    run: StoredRun = field(default_factory=StoredRun)
    """Run, a part of one, or a folder of clusters."""
    out: str | None = None
    """File or URI ending in .svg, .pdf or .png; one that exists is replaced. Null: <kind>.svg."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_credentials(self.out or "", "out")
        suffix_of(self.file)

    @property
    def file(self) -> str:
        """File or URI of the picture."""
        return f"{self.kind.value}.svg" if self.out is None else self.out


def _figure(job: FigureJob) -> None:
    from spectro.views.figures.figures import drawn, put_figure  # not for --help
    from spectro.views.run_view import RunView

    place_of(job.file)  # refused before anything is drawn
    made, theme = drawn(RunView(job.run.uri), job)
    put_figure(made, job.file, theme)
    say(f"figure: {job.file}")


COMMAND = Command(
    name="figure", config=FigureJob, run=_figure, positional=("run.uri",),
    short={"cluster": "cluster_id"},
    usage="<run> kind=<kind> [out=<file>.svg|.pdf|.png] [theme=light|dark] [key=value ...]",
)  # fmt: skip
main = COMMAND.main


if __name__ == "__main__":
    raise SystemExit(main())
