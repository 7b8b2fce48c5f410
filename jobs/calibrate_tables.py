"""Results of a calibration: tables for people, values for JSON, cells for files."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.table import Table

from spectro.calibrate.law import value
from spectro.calibrate.setting import Setting
from spectro.config import to_dict
from spectro.planning.calibration.run import Calibration
from spectro.sampling.pilot.damage import DAMAGED
from spectro.views.drawing.calibration import CalibrationData
from spectro.views.drawing.parts import number

from .plan_tables import duration


def settings_table(found: Calibration) -> Table:
    """A line for each γ and nβ."""
    table = Table(title="γ and nβ", title_justify="left", box=box.SIMPLE_HEAD)
    heads = (
        "gamma", "nbeta", "damage", "ESS", "shared", "reliable", "y", "pattern", "2 × n", "2 × r",
        "tokens", "draws", "held",
    )  # fmt: skip
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for setting in found.settings:
        table.add_row(*_setting_cells(setting), _remark(setting, found))
    table.caption = (
        "ESS: least effective share of a component's draws. Of the pilot's "
        f"{found.num_tokens:,} tokens and most draws: shared, neighbours that disjoint draws find\n"
        "again, over chance; reliable, correlation of the two; y, pattern: neighbours with the "
        "same, patterns over chance. 2 × n, 2 × r: doublings of held neighbours\n"
        "for twice the tokens, twice the draws. tokens, draws, held: the best split of the budget."
    )
    table.caption_justify = "left"
    return table


def splits_table(found: Calibration) -> Table:
    """What the budget pays at the chosen setting."""
    law, choice = found.chosen.law, found.chosen.choice
    assert law is not None and choice is not None
    best = (choice.best.num_tokens, choice.best.num_draws)
    title = f"Splits of {duration(found.budget_seconds)} at gamma {found.chosen.gamma:g}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("draws", "tokens", "cost", "held", "against the best"):
        table.add_column(name, justify="right", no_wrap=True)
    for split in found.splits:
        own = (split.num_tokens, split.num_draws)
        level, error = law.log2_value(*own), law.error_of_difference(own, best)
        against = f"{number(2 ** (level - law.log2_value(*best)))} × 2^±{number(error)}"
        table.add_row(
            str(split.num_draws), f"{split.num_tokens:,}", duration(split.cost_seconds),
            number(2**level, ",.0f"), "best" if own == best else against,
        )  # fmt: skip
    return table


def verdict(found: Calibration) -> list[str]:
    """What is chosen, how sure that is, and what it rests on."""
    chosen, rates = found.chosen, found.device.rates
    law, choice = chosen.law, chosen.choice
    assert law is not None and choice is not None
    best, second = choice.best, choice.runner_up
    lines = [
        f"chosen for {duration(found.budget_seconds)}: {best.num_tokens:,} tokens with "
        f"{best.num_draws} draws each, gamma {chosen.gamma:g}, nbeta {chosen.nbeta:g}, "
        f"{to_dict(found.config.sampler)['kind']}"
    ]
    if second is None:
        lines.append("no other split fits into the budget")
    else:
        lines.append(
            f"runner-up: {second.num_tokens:,} tokens with {second.num_draws} draws, "
            f"{2**choice.margin:.2f} times fewer held neighbours "
            f"({number(choice.margin)} ± {number(choice.error)} doublings)"
            + ("" if choice.is_decided else ": THE PILOT IS TOO SMALL TO TELL THEM APART")
        )
    if best.num_draws == min(split.num_draws for split in found.splits):
        lines.append(
            "the number of draws is the least allowed: raise calibrate.min_draws where the "
            "numbers of single tokens have to be known well (held neighbours understate draws)"
        )
    if not found.is_decided:
        lines.append("another gamma or nbeta may be as good: their difference is within its error")
    lines.append(
        f"law: {number(law.per_token_doubling)} doublings for twice the tokens, half of the "
        f"variance is signal at {number(law.half_draws, '.0f')} draws; residual "
        f"{number(law.residual)}, drift {number(law.drift)} doublings; extrapolated from "
        f"{found.num_tokens:,} tokens by a factor of {best.num_tokens / found.num_tokens:.1f}"
    )
    how = rates.provenance if not rates.measured else f"the pilot's own rate on {rates.device}"
    lines.append(f"cost: {how}; pilot of {duration(found.pilot_seconds)}")
    return lines


def as_dict(found: Calibration) -> dict[str, Any]:
    """All of it, for JSON."""
    return {
        "budget_seconds": found.budget_seconds,
        "num_pilot_tokens": found.num_tokens,
        "pilot_seconds": found.pilot_seconds,
        "is_decided": found.is_decided,
        "verdict": verdict(found),
        "chosen": {"gamma": found.chosen.gamma, "nbeta": found.chosen.nbeta},
        "splits": found.splits,
        "settings": [_plain_setting(setting) for setting in found.settings],
        "rates": found.device.rates,
        "config": to_dict(found.config),
    }


def cells_csv(found: Calibration) -> bytes:
    """A line for each measured cell."""
    sink = io.StringIO()
    lines = list(_cells(found))
    writer = csv.DictWriter(sink, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return sink.getvalue().encode()


def picture(found: Calibration) -> CalibrationData:
    """What the figure shows."""
    return CalibrationData(
        setting=found.chosen, splits=found.splits, budget=duration(found.budget_seconds)
    )


def _cells(found: Calibration) -> Iterator[dict[str, Any]]:
    for setting in found.settings:
        for cell in setting.cells:
            fields = dataclasses.asdict(cell)
            yield {"gamma": setting.gamma, "nbeta": setting.nbeta, **fields, "held": value(cell)}


def _setting_cells(setting: Setting) -> list[str]:
    cells = [f"{setting.gamma:g}", f"{setting.nbeta:g}", number(setting.damage)]
    cells.append(number(setting.effective_fraction))
    if not setting.cells:
        return [*cells, *[""] * 9]
    largest, law = setting.largest, setting.law
    over = (largest.shared - largest.chance) / (1 - largest.chance)
    measured = (over, largest.reliability, largest.purity, largest.pattern_purity)
    cells += [number(each, ".3f") for each in measured]
    if law is None or setting.choice is None:
        return [*cells, *[""] * 5]
    best = setting.choice.best
    doubled = law.log2_value(1, 2 * best.num_draws) - law.log2_value(1, best.num_draws)
    return [
        *cells, number(law.per_token_doubling), number(doubled), f"{best.num_tokens:,}",
        str(best.num_draws), number(2**setting.log2_value, ",.0f"),
    ]  # fmt: skip


def _remark(setting: Setting, found: Calibration) -> str:
    if setting.damage >= DAMAGED:
        return f"{setting.damaged} destroys the model"
    if setting.chained:
        names = ", ".join(setting.chained[:3]) + (" …" if len(setting.chained) > 3 else "")
        return f"needs chains for {names}: {duration(setting.chain_seconds)} more"
    if setting.law is None:
        return "too few neighbours in common to say"
    if setting.choice is None:
        return "nothing fits into the budget"
    return "chosen" if setting is found.chosen else ""


def _plain_setting(setting: Setting) -> dict[str, Any]:
    law, choice = setting.law, setting.choice
    return {
        **{
            name: getattr(setting, name)
            for name in (
                "gamma", "nbeta", "damage", "damaged", "effective_fraction", "chain_seconds",
            )
        },
        "chained": setting.chained,
        "cells": setting.cells,
        "law": None
        if law is None
        else {
            "coefficients": law.coefficient_3,
            "covariance": law.covariance_33,
            "half_draws": law.half_draws,
            "residual": law.residual,
            "drift": law.drift,
        },
        "choice": choice,
    }  # fmt: skip
