"""Tokens as people read them: the run's vocabulary, and tokens lit in their contexts."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spectro.models.config import ModelConfig
from spectro.tokens.display.context_text import TokenInContext, Vocabulary
from spectro.views.page.cluster_examples import contexts
from spectro.views.page.config import ReportConfig
from spectro.views.page.inputs import Probe
from spectro.views.page.write import known_vocabulary
from spectro.views.run_view import RunView

logger = logging.getLogger(__name__)


def vocabulary_of(view: RunView) -> Vocabulary:
    """How the run's tokens are shown: by their ids where its model is not at hand, which is logged.

    Only the tokenizer is loaded.
    """
    model = view.config.get("model", {})
    try:
        config = ModelConfig(
            name_or_path=model.get("name_or_path", ""), revision=model.get("revision")
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
            f"{what} needs the tokenizer of {view.uri}, whose model {name!r} is not at hand: run "
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
    sequence_id = np.unique(ids // view.context)
    rows, subset = view.sequences(sequence_id)
    probe = Probe(
        sequence_id_S=sequence_id, ids_ST1=rows, subset_S=subset, subset_names=view.subset_names
    )
    room = ReportConfig(tokens_before=before, tokens_after=after)
    return known.lit(contexts(probe, ids, room))
