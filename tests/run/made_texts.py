"""What tests of measured texts compare with: sequences of the run, as its product has them."""

from __future__ import annotations

import numpy as np

from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.product import read_product
from spectro.pipeline.run import Goal, run_pipeline
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary
from spectro.work.progress import Progress

CLOSE = 2e-5
"""Of the deviation of χ: sums of float32 over batches of other sizes end in other bits, and χ is
their difference (tests/run/test_more.py allows the same)."""


def text_of(config: PipelineConfig, ids: np.ndarray) -> str:
    """What the tokens say; every token of this tokenizer is a byte, so that it gives them back."""
    pieces = vocabulary(config.model, 257).pieces or []
    return b"".join(pieces[token] or b"" for token in ids.tolist()).decode()


def of_sequence(view: RunView, sequence: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, χ and loss of a sequence, as the product has them."""
    product, ids = read_product(view.store), tokens.read_split(view.root, "probe").ids_ST1
    own = product.column("sequence_id") == sequence
    return ids[sequence], product.chi_NH[own], product.column("loss")[own]


def measured(config: PipelineConfig) -> PipelineConfig:
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    return config


def require_close(view: RunView, found: np.ndarray, expected: np.ndarray) -> None:
    scale = read_product(view.store).chi_NH.std()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= CLOSE * scale
