"""Running sums of Δℓ over draws: all that χ needs of a token (design §1).

Per component, chain and token i the sums over draws t
    Σ_t ω_t φ_t Δℓ_i(t)        and        Σ_t ω_t Δℓ_i(t)        with φ_t = ΔL(t)
are kept, the first also for every further observable φ_q (sampling/observables.py), ω_t being the
importance weights (1 for the draws of a chain); draws that serve several nβ have as many sets of
weights, and sums for each. No trace of size draws × tokens ever exists.
Sums accumulate in float64 on the model's device, over slices of draws, and leave it once per batch
of sequences.

All draws of all chains have one order. A shard is scored in rounds, each of consecutive draws,
and a round in batches of sequences: one round where reading draws again for every batch costs
less than the forward passes below the group (`rounds`). Its progress is the number of draws
that every sequence has been scored along.

Shapes: n sequences, T positions, N = n·T tokens in row-major order, C chains; W sets of weights,
of all chains together where sums are meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import CPU_ROWS, RowBudget, fit
from spectro.models.delta import (
    DrawSlice,
    ReadDraws,
    next_batch,
    pack_losses,
    without_first,
)
from spectro.models.scoring import Scoring
from spectro.sampling.checkpoint import Checkpoint, Checkpoints
from spectro.sampling.observable import observable
from spectro.susceptibility.tile_sums import TileSums

FloatArray = npt.NDArray[np.float64]
K = TypeVar("K")


@dataclass(frozen=True, kw_only=True)
class ScoredChain:
    """One chain of a group, as scoring reads it."""

    draws: ReadDraws
    """Its draws."""
    delta_loss: Mapping[str, FloatArray]
    """Component → ΔL(t) of every draw, nats."""
    weight: Mapping[str, FloatArray]
    """Component → ω_t of every draw, [T], or [W, T]: several sets of weights of the same draws."""
    blocks: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Component → first draw of every block that is read from storage; none where draws are in
    memory or come from their keys."""
    label: str = ""
    """Its name in messages; its number if empty."""
    observables: Mapping[str, Mapping[str, FloatArray]] = field(default_factory=dict)
    """Component → further observable → φ_q(t) of every draw; all chains have the same."""

    def num_weights(self, name: str) -> int:
        """W of a component, 0 where the chain has none of its draws."""
        return np.atleast_2d(self.weight[name]).shape[0] if name in self.weight else 0


