"""`spectro upsample run.uri=<measured run> upsample.uri=<new run>`: χ of tokens never measured."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jobs.launch import launch
from jobs.stored import explicit, stored_config
from jobs.terminal import run_and_tell
from spectro.config import PipelineConfig, RunConfig, SamplerConfig
from spectro.formats.product import SUMMARY_NAME
from spectro.measure.control import Control
from spectro.pipeline.run import Finished, Goal
from spectro.predict.config import PredictConfig
from spectro.predict.held_out import COLUMNS
from spectro.sampling.reweighted import Reweighted
from spectro.storage.checksummed_json import read_sealed, with_nan
from spectro.storage.credentials import refuse_credentials
from spectro.storage.places import place
from spectro.storage.store import Store
from spectro.tokens.config import MoreConfig, Source
from spectro.upsampling.checks import learnt_from

ROWS = 40
"""Columns that the table shows; the summary has all."""


@dataclass(frozen=True, kw_only=True)
class Upsampled:
    """The run that is made."""

    uri: str
    """Its folder or URI; made if absent, continued if it holds the same."""

    def __post_init__(self) -> None:
        refuse_credentials(self.uri, "upsample.uri")
        place(self.uri, "upsample.uri")


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
    """A measured run, the run that is predicted from it, and how."""

    run: RunConfig
    """Folder of the measured run; how the work is executed."""
    upsample: Upsampled
    """The run that is made."""
    tokens: NewTokens = field(default_factory=NewTokens)
    """Tokens that are predicted."""
    predict: PredictConfig = field(default_factory=PredictConfig)
    """How χ is learnt."""


def main() -> int:
    """Compose, run; returns the exit status."""
    return launch("upsample", "upsample_job", UpsampleJob, _upsample)


def _upsample(job: UpsampleJob) -> Finished:
    config = upsampled_config(job)
    finished = run_and_tell(config, Goal.SAMPLE)
    console = Console(soft_wrap=True)
    known = with_nan(read_sealed(Store(config.run.uri), SUMMARY_NAME)["upsampled"])
    console.print(held_out_table(known["held_out"]))
    for line in lines(known):
        console.print(line, highlight=False, markup=False)
    return finished


def upsampled_config(job: UpsampleJob) -> PipelineConfig:
    """The configuration of the run that is made: the measured run's, with what predicts it.

    Raises ValueError, in one line, for a run that cannot be learnt from.
    """
    measured = stored_config(job.run.uri)
    measured = dataclasses.replace(measured, run=dataclasses.replace(measured.run, uri=job.run.uri))
    if place(job.upsample.uri) == place(job.run.uri):
        raise ValueError(
            f"upsample.uri is {job.upsample.uri}, the measured run itself: predicted "
            "susceptibilities go to a folder of their own"
        )
    run = explicit("run", measured.run, job.run, always=("debug",))
    return dataclasses.replace(
        measured,
        upsample=learnt_from(measured, job.predict),
        run=dataclasses.replace(run, uri=place(job.upsample.uri)),
        more=job.tokens.more(),
        sampler=alone(measured.sampler),
        control=Control.NONE,
    )


def alone(sampler: SamplerConfig) -> SamplerConfig:
    """The sampler without further nβ: what is predicted is the run's own χ."""
    if isinstance(sampler, Reweighted):
        return dataclasses.replace(sampler, also_nbeta=())
    return sampler


def held_out_table(held_out: Mapping[str, Any]) -> Table:
    """Correlation with measured χ of held-out shards along held-out draws, by column."""
    shown = held_out["components"][:ROWS]
    table = Table(
        title=f"Held-out shards along held-out draws ({held_out['num_tokens']:,} tokens)",
        title_justify="left",
    )
    table.add_column("component")
    names = ("r", "ceiling", "of the truth", "specific r", "ceiling", "of the truth", "covered")
    for name in names:
        table.add_column(name, justify="right")
    for row, name in enumerate(shown):
        table.add_row(name, *_cells([held_out[key][row] for key in COLUMNS], held_out, row))
    table.add_section()
    medians = [_median(held_out[key]) for key in COLUMNS]
    truths = [_median(_truth(held_out, p)) for p in ("", "specific_")]
    table.add_row("median", *_texts(medians, truths))
    return table


def lines(known: Mapping[str, Any]) -> list[str]:
    """What the run has, and what the table says, in words."""
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


def _cells(values: Sequence[float], held_out: Mapping[str, Any], row: int) -> list[str]:
    return _texts(values, [_truth(held_out, prefix)[row] for prefix in ("", "specific_")])


def _texts(values: Sequence[float], truths: Sequence[float]) -> list[str]:
    r, ceiling, specific_r, specific_ceiling, coverage = values
    numbers = (r, ceiling, truths[0], specific_r, specific_ceiling, truths[1], coverage)
    return ["–" if not np.isfinite(value) else f"{value:.2f}" for value in numbers]


def _median(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else float("nan")


if __name__ == "__main__":
    sys.exit(main())
