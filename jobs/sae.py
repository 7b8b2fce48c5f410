"""Clusters of a run against the features of a sparse autoencoder.

Reads released autoencoders as their libraries write them: folders of SAELens (version 6 and
before), dictionary_learning, sparsify, Gemma Scope; standard, gated, TopK, BatchTopK and JumpReLU;
of the residual stream, MLPs and attention. `embedded` is a small one of the embedded model, after
its third layer. Encodes the run's tokens, checks and shows reconstruction and sparsity, and matches
every cluster to its best feature by F1, beside a null (random sets of the same size and the same
next tokens) and baselines: y alone, k-means of activations, the clusters of the control.

An autoencoder of another model than the run's is refused unless model.name_or_path names that
model, which then reads the run's tokens: the same ids where tokenizers agree, else the same text,
aligned by characters. Best features are then on the cards and in the search of the map (spectro
map, spectro report). The picture: spectro figure <run> kind=sae. Interrupted? The same command
resumes.

  spectro sae runs/demo
  spectro sae runs/demo embedded encode.read_at=context
  spectro sae runs/pythia-14m pythia-70m-deduped-res/blocks.3.hook_resid_post \\
      model.name_or_path=EleutherAI/pythia-70m-deduped
  spectro sae runs/demo/control format=json
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

from spectro.autoencoders.config import EncodeConfig, MatchConfig, ReadingModelConfig

from .command import Command
from .output import NOT_KNOWN, print_json, say, show, table
from .progress import progress
from .reading import Format, StoredRun
from .stored import working_config

if TYPE_CHECKING:  # loads torch
    from spectro.views.autoencoder.stored import StoredMatch

SHOWN_THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
MAX_ROWS = 20
"""Clusters that the table shows, best matched first."""
CURVES = {
    "clusters": "clusters",
    "null": "random sets, same size and y",
    "control": "clusters of the control",
    "control_null": "random sets for the control",
    "y": "clusters, by y alone",
    "cells": "clusters, by k-means of activations",
}


@dataclass(frozen=True, kw_only=True)
class SaeJob:
    """Settings of `spectro sae`."""

    run: StoredRun = field(default_factory=StoredRun)
    """Run with clusters, a part of one, or a folder of clusters."""
    sae: str = "embedded"
    """Folder of the autoencoder, or `embedded`."""
    model: ReadingModelConfig = field(default_factory=ReadingModelConfig)
    """The model that reads the tokens."""
    hook: str | None = None
    """Where it reads, such as blocks.3.hook_resid_post or layers.3.mlp; null: as its files say."""
    accept_mismatch: bool = False
    """Accept another model than its own, and a reconstruction worse than a constant."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """How tokens are encoded."""
    match: MatchConfig = field(default_factory=MatchConfig)
    """How clusters are matched."""
    format: Format = Format.TABLE
    """Output format."""


def _sae(job: SaeJob) -> None:
    from spectro.views.autoencoder.encode import encode  # not for --help
    from spectro.views.autoencoder.match import match_clusters
    from spectro.views.autoencoder.source import source_of
    from spectro.views.run_view import RunView

    view = RunView(job.run.uri)
    source = source_of(
        job.sae, working_config(view.uri).model, job.model, job.encode,
        hook=job.hook, accept_mismatch=job.accept_mismatch,
    )  # fmt: skip
    view.clusters  # noqa: B018 - refused before anything is encoded
    with _progress("encode", job.format) as update:
        encoding = encode(view, source, update)
    with _progress("match", job.format) as update:
        found = match_clusters(view, encoding, job.match, update)
    if job.format is Format.JSON:
        print_json({**found.content, "clusters": found.by_cluster.to_pylist()})
        return
    show(_best(found))
    show(_shares(found.content["curves"]))
    say(*_lines(found), f"{view.store.child(view.folder).uri}/{found.stem}.json")


COMMAND = Command(
    name="sae", config=SaeJob, run=_sae, may_trust=True, positional=("run.uri", "sae"),
    usage="<run> [<autoencoder>] [model.name_or_path=<model>] [key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _progress(name: str, format_: Format) -> AbstractContextManager[Callable[[float, float], None]]:
    """A bar, but none beside an object for programs."""
    return progress(name) if format_ is Format.TABLE else nullcontext(lambda done, total: None)


def _best(found: StoredMatch) -> Table:
    """The best matched clusters."""
    rows = [row for row in found.by_cluster.to_pylist() if row["features"]]
    rows.sort(key=lambda row: -row["f1"][0])
    names = ("cluster", "tokens", "feature", "top", "F1", "precision", "recall", "AUC", "null", "q")
    shown = [
        [
            f"#{row['cluster_id']}", f"{row['size']:,}", str(row["features"][0]),
            f"{row['level'][0]:.0%}",
            *(f"{row[key][0]:.2f}" for key in ("f1", "precision", "recall", "auc")),
            f"{row['null_f1']:.2f}", f"{row['q_value']:.3f}",
        ]
        for row in rows[:MAX_ROWS]
    ]  # fmt: skip
    title = "Best matched clusters (top: share of the strongest tokens; null: mean of random sets)"
    return table(title, names, shown)


def _shares(curves: Mapping[str, Any]) -> Table:
    """Shares at some thresholds."""
    places = [curves["thresholds"].index(threshold) for threshold in SHOWN_THRESHOLDS]
    rows = [
        [name, *(_percent(curves[key][place]) for place in places)]
        for key, name in CURVES.items()
        if key in curves
    ]
    columns = ("share of sets with a match", *(f"F1 >= {each:g}" for each in SHOWN_THRESHOLDS))
    return table("Matched", columns, rows, left=(columns[0],))


def _percent(share: float | None) -> str:
    return NOT_KNOWN if share is None else f"{share:.1%}"


def _lines(found: StoredMatch) -> list[str]:
    """Autoencoder, reconstruction, and the numbers of the match in words."""
    own, c = found.content["autoencoder"], found.content
    stated = own["model"] or "a model that its files do not name"
    config = c["match"]
    return [
        f"{own['layout']} {own['kind']}, {own['num_features']:,} features, of {stated}, read at "
        f"{c['hook']} of {c['model']['name']}",
        f"reconstruction: error {c['fvu']:.3f} of the variance, L0 {c['l0']:.1f}; "
        f"{c['num_read']:,} of {c['num_tokens']:,} clustered tokens read",
        f"{c['num_matched']:,} of {c['num_clusters']:,} clusters have a feature with F1 >= "
        f"{config['threshold']:g}, {c['num_beyond_y']:,} of them beyond their y (q <= "
        f"{config['max_q']:g}); {c['num_features_matched']:,} of {c['num_alive']:,} active "
        "features have such a cluster",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
