"""Rates of the cluster stage: every figure says where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from spectro.planning.cluster_rates import WIDTHS, WidthFigure, load_cluster_rates
from spectro.planning.rates import RATES_FOLDER

FILE = RATES_FOLDER / "clusters.yaml"
SHIPPED = load_cluster_rates(FILE)


@pytest.mark.parametrize(
    ("widths", "cost"),
    [
        (SHIPPED.approximate_row, SHIPPED.approximate_seconds),
        (SHIPPED.exact_pair, SHIPPED.exact_seconds),
    ],
)
def test_widths_between_and_beyond_those_of_the_file(
    widths: tuple[WidthFigure, ...], cost: Callable[[int], float]
) -> None:
    for figure in widths:
        assert cost(figure.columns) == pytest.approx(figure.value)
    costs = [cost(n) for n in (1, 32, 48, 64, 300, 410, 820)]
    assert costs == sorted(costs)
    assert costs[-1] == pytest.approx(2 * widths[-1].value)


def test_figures_that_are_assumed_are_named() -> None:
    plain = yaml.safe_load(FILE.read_text())
    figures = {n: f for n, f in plain.items() if isinstance(f, dict)}
    for name in WIDTHS:
        figures |= {f"{name} at {f['columns']}": f for f in plain[name]}
    assumed = {name for name, figure in figures.items() if not figure["measured"]}
    assert set(SHIPPED.unmeasured) == assumed
    assert all(figure["source"] for figure in figures.values())
    assert ("NOT MEASURED" in SHIPPED.provenance) == bool(assumed)


def engine_for_machine(rates: dict[str, Any]) -> None:
    rates["engine"] = rates.pop("machine")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (engine_for_machine, "missing or unknown: engine, machine"),
        (
            lambda rates: rates["search_bytes"].update(value=-1),
            "search_bytes: value must be a number > 0, found -1",
        ),
        (lambda rates: rates["search_bytes"].update(value="1e-7"), "1e-7 is text"),
        (
            lambda rates: rates["entries_per_neighbour"].update(value=2.5),
            "entries_per_neighbour must be from 1 to 2",
        ),
        (lambda rates: rates["approximate_row"].reverse(), "must rise with columns"),
        (lambda rates: rates["approximate_row"][0].update(width=1), "approximate_row: .*width"),
        (lambda rates: rates["seed"].update(measured="perhaps"), "must be true or false"),
    ],
)
def test_bad_files_are_refused_in_one_line(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    rates = yaml.safe_load(FILE.read_text())
    spoil(rates)
    (tmp_path / "rates.yaml").write_text(yaml.safe_dump(rates))
    with pytest.raises(ValueError, match=message) as error:
        load_cluster_rates(tmp_path / "rates.yaml")
    assert "\n" not in str(error.value)


def test_no_file_and_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        load_cluster_rates(tmp_path / "rates.yaml")
    (tmp_path / "rates.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="is no file of cluster rates"):
        load_cluster_rates(tmp_path / "rates.yaml")
