"""Δℓ of draws: per-token loss under displaced weights minus the loss at w*.

ℓ(w*) cancels exactly in χ; taking it off here, per token and by the same arithmetic, keeps the
precision that sums of raw losses would lose (design §1). Draws of all components of a group,
whatever their chain, fill one pass through the layers above together (design §3.3).

Shapes: n sequences, T positions, R draws of one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from spectro.models.architecture import GroupModel, Weights
from spectro.models.cost.budget import CPU_ROWS, RowBudget, draws_at_once
from spectro.models.scoring import Scoring


class ReadDraws(Protocol):
    """What scoring needs of a chain's draws."""

    def read(self, component: str, draws: slice) -> Weights:
        """Displacements of some of a component's draws, [R, *block shape] by block."""
        ...


@dataclass(frozen=True)
class DrawSlice:
    """Some draws of one component of one chain."""

    chain: int
    component: str
    draws: slice


def sequence_batches(ids_nT1: Tensor, scoring: Scoring) -> Iterator[slice]:
    """Slices of sequences that are prepared together; the budget is read for each."""
    num_seq, length = ids_nT1.shape
    start = 0
    while start < num_seq:
        stop = min(start + max(1, scoring.positions // (length - 1)), num_seq)
        yield slice(start, stop)
        start = stop


def next_batch(done_n: Tensor, end: int, ids_nT1: Tensor, scoring: Scoring) -> tuple[slice, int]:
    """Sequences that are scored next, as many as are prepared together, and the draws they have.

    Those along as many draws as the first that lacks some: a batch that was broken off goes on, in
    smaller batches where memory ran out meanwhile.

    Args:
        done_n: draws along which each sequence was scored, int64 [n]; some have fewer than `end`.
        end: draws that all are to have.
        ids_nT1: int64 [n, T+1].
        scoring: how losses are computed.
    """
    start = int(torch.nonzero(done_n < end)[0])
    done = int(done_n[start])
    others = torch.nonzero(done_n[start:] != done).flatten()
    stop = start + int(others[0]) if len(others) else len(done_n)
    return slice(start, start + next(sequence_batches(ids_nT1[start:stop], scoring)).stop), done


@torch.no_grad()
def clean_losses(part: GroupModel[Any], ids_nT1: Tensor, budget: RowBudget | None = None) -> Tensor:
    """ℓ(w*) of every token, [n, T] in nats."""
    scoring = Scoring(budget=budget or RowBudget(rows=CPU_ROWS))
    return torch.cat(
        [
            part.clean_losses(part.prepare(ids_nT1[batch]))
            for batch in sequence_batches(ids_nT1, scoring)
        ]
    )


@torch.no_grad()
def pack_losses(
    part: GroupModel[Any],
    ids_bT1: Tensor,
    sources: Mapping[int, ReadDraws],
    wanted: Sequence[DrawSlice],
    scoring: Scoring,
    clean_bT: Tensor | None = None,
) -> Iterator[list[tuple[DrawSlice, Tensor]]]:
    """Δℓ of every wanted draw on one batch of sequences (see `sequence_batches`), pass by pass.

    Args:
        part: the group.
        ids_bT1: int64 [b, T+1].
        sources: chain → its draws.
        wanted: which draws; a component's pieces of different chains may follow each other.
        scoring: how losses are computed.
        clean_bT: ℓ(w*) of the batch, where it is known.

    Yields:
        of each pass (piece, Δℓ [R, b, T] in nats), for pieces that together are the wanted ones.
    """
    clean = part.prepare(ids_bT1, scoring.top_k)
    if clean_bT is None:
        clean_bT = part.clean_losses(clean)
    draw_bytes = max(
        sum(tensor.numel() * tensor.element_size() for tensor in part.weights(name).values())
        for name in {piece.component for piece in wanted}
    )
    together = draws_at_once(scoring.budget.rows, clean_bT.numel(), draw_bytes)
    for pack in packs(wanted, together):
        displaced: dict[str, list[Weights]] = {}
        for piece in pack:
            center = part.weights(piece.component)
            delta = sources[piece.chain].read(piece.component, piece.draws)
            displaced.setdefault(piece.component, []).append(
                {block: center[block] + delta[block].to(center[block]) for block in center}
            )
        losses = part.losses(clean, {name: _joined(found) for name, found in displaced.items()})
        taken, found = dict.fromkeys(losses, 0), []
        for piece in pack:
            start = taken[piece.component]
            taken[piece.component] = stop = start + piece.draws.stop - piece.draws.start
            found.append((piece, losses[piece.component][start:stop] - clean_bT))
        yield found


def packs(wanted: Sequence[DrawSlice], together: int) -> Iterator[list[DrawSlice]]:
    """Cut and join pieces, in their order, so that each pack has `together` draws."""
    pack: list[DrawSlice] = []
    room = together
    for piece in wanted:
        start = piece.draws.start
        while start < piece.draws.stop:
            stop = min(start + room, piece.draws.stop)
            pack.append(DrawSlice(piece.chain, piece.component, slice(start, stop)))
            room -= stop - start
            start = stop
            if room == 0:
                yield pack
                pack, room = [], together
    if pack:
        yield pack


def without_first(pieces: Sequence[DrawSlice], count: int) -> list[DrawSlice]:
    """Pieces without their first draws, so many in all."""
    found = []
    for piece in pieces:
        size = piece.draws.stop - piece.draws.start
        if count < size:
            start = piece.draws.start + count
            found.append(DrawSlice(piece.chain, piece.component, slice(start, piece.draws.stop)))
        count = max(0, count - size)
    return found


def _joined(found: list[Weights]) -> Weights:
    if len(found) == 1:
        return found[0]
    return {block: torch.cat([weights[block] for weights in found]) for block in found[0]}
