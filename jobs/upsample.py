"""χ of tokens that were never measured, at the cost of one clean pass of the model, and denoised χ
of the measured ones.

Networks learn χ of the measured run from features of the clean pass; the new run is an ordinary
one, with a standard deviation for every number in deviations/, which cluster, report, map, query,
compare, status and verify read like any other. Its first tokens are the measured ones;
tokens.num_probe_sequences counts them too, and asking for more later appends.

Predictions are judged on held-out token shards along held-out draws, never along the draws they
have learnt. Where every shard has its own draws (chain.draws=per_shard) measured χ is denoised;
where shards share their draws it stays as measured. Interrupted? The same command resumes.

  spectro upsample runs/demo runs/demo-more tokens.num_probe_sequences=256
  spectro upsample runs/demo runs/demo-books tokens.num_probe_sequences=64 \\
      "+tokens.subsets={books: {kind: jsonl, path: books.jsonl}}"
  spectro cluster runs/demo-more
  spectro plan experiment=pythia_1_4b_fast plan.rates=h200-assumed plan.upsample_tokens=46000000
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from spectro.config import PipelineConfig, SamplerConfig
from spectro.formats.product import SUMMARY_NAME
from spectro.predict.config import PredictConfig
from spectro.sampling.control import Control
from spectro.sampling.reweighted import Reweighted
from spectro.storage.checksummed_json import read_sealed, with_nan
from spectro.storage.credentials import refuse_credentials
from spectro.storage.locations import resolve_location
from spectro.storage.store import Store
from spectro.tokens.config import MoreConfig, Source
from spectro.work.config import RunConfig
from spectro.work.stage import Goal

from .command import Command
from .output import NOT_KNOWN, say, show, table
from .stored import explicit, working_config

MAX_ROWS = 40
"""Columns that the table shows; the summary has all."""


@dataclass(frozen=True, kw_only=True)
class Upsampled:
    """The run that is made."""

    uri: str
    """Its folder or URI; made if absent, continued if it holds the same."""

    def __post_init__(self) -> None:
        refuse_credentials(self.uri, "upsample.uri")
        resolve_location(self.uri, "upsample.uri")


@dataclass(frozen=True, kw_only=True)
class NewTokens:
    """Tokens whose χ is predicted, beside those that were measured."""

    num_probe_sequences: int | None = None
    """Sequences per subset, those that were measured included; None: the measured ones alone."""
    subsets: dict[str, Source] = field(default_factory=dict)
    """Which subsets are added to: sources by name, also new ones. Empty: the measured run's own."""
    sequences_per_shard: int | None = None
    """Sequences per added token shard; None: as the measured run has it."""

    def more(self) -> MoreConfig | None:
        """The same as an addition to a run; raises ValueError for subsets without a number."""
        if self.num_probe_sequences is None:
            if self.subsets:
                raise ValueError(
                    "tokens.subsets says which subsets are predicted: give "
                    "tokens.num_probe_sequences with it"
                )
            return None
        return MoreConfig(
            num_probe_sequences=self.num_probe_sequences,
            subsets=self.subsets,
            sequences_per_shard=self.sequences_per_shard,
        )


@dataclass(frozen=True, kw_only=True)
class UpsampleJob:
    """Settings of `spectro upsample`."""

    run: RunConfig
    """Folder of the measured run; how the work is executed."""
    upsample: Upsampled
    """The run that is made."""
    tokens: NewTokens = field(default_factory=NewTokens)
    """Tokens that are predicted."""
    predict: PredictConfig = field(default_factory=PredictConfig)
    """How χ is learnt."""


def _upsample(job: UpsampleJob) -> object:
    from .run_goal import run_goal  # torch and Ray: not for --help

    config = upsampled_config(job)
    finished = run_goal(config, Goal.SAMPLE)
    known = with_nan(read_sealed(Store(config.run.uri), SUMMARY_NAME)["upsampled"])
    show(held_out_table(known["held_out"]))
    say(*lines(known))
    return finished