def score_tile(
    part: GroupModel[Any],
    chains: Mapping[int, ScoredChain],
    probe_ids: Tensor,
    *,
    scoring: Scoring | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> dict[str, TileSums]:
    """Score the tokens of one shard along the draws of some chains of a group.

    Args:
        part: the group's forward passes, of any architecture.
        chains: chain → its draws; one may lack some of the group's components.
        probe_ids: int64 [n, T+1].
        scoring: how losses are computed.
        on_progress: called with (sequences × draws done, sequences × draws in all).
        checkpoints: where scoring resumes, and where its checkpoints go, after any pass.

    Raises:
        ValueError: a sum is not finite (the message names component and chain).
    """
    scoring = scoring or Scoring(budget=RowBudget(rows=CPU_ROWS))
    in_rounds = rounds(part, chains, probe_ids.shape, scoring)
    total = len(probe_ids) * sum(num_draws(wanted) for wanted in in_rounds)

    def report(done: int) -> None:
        if on_progress is not None:
            on_progress(done, total)

    tile = _Tile(part, chains, probe_ids, scoring, checkpoints or Checkpoints(), report)
    tile.keep_clean = len(in_rounds) > 1
    end = 0
    for wanted in in_rounds:
        end += num_draws(wanted)
        while not tile.is_done(end):
            fit(scoring.budget, partial(tile.score_batch, wanted, end))
    return {
        name: _tile_sums(found, name, _labels(chains, name), _observed(chains, name))
        for name, found in tile.sums.items()
    }


def _labels(chains: Mapping[int, ScoredChain], name: str) -> list[str]:
    """Chain of every row of a component's sums."""
    return [
        own.label or str(chain)
        for chain, own in chains.items()
        for _ in range(own.num_weights(name))
    ]


def _observed(chains: Mapping[int, ScoredChain], name: str) -> list[str]:
    """Further observables of a component."""
    return next((list(own.observables.get(name, ())) for own in chains.values()), [])


def rounds(
    part: GroupModel[Any],
    chains: Mapping[int, ScoredChain],
    shape: Sequence[int],
    scoring: Scoring,
) -> list[list[DrawSlice]]:
    """Draws that pass over all sequences before the next ones are read.

    One round of all draws; but where stored draws would be read for several batches and a batch
    costs nothing to prepare, one round for each of their blocks.
    """
    whole = [
        DrawSlice(chain, name, slice(0, len(scored.delta_loss[name])))
        for name in part.names
        for chain, scored in chains.items()
        if name in scored.weight
    ]
    num_seq, length = shape
    one_batch = num_seq <= max(1, scoring.positions // (length - 1))
    if one_batch or part.has_prefix or scoring.top_k is not None:
        return [whole]
    return [
        [DrawSlice(piece.chain, piece.component, slice(start, stop))]
        for piece in whole
        for start, stop in _spans(chains[piece.chain].blocks.get(piece.component, ()), piece.draws)
    ]


def _spans(firsts: Sequence[int], draws: slice) -> list[tuple[int, int]]:
    starts = sorted(firsts) or [draws.start]
    return list(zip(starts, [*starts[1:], draws.stop], strict=True))


def num_draws(pieces: Sequence[DrawSlice]) -> int:
    """Draws in some pieces."""
    return sum(piece.draws.stop - piece.draws.start for piece in pieces)


class _Tile:
    """Sums so far, and along how many draws each sequence was scored."""

    def __init__(
        self,
        part: GroupModel[Any],
        chains: Mapping[int, ScoredChain],
        probe_ids: Tensor,
        scoring: Scoring,
        checkpoints: Checkpoints,
        on_draws: Callable[[int], None],
    ) -> None:
        self._on_draws = on_draws
        self._part, self._ids, self._scoring = part, probe_ids, scoring
        self._checkpoints = checkpoints
        self._sources = {chain: scored.draws for chain, scored in chains.items()}
        coefficients = {
            (chain, name): _coefficients(scored, name)
            for chain, scored in chains.items()
            for name in part.names
            if name in scored.weight
        }
        self._coefficients = _moved(coefficients, probe_ids.device)
        self._first: dict[tuple[int, str], int] = {}
        """Row of the first sums of a chain's component."""
        rows = dict.fromkeys(part.names, 0)
        for (chain, name), own in self._coefficients.items():
            self._first[chain, name] = rows[name]
            rows[name] += len(own)
        self._clean: dict[tuple[int, int], Tensor] = {}
        self.keep_clean = False
        num_seq, num_pos = probe_ids.shape[0], probe_ids.shape[1] - 1
        self.sums = {
            name: torch.zeros(
                (2 + len(_observed(chains, name)), num_rows, num_seq, num_pos), dtype=torch.float64
            )
            for name, num_rows in rows.items()
        }
        self._done_n = torch.zeros(num_seq, dtype=torch.int64)
        if checkpoints.resume is not None:
            found = checkpoints.resume.tensors
            self.sums = {name: found[f"sums/{name}"].clone() for name in part.names}
            self._done_n = found["done"].clone()

    def is_done(self, end: int) -> bool:
        """Whether every sequence was scored along the first `end` draws."""
        return bool((self._done_n >= end).all())

    def score_batch(self, wanted: Sequence[DrawSlice], end: int) -> None:
        """The next sequences along what they lack of a round, which ends with draw `end`."""
        batch, before = next_batch(self._done_n, end, self._ids, self._scoring)
        done = before
        device = self._ids.device
        sums = _moved({name: own[:, :, batch] for name, own in self.sums.items()}, device)
        left = without_first(wanted, done - (end - num_draws(wanted)))
        for pack in pack_losses(
            self._part,
            self._ids[batch],
            self._sources,
            left,
            self._scoring,
            self._clean_losses(batch) if self.keep_clean else None,
        ):
            for piece, delta_RbT in pack:
                key = piece.chain, piece.component
                for row, weights_KT in enumerate(self._coefficients[key], self._first[key]):
                    sums[piece.component][:, row] += torch.tensordot(
                        weights_KT[:, piece.draws].to(delta_RbT.dtype), delta_RbT, 1
                    )
            done += num_draws([piece for piece, _ in pack])
            self._on_draws(int(self._done_n.sum()) + len(self._ids[batch]) * (done - before))
            if self._checkpoints.due():
                self._save(batch, sums, done)
        self._book(self.sums, batch, sums)
        self._done_n[batch] = done

    @torch.no_grad()
    def _clean_losses(self, batch: slice) -> Tensor:
        """ℓ(w*) of a batch, [b, T] nats: taken once, however many rounds there are."""
        key = (batch.start, batch.stop)
        if key not in self._clean:
            clean = self._part.prepare(self._ids[batch], self._scoring.top_k)
            self._clean[key] = self._part.clean_losses(clean)
        return self._clean[key]

    def _save(self, batch: slice, sums: Mapping[str, Tensor], done: int) -> None:
        copies = {name: own.clone() for name, own in self.sums.items()}
        self._book(copies, batch, sums)
        done_n = self._done_n.clone()
        done_n[batch] = done
        tensors = {f"sums/{name}": own for name, own in copies.items()} | {"done": done_n}
        self._checkpoints.save(int(done_n.sum()), Checkpoint(tensors=tensors))

    @staticmethod
    def _book(whole: Mapping[str, Tensor], batch: slice, sums: Mapping[str, Tensor]) -> None:
        for name, of_batch in _moved(sums, torch.device("cpu")).items():
            whole[name][:, :, batch] = of_batch


def _moved(tensors: Mapping[K, Tensor], device: torch.device) -> dict[K, Tensor]:
    """Copies on a device, moved as one: each transfer makes the host wait."""
    if not tensors:
        return {}
    joined = torch.cat([tensor.flatten() for tensor in tensors.values()]).to(device)
    parts = torch.split(joined, [tensor.numel() for tensor in tensors.values()])
    return {
        key: part.view(tensor.shape)
        for (key, tensor), part in zip(tensors.items(), parts, strict=True)
    }


def _coefficients(scored: ScoredChain, name: str) -> Tensor:
    """ω_t φ_t, ω_t and ω_t φ_q(t) of every draw, for every set of weights, [W, 2 + Q, T]."""
    weight_WT = np.atleast_2d(scored.weight[name])
    observed = [weight_WT * phi_T for phi_T in scored.observables.get(name, {}).values()]
    own_WT = weight_WT * observable(scored.delta_loss[name])
    return torch.from_numpy(np.stack([own_WT, weight_WT, *observed], axis=1))


def _tile_sums(
    sums: Tensor, component: str, chains: Sequence[str], observed: Sequence[str]
) -> TileSums:
    bad = ~torch.isfinite(sums).flatten(2).all(dim=2).all(dim=0)
    if bad.any():
        raise ValueError(
            f"component {component}, chain {chains[int(bad.nonzero()[0])]}: a token's loss is not "
            "finite under this chain's draws; lower sampler.step_size or nbeta, or raise gamma"
        )
    weighted, plain, *others = sums.flatten(2).float().numpy()
    return TileSums(
        weighted_CN=weighted,
        plain_CN=plain,
        observed=dict(zip(observed, others, strict=True)),
    )
