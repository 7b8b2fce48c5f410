"""Reads a text of a run, or measures one along its draws, for `views/text/document.py`.

    view = RunView("runs/demo")
    render(document_of_sequence(view, 12, components=["l1h3", "l2mlp"]))

Shapes: N tokens of the text, M = N − 1 of them measured (all but the first), H components of the
run, C those that can be shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from spectro.config import PipelineConfig
from spectro.formats.product import read_shard
from spectro.susceptibility.interval import Interval, interval_words
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.terminal_text import plain_string
from spectro.views.columns import run_columns
from spectro.views.run_view import RunView
from spectro.views.text.cost import cost_of
from spectro.views.text.document import Document
from spectro.views.text.measured_text import MeasuredText, RunDraws
from spectro.views.text.scales import NEEDS_ALL
from spectro.views.token_contexts import vocabulary_of

logger = logging.getLogger(__name__)
OnCost = Callable[[str], None]
OnProgress = Callable[[float, float], None]


def document_of_sequence(
    view: RunView,
    sequence: int,
    *,
    components: Sequence[str] = (),
    known: Vocabulary | None = None,
) -> Document:
    """A sequence of the run with its stored χ; nothing is computed.

    Args:
        view: a measured run.
        sequence: sequence id.
        components: names or patterns of those that can be shown; none: all.
        known: the vocabulary, read here if not given; without a tokenizer tokens are shown by their
            numbers.

    Raises ValueError, in one line, for a sequence or component that the run does not have, and a
    sequence that is not measured yet.
    """
    rows, subset = view.sequences(np.array([sequence]))
    shard = view.shard_of(sequence)
    view.require_measured([shard])
    own = run_columns(view)
    offered = own.matching(components or ["*"])
    part = read_shard(view.store, shard, ("token_id", "loss"))
    first = int(np.flatnonzero(part.column("token_id") == sequence * view.context)[0])
    own_rows = slice(first, first + view.context)
    chi_MH = part.chi_NH[own_rows]
    ids = rows[0]
    name = plain_string(view.subset_names[int(subset[0])])
    return Document(
        title=f"Sequence {sequence} of {plain_string(view.name)}",
        facts=(
            *_facts(view),
            ("Text", f"sequence {sequence}, subset {name}"),
            ("Measured", "by the run"),
        ),
        token_N=ids,
        context=view.context,
        loss_N=_with_first(part.column("loss")[own_rows]),
        components=tuple(own.names[column] for column in offered),
        chi_NC=_with_first(chi_MH[:, offered]),
        error_NC=None,
        interval=view.interval,
        columns=own.some(offered),
        row_mean_N=_with_first(own.row_mean(chi_MH)),
        shown=own.first_shown(offered, bool(components)),
        piece_N=_inside(known or vocabulary_of(view), ids),
    )


def document_of_text(
    view: RunView,
    config: PipelineConfig,
    text: str,
    name: str,
    *,
    components: Sequence[str] = (),
    max_tokens: int | None = None,
    centred: bool = False,
    on_cost: OnCost = logger.info,
    on_progress: OnProgress | None = None,
) -> Document:
    """A text from outside the run, measured along its draws; the run is not changed.

    Args:
        view: a measured run whose draws are there.
        config: of the run: model, tokenizer, sampler and chains.
        text: the text.
        name: its title.
        components: names or patterns of those that are measured; none: the three best
            (`RunColumns.best`).
        max_tokens: longer texts are refused; None: no limit.
        centred: whether it is to be row-centred, which needs all components.
        on_cost: called with the cost of measuring, in one line, before it begins.
        on_progress: called with (work done, work in all).

    Raises ValueError, in one line and before anything is measured, for a text of less than two
    tokens or too many, a component that the run does not have, a scale that needs more of them, a
    model that is not there or is another, or draws that are gone.
    """
    own = run_columns(view)
    measured = own.matching(components) if components else list(own.best(range(len(own.names))))
    complete = len(measured) == len(own.names)
    if centred and not complete:
        raise ValueError(NEEDS_ALL)
    names = tuple(own.names[column] for column in measured)
    run_draws = RunDraws(view, config)
    run_draws.require_draws(names)
    ids = run_draws.tokenised(text, name, max_tokens)
    on_cost(cost_of(run_draws, len(ids), names).line)
    found = run_draws.measure(ids, names, on_progress)
    whole = found.chi_MC[:, np.argsort(measured)] if complete else None
    return Document(
        title=plain_string(name),
        facts=(*_facts(view), ("Text", f"{len(ids):,} tokens"), ("Measured", _how(found))),
        token_N=ids,
        context=view.context,
        loss_N=_with_first(found.loss_M),
        components=names,
        chi_NC=_with_first(found.chi_MC),
        error_NC=_with_first(found.error_MC) if np.isfinite(found.error_MC).any() else None,
        interval=Interval.over_chains(found.num_chains),
        columns=own.some(measured),
        row_mean_N=None if whole is None else _with_first(own.row_mean(whole)),
        shown=own.first_shown(measured, bool(components)),
        piece_N=vocabulary_of(view).in_text(ids.tolist()),
    )


def _how(found: MeasuredText) -> str:
    return f"along the run's draws, ±: {interval_words(found.num_chains)}"


def _facts(view: RunView) -> tuple[tuple[str, str], ...]:
    model = str(view.config.get("model", {}).get("name_or_path", "not known"))
    shown = "the embedded model" if model == "embedded" else plain_string(model.split("/")[-1])
    part = f"{len(view.measured)} of {view.num_shards} token shards are measured"
    return (
        ("Run", plain_string(view.name)),
        ("Model", shown),
        ("Context", f"{view.context} tokens"),
        *(() if view.is_complete else (("Means and deviations", f"of what is there: {part}"),)),
    )


def _with_first(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The first token, which is context alone, has none."""
    first = np.full((1, *values.shape[1:]), np.nan, values.dtype)
    return np.concatenate([first, values])


def _inside(known: Vocabulary, ids: npt.NDArray[np.integer]) -> list[bytes | None] | None:
    """Bytes of the tokens of a sequence of a run, which is cut from the middle of texts."""
    if known.pieces is None:
        return None
    return [known.pieces[token] for token in ids.tolist()]
