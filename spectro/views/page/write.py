"""The page of a run, from storage to storage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict

from spectro.config import PipelineConfig
from spectro.formats.derived_objects import put_derived
from spectro.formats.object_kinds import page_names
from spectro.models.config import ModelConfig
from spectro.models.load import load_tokenizer
from spectro.storage.store import ObjectInfo, Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.page.page import render
from spectro.views.page.read_inputs import read_report_inputs
from spectro.views.page.read_ledger import read_ledger
from spectro.views.run_view import RunView

logger = logging.getLogger(__name__)


def write_page(
    root: Store,
    config: PipelineConfig,
    probe_sha256: str,
    on_progress: Callable[[float, float], None],
) -> None:
    """Put the page of `run.clusters`, then its size, checksum and the tokens that it is of."""
    page, marker = page_names(config.run.clusters)
    view = RunView(root.child(config.run.clusters).uri)
    ledger = read_ledger(view, config)
    inputs = read_report_inputs(
        view, known_vocabulary(config.model, view.info.vocab_size), config.report, ledger
    )
    on_progress(0.8, 1.0)
    data = render(inputs, config.report).encode()
    root.delete(marker)  # of another page, or none
    root.delete(page)
    root.put(page, data)
    put_derived(root, marker, {"page": asdict(ObjectInfo.of(data))}, probe_sha256)


def vocabulary(model: ModelConfig, size: int) -> Vocabulary:
    """How the tokens of a model with `size` ids are shown; ValueError without its tokenizer."""
    return Vocabulary.of(load_tokenizer(model), size)


def known_vocabulary(model: ModelConfig, size: int) -> Vocabulary:
    """The same: by their ids where the tokenizer cannot be had or used, which is logged."""
    try:
        return vocabulary(model, size)
    except (ValueError, OSError) as error:
        logger.warning("tokens are shown by their ids: %s", error)
        return Vocabulary(pieces=None)
