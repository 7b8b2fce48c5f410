"""The sweep of ε × nβ × γ: its table, its file, and the experiment of the best cell."""

from __future__ import annotations

import dataclasses
from collections import Counter

from rich import box
from rich.console import Console
from rich.table import Table

from spectro.config import PipelineConfig, to_dict
from spectro.planning.calibration.chain_sweep import ChainCell, best_cell, sweep
from spectro.planning.calibration.config import CalibrateConfig
from spectro.planning.calibration.cost import CostModel
from spectro.planning.calibration.pilot import Pilot
from spectro.planning.rates import Rates
from spectro.views.drawing.parts import number

from .output import json_text, plain
from .plan_tables import duration


def calibrate_chains(
    config: PipelineConfig, settings: CalibrateConfig, rates: Rates | None, console: Console
) -> tuple[PipelineConfig, bytes, list[str]]:
    """Run the sweep and show it; the run of the best cell, all cells as JSON, the verdict.

    Raises ValueError, in one line, where no step can be used or nothing fits into the budget.
    """
    pilot = Pilot.of(config, settings)
    cells = sweep(pilot, lambda what: console.print(f"measuring: {what}"))
    console.print(cells_table(cells))
    best = best_cell(cells)
    sampler = best.sampler
    name, worst = best.worst
    if best.num_wrong:
        raise ValueError(
            f"no step size of calibrate.step_sizes can be used: the best of {len(cells)} cells, "
            f"{best.name}, has "
            f"{best.num_wrong} components that fail, {name}: {worst.value}; {best.change}"
        )
    device = pilot.device(rates, ())
    market = CostModel(config=config, size=pilot.size, device=device)
    num_draws = config.chain.num_chains * config.chain.num_draws
    split = market.most_tokens(sampler, (), num_draws, settings)
    if split.num_tokens < settings.min_tokens:
        raise ValueError(
            f"a budget of {settings.budget_seconds:g} seconds pays {split.num_tokens} tokens with "
            f"{num_draws} stepped draws each, fewer than calibrate.min_tokens "
            f"({settings.min_tokens}): raise the budget, or lower chain.num_draws"
        )
    tokens = dataclasses.replace(config.tokens, num_probe_sequences=split.num_sequences)
    lines = [
        f"chosen: {best.name}; worst component {name}: {worst.value}",
        f"{split.num_tokens:,} tokens with {num_draws} draws each in "
        f"{duration(split.cost_seconds)} ({device.rates.provenance}); draws are those of chain.*: "
        "the law of tokens and draws is measured with independent draws only",
    ]
    rows = [
        {**plain(cell), "sampler": to_dict(cell.sampler), "num_wrong": cell.num_wrong}
        for cell in cells
    ]
    found = json_text({"cells": rows, "verdict": lines}).encode()
    return dataclasses.replace(config, sampler=sampler, tokens=tokens), found, lines


def cells_table(cells: list[ChainCell]) -> Table:
    """A line for each cell."""
    table = Table(title="Short chains", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("step size", "nbeta", "gamma", "wrong", "draws per gradient", "bias"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdicts", overflow="fold")
    for cell in cells:
        counts = Counter(v.value for v in cell.verdicts.values()).most_common()
        one = cell.sampler
        table.add_row(
            f"{one.step_size:g}", f"{one.nbeta:g}", f"{one.gamma:g}", str(cell.num_wrong),
            number(cell.effective_per_gradient, ".3f"), number(cell.bias_deviations),
            "; ".join(f"{count} × {verdict}" for verdict, count in counts),
        )  # fmt: skip
    table.caption = (
        "wrong: components with a verdict against the cell. draws per gradient: independent draws "
        "that a gradient is worth, the least of a component. bias: the largest of a component's "
        "E[ΔL], in deviations of the posterior, where it is known."
    )
    table.caption_justify = "left"
    return table
