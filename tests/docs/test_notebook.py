"""The notebook runs from its first cell to its last, and its stored pictures stay small."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import pytest

NOTEBOOK = Path(__file__).parent.parent.parent / "notebooks" / "first_look.ipynb"


def test_notebook_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells by `exec`, as one module: no kernel is needed (ADR 077)."""
    matplotlib.use("Agg")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    module: dict[str, object] = {"__name__": "notebook"}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}[{number}]", "exec"), module)
    printed = capsys.readouterr().out
    assert "16 heads" in printed and "tokens, conductance" in printed


def test_stored_outputs_are_small_pictures_without_errors() -> None:
    assert NOTEBOOK.stat().st_size < 300_000
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["nbformat"] == 4
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 2