COMMAND = Command(
    name="upsample", config=UpsampleJob, run=_upsample, may_trust=True, root="upsample_job",
    usage="<measured run> <new run> [tokens.num_probe_sequences=N] [predict.key=value ...]",
    positional=("run.uri", "upsample.uri"),
)  # fmt: skip
main = COMMAND.main


def upsampled_config(job: UpsampleJob) -> PipelineConfig:
    """The configuration of the run that is made: the measured run's, with what predicts it.

    Raises ValueError, in one line, for a run that cannot be learnt from.
    """
    from spectro.upsampling.checks import learnt_from  # torch: not for --help

    measured = working_config(job.run.uri)
    measured = dataclasses.replace(measured, run=dataclasses.replace(measured.run, uri=job.run.uri))
    if resolve_location(job.upsample.uri) == resolve_location(job.run.uri):
        raise ValueError(
            f"upsample.uri is {job.upsample.uri}, the measured run itself: predicted "
            "susceptibilities go to a folder of their own"
        )
    run = explicit("run", measured.run, job.run, always=("debug",))
    return dataclasses.replace(
        measured,
        upsample=learnt_from(measured, job.predict),
        run=dataclasses.replace(run, uri=resolve_location(job.upsample.uri)),
        more=job.tokens.more(),
        sampler=alone(measured.sampler),
        control=Control.NONE,
        observables={},
    )


def alone(sampler: SamplerConfig) -> SamplerConfig:
    """The sampler without further nβ: what is predicted is the run's own χ."""
    if isinstance(sampler, Reweighted):
        return dataclasses.replace(sampler, also_nbeta=())
    return sampler


def held_out_table(held_out: Mapping[str, Any]) -> Table:
    """Correlation with measured χ of held-out shards along held-out draws, by column."""
    from spectro.predict.held_out import COLUMNS  # as above

    truths = [_truth(held_out, prefix) for prefix in ("", "specific_")]
    rows = [
        [name, *_texts([held_out[k][row] for k in COLUMNS], [truth[row] for truth in truths])]
        for row, name in enumerate(held_out["components"][:MAX_ROWS])
    ]
    medians = _texts([_median(held_out[key]) for key in COLUMNS], list(map(_median, truths)))
    names = ("r", "ceiling", "of the truth", "specific r", "ceiling", "of the truth", "covered")
    title = f"Held-out shards along held-out draws ({held_out['num_tokens']:,} tokens)"
    columns = ("component", *names)
    return table(title, columns, rows, left=("component",), total=["median", *medians])


def lines(known: Mapping[str, Any]) -> list[str]:
    """Numbers of tokens, and the columns of the table in words."""
    held_out = known["held_out"]
    denoised = "denoised" if held_out["own_draws"] else "as measured (its shards share their draws)"
    return [
        f"{known['num_predicted_tokens']:,} tokens predicted, {known['num_measured_tokens']:,} "
        f"{denoised}",
        "r: predicted with measured susceptibilities; ceiling: what the truth would have; covered: "
        "share of measured ones within the stated 95 % intervals",
    ]


def _truth(held_out: Mapping[str, Any], prefix: str) -> list[float]:
    pairs = zip(held_out[f"{prefix}r"], held_out[f"{prefix}ceiling"], strict=True)
    return [r / ceiling if ceiling > 0 else np.nan for r, ceiling in pairs]


def _texts(values: Sequence[float], truths: Sequence[float]) -> list[str]:
    r, ceiling, specific_r, specific_ceiling, coverage = values
    numbers = (r, ceiling, truths[0], specific_r, specific_ceiling, truths[1], coverage)
    return [NOT_KNOWN if not np.isfinite(value) else f"{value:.2f}" for value in numbers]


def _median(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else float("nan")


if __name__ == "__main__":
    raise SystemExit(main())
