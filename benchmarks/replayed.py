"""devinterp's selection of weights, noise and data order, for our chains of any family.

devinterp draws from torch's global generator, one normal tensor per whole parameter and step, and
takes minibatches from a seeded DataLoader. Replayed, both sides make the same chains and what is
left to differ is arithmetic; on the CPU, for its generator is not that of CUDA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from spectro.models.architecture import BlockTable
from spectro.models.components import FULL, Component, ComponentKind
from spectro.models.engine import engine_of

Masks = dict[str, Tensor | None]
"""Parameter → which of its numbers move, None for all: devinterp's weight restriction."""


def peer_masks(model: PreTrainedModel, component: Component, table: BlockTable) -> Masks:
    """devinterp's weight restriction of a component, in its order of parameters.

    It has no name for one part of a group of heads that share keys and values: a head is its head
    without the shared maps, keys and values are its group without the others. Of `unembed` it
    selects nothing in some families (design.md §3).

    Raises ValueError where it selects other numbers than we do.
    """
    from devinterp.slt.weight_restrictions import create_param_masks

    names = {part.parameter for part in table.values()}
    if component.kind is ComponentKind.UNEMBED:
        return dict.fromkeys(names)
    found = create_param_masks(model, _peer_name(component))
    masks = {name: mask for name, mask in found.items() if name in names}
    _require_same(component, masks, table, model)
    return masks


def _peer_name(component: Component) -> str:
    match component.kind:
        case ComponentKind.MLP:
            return f"l{component.layer} mlp"
        case ComponentKind.KV:
            return f"l{component.layer}g{component.head}"
    return component.name


def _require_same(
    component: Component, masks: Masks, table: BlockTable, model: PreTrainedModel
) -> None:
    ours = {name: torch.zeros_like(model.get_parameter(name), dtype=torch.bool) for name in masks}
    for part in table.values():
        if part.parameter in ours:
            ours[part.parameter][part.index] = True
    differing = {part.parameter for part in table.values()} - set(masks)
    for name, mask in masks.items():
        if not torch.equal(ours[name], torch.ones_like(ours[name]) if mask is None else mask):
            differing.add(name)
    if differing:
        raise ValueError(
            f"devinterp selects other weights for {component.name} than we do, of "
            f"{', '.join(sorted(differing))}"
        )


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """devinterp's noise and data order, as a `Randomness`; `full` is known beside `masks`."""

    shapes: Mapping[str, torch.Size]
    """Of all parameters, in the model's order."""
    masks: Mapping[str, Masks]
    """What devinterp is given, by component."""
    tables: Mapping[str, BlockTable]
    """Where our blocks are, by component."""
    epoch: Sequence[Tensor]
    """Minibatches of one pass over the sampling sequences."""
    seed: int
    """devinterp's `init_seed`."""
    _streams: dict[tuple[str, int], torch.Generator] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        components: Sequence[str],
        *,
        num_sequences: int,
        batch_size: int,
        seed: int,
    ) -> Replayed:
        """For a model's components by name, and devinterp with this seed and batch size."""
        engine = engine_of(model)
        chosen = engine.shape.select(components) if components else ()
        tables = {own.name: engine.blocks(own) for own in (*chosen, FULL)}
        order: DataLoader[Tensor] = DataLoader(
            range(num_sequences),  # type: ignore[arg-type]
            batch_size=batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(seed),
            drop_last=True,
        )
        return cls(
            shapes={name: parameter.shape for name, parameter in model.named_parameters()},
            masks={own.name: peer_masks(model, own, tables[own.name]) for own in chosen},
            tables=tables,
            epoch=list(order),
            seed=seed,
        )

    def minibatch(self, chain: int, step: int, num_sequences: int, batch_size: int) -> Tensor:
        """The same for every chain."""
        return self.epoch[step % len(self.epoch)]

    def noise(
        self, component: str, chain: int, step: int, like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Drawn for whole parameters in float32, then cut down to the component's blocks."""
        stream = self._streams.setdefault(
            (component, chain), torch.Generator().manual_seed(self.seed + chain)
        )
        whole = {
            name: torch.normal(0.0, 1.0, size=self.shapes[name], generator=stream)
            for name in self.masks.get(component, self.shapes)
        }
        return {
            block: whole[part.parameter][part.index].to(like[block].dtype)
            for block, part in self.tables[component].items()
        }
