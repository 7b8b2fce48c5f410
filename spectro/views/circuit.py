"""The induction circuit in a run: χ of its heads beside what they do, for one page (ADR 099).

The model is loaded: head scores are read from its attention, and from its loss without each head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spectro.analysis.circuit import Circuit, circuit
from spectro.analysis.head_scores import HeadScores, head_scores
from spectro.analysis.patterns import Traits, induction
from spectro.analysis.principal_axes import principal
from spectro.analysis.repeated_tokens import repeated_tokens
from spectro.analysis.response_matrix import (
    ResponseMatrix,
    TokenBlock,
    moments_of,
    response_matrix,
)
from spectro.analysis.response_scale import ResponseScale
from spectro.analysis.scaling import Scaling
from spectro.config import PipelineConfig
from spectro.models.components import ComponentKind
from spectro.views.config import MatrixRows
from spectro.views.matrix import TokenSets, blocks_of, sets_of
from spectro.views.page.known_kinds_sample import sampled_sequences
from spectro.views.run_view import RunView
from spectro.views.text.measured_text import RunDraws
from spectro.views.token_contexts import required_pieces, vocabulary_of
from spectro.work.model_info import model_of


@dataclass(frozen=True, kw_only=True)
class CircuitData:
    """What the page shows."""

    circuit: Circuit
    matrix: ResponseMatrix
    """Pattern types or subsets × heads."""


def circuit_of(
    view: RunView,
    config: PipelineConfig,
    *,
    rows: MatrixRows = MatrixRows.PATTERNS,
    num_axes: int = 3,
    num_sequences: int = 64,
    length: int = 64,
) -> CircuitData:
    """Head scores, principal axes of the heads' columns, and their response matrix.

    Args:
        view: the run.
        config: as its `run.yaml` has it; names the model.
        rows: sets of tokens of the matrix.
        num_axes: at least 2.
        num_sequences, length: of the random tokens that head scores are taken on.

    Raises ValueError, in one line, for a run of fewer than two heads, a model that is not the
    run's, and as `matrix`.
    """
    known = vocabulary_of(view)
    sets = sets_of(view, rows, len(view.components), known)
    traits = Traits.of(required_pieces(view, known, "the circuit"))
    scores = _scores(view, config, num_sequences, length)
    columns = [view.components.index(name) for name in scores.components]

    def blocks() -> Iterator[TokenBlock]:
        return _of_columns(view, sets, columns)

    moments = moments_of(blocks, covariances=True)
    scale = ResponseScale.of(moments, Scaling.STANDARDISED)
    axes = principal(moments, scale, scores.components, num_axes)
    sequence_id_S = sampled_sequences(view)
    token_id_N = (sequence_id_S[:, None] * view.context + np.arange(view.context)).reshape(-1)
    is_repeat_N = induction(traits, view.sequences(sequence_id_S)[0]).reshape(-1)
    return CircuitData(
        circuit=circuit(scores, axes, view.chi(token_id_N)[:, columns], is_repeat_N),
        matrix=response_matrix(
            blocks, sets.names, scores.components, num_strata=len(view.subset_names)
        ),
    )


def _scores(view: RunView, config: PipelineConfig, num_sequences: int, length: int) -> HeadScores:
    found = model_of(view.file, view.uri).select(config.components)
    places = {
        c.name: (c.layer, c.head)
        for c in found
        if c.kind is ComponentKind.HEAD and c.layer is not None and c.head is not None
    }
    if len(places) < 2:
        raise ValueError(
            f"{view.uri} has {len(places)} attention heads among its components: the circuit needs "
            "at least two, as in components=['l*h*']"
        )
    draws = RunDraws(view, config)
    model = draws.resident.hf_model
    ids_ST1 = repeated_tokens(
        int(model.config.vocab_size), num_sequences=num_sequences, length=length
    ).to(model.device)
    parts = (draws.resident.part(group) for group in draws.groups(tuple(places)))
    return head_scores(model, parts, places, ids_ST1)


def _of_columns(view: RunView, sets: TokenSets, columns: list[int]) -> Iterator[TokenBlock]:
    for block in blocks_of(view, sets):
        yield dataclasses.replace(block, chi_NH=block.chi_NH[:, columns])
