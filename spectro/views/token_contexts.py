"""Tokens as people read them: the run's vocabulary, and tokens lit in their contexts."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spectro.measure.checkpoint_copy import on_this_machine
from spectro.models.config import ModelConfig
from spectro.models.load import load_tokenizer
from spectro.tokens.display.context_text import Context, TokenInContext, Vocabulary
from spectro.views.run_view import RunView

logger = logging.getLogger(__name__)


def vocabulary(model: ModelConfig, size: int) -> Vocabulary:
    """How the tokens of a model with `size` ids are shown; ValueError without its tokenizer."""
    return Vocabulary.of(load_tokenizer(on_this_machine(model, None, weights=False)), size)


def known_vocabulary(model: ModelConfig, size: int) -> Vocabulary:
    """The same: by their ids where the tokenizer cannot be had or used, which is logged."""
    try:
        return vocabulary(model, size)
    except (ValueError, OSError) as error:
        logger.warning("tokens are shown by their ids: %s", error)
        return Vocabulary(pieces=None)


def vocabulary_of(view: RunView) -> Vocabulary:
    """How the run's tokens are shown: by their ids where its tokenizer is missing, which is logged.

    Only the tokenizer is loaded.
    """
    model = view.config.get("model", {})
    try:
        config = ModelConfig(
            name_or_path=model.get("name_or_path", ""),
            revision=model.get("revision"),
            gguf_file=model.get("gguf_file"),
        )
    except ValueError as error:
        logger.warning("tokens are shown by their ids: %s", error)
        return Vocabulary(pieces=None)
    return known_vocabulary(config, view.info.vocab_size)


def required_pieces(view: RunView, known: Vocabulary, what: str) -> Sequence[bytes | None]:
    """The bytes of all tokens; raises ValueError, in one line, where they are not known."""
    if known.pieces is None:
        name = view.config.get("model", {}).get("name_or_path")
        raise ValueError(
            f"{what} needs the tokenizer of {view.uri}, whose model {name!r} is missing here: run "
            "this where the model is"
        )
    return known.pieces


def lit_tokens(
    view: RunView,
    token_id_n: npt.NDArray[np.integer],
    known: Vocabulary,
    *,
    before: int = 24,
    after: int = 12,
) -> list[TokenInContext]:
    """Some tokens in their contexts, in their order.

    Raises ValueError for an id that no token has.
    """
    ids = np.asarray(token_id_n, np.int64)
    sequence_id, row_n = np.unique(ids // view.context, return_inverse=True)
    rows, subset = view.sequences(sequence_id)
    return known.lit(
        Context.of(
            rows[row].tolist(), token_id % view.context, token_id=token_id,
            subset=int(subset[row]), before=before, after=after,
        )
        for token_id, row in zip(ids.tolist(), row_n.tolist(), strict=True)
    )  # fmt: skip
