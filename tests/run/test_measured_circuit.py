"""The known circuit in a measured run of the shipped attention-only model (ADR 099).

The thresholds are the ADR's, written before any χ was measured. Asserted is what holds in so small
a run: axis 1 has one sign at all heads. It has 34 % of the variance (threshold 50 %), and axis 2
separates the heads with AUC 0.73 (0.9) and the tokens with 0.59 (0.65), axis 3 with 1.00 and 0.69:
nothing is asserted of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

pytestmark = pytest.mark.slow

SMALL = (
    "model=attention_only", "components=[l*h*]", "estimator.kind=restricted",
    "sampler=reweighted", "sampler.nbeta=10", "chain.num_chains=2", "chain.num_draws=4",
    "tokens.num_probe_sequences=2", "control=false", "run.num_workers=0", "run.uri=run",
)  # fmt: skip
"""The command of the result with half of its chains and of its tokens; a minute of a core."""


def test_axis_1_is_of_one_sign_and_heads_are_of_their_kinds(
    job: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert job("sample", *SMALL) == 0
    capsys.readouterr()
    assert job("circuit", "run", "format=json") == 0
    found = json.loads(capsys.readouterr().out)
    kinds = {head["name"]: head["kind"] for head in found["heads"]}
    assert len(kinds) == 16
    assert {name for name, kind in kinds.items() if kind == "induction"} == {"l1h1", "l1h3"}
    assert [name for name, kind in kinds.items() if kind == "previous token"] == ["l0h6"]
    first_H = np.array([head["loadings"][0] for head in found["heads"]])
    assert (first_H > 0).all() or (first_H < 0).all()
