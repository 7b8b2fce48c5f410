"""The clusters of one token in each run, side by side: those that have it among their most common
tokens, how many of its occurrences they hold, random members in their contexts, and which clusters
of two runs are the same tokens (Jaccard, where the runs share sequences).

White space around the token is ignored; write · ⏎ ⇥ for a space, a line break, a tab that is meant.

With kind=training the runs are checkpoints of one training run (model.revision=step1000, or folders
checkpoint-500), alike in all else: the local learning coefficient of each component and the size of
chi, by training step.

  spectro across runs/demo runs/demo/control token=she
  spectro across runs/14m runs/410m runs/1.4b token=she out=she.svg theme=dark
  spectro across runs/demo runs/demo/clusters-k30 'token=⏎' format=json
  spectro across runs/step1000 runs/step4000 runs/step16000 kind=training out=training.svg
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from spectro.settings import refuse_without_effect
from spectro.storage.credentials import refuse_credentials
from spectro.tokens.display.context_text import TokenInContext
from spectro.tokens.display.terminal_text import plain as on_one_line
from spectro.views.config import suffix_of
from spectro.views.figures.config import ThemeName

from .command import Command
from .output import number, plain, print_json, say, show, table
from .reading import Format

if TYPE_CHECKING:  # loads scipy and numba
    from spectro.analysis.token_clusters import Across, TokenCluster, TokenInRun
    from spectro.analysis.training_curves import TrainingCurves

OF_TOKENS = ("token", "max_clusters", "num_contexts", "seed")
"""Settings of `kind=token` alone."""
MAX_LINKS = 20
"""Links that a table shows; JSON has all."""


class AcrossKind(StrEnum):
    """What is compared."""

    TOKEN = "token"
    TRAINING = "training"


@dataclass(frozen=True, kw_only=True)
class AcrossJob:
    """Settings of `spectro across`."""

    runs: tuple[str, ...] = ("runs/demo", "runs/demo/control")
    """Runs, parts of runs (`<run>/control`) or folders of clusters; one or more."""
    kind: AcrossKind = AcrossKind.TOKEN
    """`token`: the clusters of one token in each run; `training`: curves over training steps."""
    token: str = "she"
    """Text of the token; white space around y is ignored unless · ⏎ ⇥ stand for it."""
    max_clusters: int = 6
    """Clusters of each run, most occurrences first."""
    num_contexts: int = 4
    """Random members of each cluster with that y."""
    seed: int = 0
    """Key of the random members."""
    format: Format = Format.TABLE
    """Output format."""
    out: str | None = None
    """Picture: .svg, .pdf or .png; a file that exists is replaced."""
    theme: ThemeName = ThemeName.LIGHT
    """Theme of the picture."""

    def __post_init__(self) -> None:
        for place in (*self.runs, self.out or ""):
            refuse_credentials(place, "across")
        if not self.runs or not self.token:
            raise ValueError("across needs runs and a token: spectro across <run> <run> token=she")
        for name, least in (("max_clusters", 1), ("num_contexts", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)}")
        if self.out is not None:
            suffix_of(self.out)
        if self.kind is AcrossKind.TRAINING:
            reason = "with kind=training: curves are of components, not of tokens"
            refuse_without_effect(self, "", dict.fromkeys(OF_TOKENS, reason))


def _across(job: AcrossJob) -> None:
    if job.kind is AcrossKind.TRAINING:
        _training(job)
        return
    from spectro.views.across import across  # not for --help

    found = across(
        job.runs, job.token, max_clusters=job.max_clusters, num_contexts=job.num_contexts,
        seed=job.seed,
    )  # fmt: skip
    if job.out is not None:
        from spectro.views.drawing import across as picture  # matplotlib

        _draw(picture.figure, found, job.out, job.theme)
    if job.format is Format.JSON:
        print_json(_as_dict(found))
        return
    links = [_links_table(found)] if len(found.runs) > 1 else []
    show(*map(_run_table, found.runs), *links)
    say(*found.notes, *([f"figure: {job.out}"] if job.out is not None else []))


COMMAND = Command(
    name="across", config=AcrossJob, run=_across, positional=("runs",), any_number=True,
    as_typed=("token",),
    usage="<run> [<run> ...] [token=<text>|kind=training] [out=<file>.svg|.pdf|.png] "
    "[key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _training(job: AcrossJob) -> None:
    from spectro.views.training import curves_over_training

    found = curves_over_training(job.runs)
    if job.out is not None:
        from spectro.views.drawing import training as picture  # matplotlib

        _draw(picture.figure, found, job.out, job.theme)
    if job.format is Format.JSON:
        print_json(found)
        return
    show(*_training_tables(found))
    say(*([f"figure: {job.out}"] if job.out is not None else []))


def _draw(picture: Callable[..., Any], found: object, out: str, name: ThemeName) -> None:
    from spectro.views.drawing.theme import theme
    from spectro.views.figures.figures import put_figure

    chosen = theme(name.value)
    put_figure(picture(found, chosen), out, chosen)


def _training_tables(found: TrainingCurves) -> tuple[Table, Table]:
    """A row for each component, a column for each training step."""
    columns = ("component", *(f"{step:,}" for step in found.steps))
    coefficients = [
        (name, *(_with_error(*pair) for pair in zip(values, errors, strict=True)))
        for name, values, errors in zip(
            found.components, found.lambda_hat_SH.T, found.lambda_error_SH.T, strict=True
        )
    ]
    sizes = [
        (name, *(number(value, ".3g") for value in values))
        for name, values in zip(found.components, found.chi_size_SH.T, strict=True)
    ]
    return (
        table("Local learning coefficient by training step, ± one standard error of two halves of "
              "the chains", columns, coefficients, left=("component",)),
        table("Standard deviation of chi over tokens, nats², by training step", columns, sizes,
              left=("component",)),
    )  # fmt: skip


def _with_error(value: float, error: float) -> str:
    return number(value, ".3g") + ("" if math.isnan(error) else f" ± {error:.2g}")


def _run_table(run: TokenInRun) -> Table:
    """The clusters of one run, with random members."""
    share = f"{run.num_clustered / run.num_occurrences:.0%}" if run.num_occurrences else "–"
    title = (
        f"{run.name}: {run.num_occurrences:,} of {run.num_tokens:,} tokens, {share} of them in "
        f"clusters, {run.num_clusters} clusters with it among their most common tokens"
    )
    columns = ("cluster", "of it", "size", "share of it", "stability")
    texts = ("most common y", "random members")
    made = table(title, (*columns, *texts), map(_cells, run.clusters), left=texts)
    made.columns[-2].max_width, made.columns[-1].no_wrap = 28, True
    return made


def _cells(cluster: TokenCluster) -> list[str | Text]:
    return [
        f"#{cluster.cluster_id}",
        f"{cluster.count:,}",
        f"{cluster.size:,}",
        f"{cluster.share:.0%}",
        number(cluster.stability),
        "  ".join(on_one_line(token) for token in cluster.top_tokens),
        Text("\n").join(_in_context(each, 26, 16) for each in cluster.contexts),
    ]


def _in_context(token: TokenInContext, before: int, after: int) -> Text:
    """A token in its context, y in reverse; so many characters on either side."""
    left = on_one_line("".join(token.before))[-before:]
    right = on_one_line("".join(token.after))[:after]
    return Text.assemble(
        (left.rjust(before), "dim"), (on_one_line(token.y), "reverse"), (right, "dim")
    )


def _links_table(found: Across) -> Table:
    """Clusters of two runs that share tokens, largest Jaccard index first."""
    rows = []
    for link in sorted(found.links, key=lambda link: -link.jaccard)[:MAX_LINKS]:
        (i, j), (a, b) = link.runs, link.clusters
        matched = "yes" if link.matched else ""
        jaccard = f"{link.jaccard:.2f}"
        rows.append((found.runs[i].name, f"#{a}", found.runs[j].name, f"#{b}", jaccard, matched))
    left_out = max(0, len(found.links) - MAX_LINKS)
    caption = (
        "Of the tokens that both runs measured; matched: each the other's best of all clusters, "
        f"J ≥ 0.5.{f' {left_out} more in format=json.' if left_out else ''}"
    )
    columns = ("run", "cluster", "run", "cluster", "Jaccard", "matched")
    return table("The same tokens", columns, rows, left=("run", "matched"), caption=caption)


def _as_dict(found: Across) -> dict[str, Any]:
    """Everything; tokens as on a terminal, None for what is not known."""
    result: dict[str, Any] = plain(found)
    for run in result["runs"]:
        for cluster in run["clusters"]:
            cluster["top_tokens"] = [on_one_line(token) for token in cluster["top_tokens"]]
            for context in cluster["contexts"]:
                for side in ("before", "after"):
                    context[side] = on_one_line("".join(context[side]))
                context["y"] = on_one_line(context["y"])
    return result


if __name__ == "__main__":
    raise SystemExit(main())
