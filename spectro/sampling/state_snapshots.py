"""Snapshots of the states of chains that step together, and states from them.

Blocks come back in the order that they had: sums of a Metropolis step go over blocks, and the order
decides the last bits of its acceptance probability.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from spectro.sampling.advance import States
from spectro.sampling.checkpoint import Checkpoint
from spectro.sampling.mala import MalaState
from spectro.sampling.samplers import Blocks, ChainState


def snapshot_of(states: States, step: int) -> Checkpoint:
    """All states after so many steps."""
    tensors = {
        f"{name}/{chain}/{kind}/{block}": tensor
        for name, own in states.items()
        for chain, state in own.items()
        for kind, blocks in _kinds(state).items()
        for block, tensor in blocks.items()
    }
    chains = {name: list(own) for name, own in states.items()}
    blocks = {name: list(next(iter(own.values())).displacement) for name, own in states.items()}
    values = {"step": step, "chains": chains, "blocks": blocks}
    return Checkpoint(tensors=tensors, values=values)


def restored(snapshot: Checkpoint, like: Mapping[str, Mapping[str, Tensor]]) -> States:
    """The states of a snapshot; `like` are the components' weights, for their device."""
    return {
        name: {chain: _state(snapshot, name, chain, like[name]) for chain in chains}
        for name, chains in snapshot.values["chains"].items()
    }


def _kinds(state: ChainState) -> dict[str, Blocks]:
    """All tensors of a state: blocks by field, and scalars as a block without a name."""
    values = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {k: value if isinstance(value, dict) else {"": value} for k, value in values.items()}


def _state(found: Checkpoint, name: str, chain: int, like: Mapping[str, Tensor]) -> ChainState:
    prefix, device = f"{name}/{chain}/", next(iter(like.values())).device
    order = found.values.get("blocks", {}).get(name, sorted(like))
    tensors = {
        key.removeprefix(prefix): tensor.to(device)
        for key, tensor in found.tensors.items()
        if key.startswith(prefix)
    }

    def blocks(kind: str) -> Blocks:
        return {b: tensors[f"{kind}/{b}"] for b in order if f"{kind}/{b}" in tensors}

    if "loss/" not in tensors:
        return ChainState(
            displacement=blocks("displacement"), second_moment=blocks("second_moment")
        )
    return MalaState(
        displacement=blocks("displacement"),
        proposal=blocks("proposal"),
        gradient=blocks("gradient"),
        loss=tensors["loss/"],
        halvings=tensors["halvings/"],
    )
