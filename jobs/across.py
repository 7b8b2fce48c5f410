"""The clusters of one token in each run, side by side: those that have it among their most common
tokens, how many of its occurrences they hold, random members in their contexts, and which clusters
of two runs are the same tokens (Jaccard, where the runs share sequences).

White space around the token is ignored; write · ⏎ ⇥ for a space, a line break, a tab that is meant.

With token_id (of the first run; or sequence and position) that one token in its context is
followed: its chi by component, its cluster and how alike they are from run to run.

The next two need runs that are checkpoints of one training run (model.revision=step1000, or folders
checkpoint-500), alike in all else. With kind=training: the local learning coefficient of each
component and the size of chi, by training step; with rows= besides, the mean chi of sets of tokens
(clusters: those of the last checkpoint). With kind=flow: which clusters are kept, merge, split, go
and are born between checkpoints, beside chance and beside other draws.

  spectro across runs/demo runs/demo/control token=the
  spectro across runs/14m runs/410m runs/1.4b token=the out=the.svg theme=dark
  spectro across runs/demo runs/demo/clusters-k30 'token=⏎' format=json
  spectro across runs/demo runs/demo/control token_id=17 scaling=centred out=token.svg
  spectro across runs/step1000 runs/step4000 runs/step16000 kind=training out=training.svg
  spectro across runs/step1000 runs/step4000 kind=training rows=patterns components=[l1h*]
  spectro across runs/step1000 runs/step4000 runs/step16000 kind=flow out=flow.svg
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any

from rich.table import Table

from spectro.analysis.scaling import Scaling
from spectro.settings import refuse_without_effect
from spectro.storage.credentials import refuse_credentials
from spectro.views.config import MatrixRows, suffix_of
from spectro.views.figures.config import ThemeName

from .across_tokens import (
    across_as_dict,
    followed_as_dict,
    followed_tables,
    links_table,
    run_table,
)
from .across_training import clusters_as_dict, curves_tables, flow_tables, sets_table
from .command import Command
from .output import plain, print_json, say, show
from .reading import Format

KIND_SPECIFIC = (
    "token", "max_clusters", "num_contexts", "seed", "token_id", "sequence", "position", "rows",
    "components", "scaling", "max_rows",
)  # fmt: skip
"""Settings that do not act in every kind."""


class AcrossKind(StrEnum):
    """What is compared."""

    TOKEN = "token"
    TRAINING = "training"
    FLOW = "flow"


@dataclass(frozen=True, kw_only=True)
class AcrossJob:
    """Settings of `spectro across`."""

    runs: tuple[str, ...] = ("runs/demo", "runs/demo/control")
    """Runs, parts of runs (`<run>/control`) or folders of clusters; one or more."""
    kind: AcrossKind = AcrossKind.TOKEN
    """`token`: one token in each run; `training`: curves over training steps; `flow`: clusters over
    training steps."""
    token: str = "the"
    """Text of the token; white space around y is ignored unless · ⏎ ⇥ stand for it."""
    max_clusters: int = 6
    """Clusters of each run, most occurrences first."""
    num_contexts: int = 4
    """Random members of each cluster with that y."""
    token_id: int | None = None
    """Follow this one token of the first run: sequence · context + position."""
    sequence: int | None = None
    """Follow the token of this sequence of the first run, at `position`."""
    position: int | None = None
    """Its place in the sequence, from 0."""
    rows: MatrixRows | None = None
    """Sets of tokens whose mean chi is followed (kind=training): `subsets`, `clusters`,
    `patterns`."""
    components: tuple[str, ...] = ()
    """Names or patterns (rows); none: those whose means change most."""
    scaling: Scaling = Scaling.STANDARDISED
    """Units (rows, token_id): `raw` (nats²), `standardised`, or `centred` (less the mean of each
    row)."""
    max_rows: int = 12
    """Clusters that are rows, largest first; of one token, components with the largest chi."""
    seed: int = 0
    """Key of the random members, and of the shuffles (kind=flow)."""
    format: Format = Format.TABLE
    """Output format."""
    out: str | None = None
    """Picture: .svg, .pdf or .png; a file that exists is replaced."""
    theme: ThemeName = ThemeName.LIGHT
    """Theme of the picture."""

    @property
    def follows(self) -> bool:
        """Whether one token in its context is followed."""
        return any(x is not None for x in (self.token_id, self.sequence, self.position))

    def __post_init__(self) -> None:
        for place in (*self.runs, self.out or ""):
            refuse_credentials(place, "across")
        if not self.runs or not self.token:
            raise ValueError("across needs runs and a token: spectro across <run> <run> token=the")
        least = {"max_clusters": 1, "num_contexts": 0, "seed": 0, "max_rows": 1}
        least |= dict.fromkeys(("token_id", "sequence", "position"), 0)
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name} must be at least {low}, found {value}")
        if self.out is not None:
            suffix_of(self.out)
        reason, acting = self._acting()
        inert = {name: reason for name in KIND_SPECIFIC if name not in acting}
        refuse_without_effect(self, "", inert)
        given = (self.token_id is not None, self.sequence is not None, self.position is not None)
        if self.follows and given not in ((True, False, False), (False, True, True)):
            raise ValueError(
                "expected token_id, or sequence and position, to follow one token; found "
                f"token_id={self.token_id} sequence={self.sequence} position={self.position}"
            )

    def _acting(self) -> tuple[str, tuple[str, ...]]:
        """Why the other settings do not act, and which of `KIND_SPECIFIC` do."""
        if self.kind is AcrossKind.FLOW:
            return "with kind=flow", ("seed", "max_rows")
        if self.kind is AcrossKind.TRAINING and self.rows is not None:
            of_clusters = ("max_rows",) if self.rows is MatrixRows.CLUSTERS else ()
            acting = ("rows", "components", "scaling", *of_clusters)
            return f"with kind=training and rows={self.rows.value}", acting
        if self.kind is AcrossKind.TRAINING:
            return "with kind=training (components, scaling and max_rows act with rows=)", ()
        if self.follows:
            acting = ("token_id", "sequence", "position", "scaling", "max_rows")
            return "where one token in context is followed", acting
        return "with kind=token (rows= needs kind=training)", (
            "token",
            "max_clusters",
            "num_contexts",
            "seed",
        )


def _across(job: AcrossJob) -> None:
    if job.kind is AcrossKind.FLOW:
        _flow(job)
    elif job.kind is AcrossKind.TRAINING and job.rows is not None:
        _sets(job, job.rows)
    elif job.kind is AcrossKind.TRAINING:
        _curves(job)
    elif job.follows:
        _followed(job)
    else:
        _token(job)
    if job.out is not None and job.format is not Format.JSON:
        say(f"figure: {job.out}")


COMMAND = Command(
    name="across", config=AcrossJob, run=_across, positional=("runs",), any_number=True,
    as_typed=("token",),
    usage="<run> [<run> ...] [token=<text>|token_id=<id>|kind=training|kind=flow] "
    "[out=<file>.svg|.pdf|.png] [key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _token(job: AcrossJob) -> None:
    from spectro.views.across import across  # not for --help

    found = across(
        job.runs, job.token, max_clusters=job.max_clusters, num_contexts=job.num_contexts,
        seed=job.seed,
    )  # fmt: skip
    none = "No two of these clusters have a token in common."
    notes = [none] if len(found.runs) > 1 and not found.links else []
    links = [links_table(found)] if found.links else []
    tables = (*map(run_table, found.runs), *links)
    _give(job, "across", found, across_as_dict, tables, *notes, *found.notes)


def _followed(job: AcrossJob) -> None:
    from spectro.views.followed_token import follow_token, token_id_of

    token_id = job.token_id
    if token_id is None:
        token_id = token_id_of(job.runs[0], job.sequence or 0, job.position or 0)
    found = follow_token(job.runs, token_id, scaling=job.scaling)
    _give(job, "followed_token", found, followed_as_dict, followed_tables(found, job.max_rows))


def _curves(job: AcrossJob) -> None:
    from spectro.views.training import curves_over_training

    found = curves_over_training(job.runs)
    _give(job, "training", found, plain, curves_tables(found))


def _sets(job: AcrossJob, rows: MatrixRows) -> None:
    from spectro.views.training import sets_over_training

    found = sets_over_training(
        job.runs, rows, components=job.components, scaling=job.scaling, max_rows=job.max_rows
    )
    _give(job, "training_sets", found, plain, (sets_table(found),))


def _flow(job: AcrossJob) -> None:
    from spectro.views.training_clusters import clusters_over_training

    found = clusters_over_training(job.runs, seed=job.seed)
    _give(job, "cluster_flow", found, clusters_as_dict, flow_tables(found, job.max_rows))


def _give(
    job: AcrossJob,
    picture: str,
    found: Any,
    as_dict: Callable[[Any], dict[str, Any]],
    tables: Iterable[Table],
    *notes: str,
) -> None:
    """The picture where one is asked for; JSON, or tables and notes."""
    if job.out is not None:
        from spectro.views.drawing.theme import theme  # matplotlib
        from spectro.views.figures.figures import put_figure

        draw = import_module(f"spectro.views.drawing.{picture}").figure
        chosen = theme(job.theme.value)
        put_figure(draw(found, chosen), job.out, chosen)
    if job.format is Format.JSON:
        print_json(as_dict(found))
        return
    show(*tables)
    say(*notes)


if __name__ == "__main__":
    raise SystemExit(main())
