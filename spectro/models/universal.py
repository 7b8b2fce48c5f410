"""The universal engine: any causal language model of Hugging Face, by its own forward pass.

A displaced variant is the whole model called with other tensors in the places of its parameters
(`torch.func.functional_call`). Nothing is shared between variants, so it is slow and exact: the
reference that the families' engines are tested against, and what serves a model that has none.

Shapes: B sequences, T positions, V vocabulary, R variants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional
from transformers import PreTrainedModel

from spectro.models.architecture import (
    BlockTable,
    Weights,
    displaced_params,
    per_variant,
    weights_in,
)
from spectro.models.block_names import layer_blocks
from spectro.models.components import Component, Group
from spectro.models.config import Precision
from spectro.models.consistency import require_plain
from spectro.models.parameters import edge_blocks, named_parameters, require_displaceable
from spectro.models.size_of_config import size_of_config
from spectro.models.top_k_softmax import TopKFit


class UniversalModel:
    """A Hugging Face model as a function of its parameters.

    Args:
        model: one that `from_pretrained_model` would accept; it may be on the meta device.
    """

    precision = Precision.FLOAT32

    def __init__(self, model: PreTrainedModel) -> None:
        self._hf = model
        self.params, self.unembed_name = named_parameters(model)
        self._aliases = {
            name: self._first_name(tensor)
            for name, tensor in model.named_parameters(remove_duplicate=False)
        }
        embedding = model.get_input_embeddings().weight
        self._embed_name = self._first_name(embedding)
        self.shape = size_of_config(model.config.to_dict(), universal=True)

    @classmethod
    def from_pretrained_model(
        cls, model: PreTrainedModel, *, loaded: bool = False
    ) -> UniversalModel:
        """Wrap a model; its tensors are shared, not copied.

        Raises ValueError for weights that are not finite, unless `load_model` gave it (`loaded`),
        or of less than float32, and for hooks and replaced modules.
        """
        require_plain(model)
        require_displaceable(model, loaded=loaded)
        return cls(model)

    def _first_name(self, parameter: Tensor) -> str:
        for name, own in self._hf.named_parameters():
            if own is parameter:
                return str(name)
        raise ValueError("the model's embedding is no parameter of it")

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.params[self.unembed_name].device

    def blocks(self, component: Component) -> BlockTable:
        """Blocks of a component.

        Raises ValueError for a head or an MLP of a model whose parameters have unknown names: it is
        then to be defined by names of parameters.
        """
        if component.layer is None:
            return edge_blocks(component, self.params, self._embed_name, self.unembed_name)
        return layer_blocks(component, self.params, self.shape)

    def losses_with(self, params: Mapping[str, Tensor], ids_BT1: Tensor) -> Tensor:
        """Loss of every token with these parameters, nats, [B, T]."""
        logits_BTV = self.logits_with(params, ids_BT1[:, :-1])
        loss_N = functional.cross_entropy(
            logits_BTV.flatten(0, 1), ids_BT1[:, 1:].flatten(), reduction="none"
        )
        return loss_N.view(logits_BTV.shape[:2])

    def logits_with(self, params: Mapping[str, Tensor], ids_BT: Tensor) -> Tensor:
        """Logits with these parameters, [B, T, V]."""
        logits_BTV: Tensor = self._output(params, ids_BT).logits
        return logits_BTV

    def logits(self, ids_BT: Tensor) -> Tensor:
        """Logits at w*, [B, T, V]."""
        return self.logits_with(self.params, ids_BT)

    def hidden_states(self, ids_BT: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The model's own hidden states at w*, L + 1 of [B, T, D], and its logits [B, T, V].

        The last one is what the unembedding reads; the logits are differentiable in it.

        Raises ValueError for a model that gives another number of them.
        """
        params = dict(self.params)
        with torch.enable_grad():
            params[self._embed_name] = params[self._embed_name].clone().requires_grad_()
            found = self._output(params, ids_BT, output_hidden_states=True)
        states = tuple(found.hidden_states or ())
        if len(states) != self.shape.num_layers + 1:
            raise ValueError(
                f"expected {self.shape.num_layers + 1} hidden states of a model with "
                f"{self.shape.num_layers} layers, found {len(states)}: models of type "
                f"{self.shape.family!r} do not give the stream of every layer"
            )
        return states, found.logits

    def _output(self, params: Mapping[str, Tensor], ids_BT: Tensor, **settings: bool) -> Any:
        """What the model returns with these parameters."""
        named = {name: params[first] for name, first in self._aliases.items()}
        arguments = {"use_cache": False, "return_dict": True, **settings}
        return functional_call(self._hf, named, (ids_BT,), arguments, tie_weights=False)

    def clean_losses(self, ids_BT1: Tensor) -> Tensor:
        """ℓ(w*) of every token, nats, [B, T]."""
        return self.losses_with(self.params, ids_BT1)

    def sampled_softmax(self, size: int) -> None:
        """None: every loss is the model's own."""


class UniversalGroup:
    """`GroupModel` of any components; the clean state of a batch is the batch."""

    has_prefix = False

    def __init__(self, model: UniversalModel, group: Group) -> None:
        self._model = model
        self._tables = {c.name: model.blocks(c) for c in group.components}
        self.names = tuple(self._tables)

    def weights(self, component: str) -> Weights:
        """Blocks of a component (see `UniversalModel.blocks`)."""
        return weights_in(self._model.params, self._tables[component])

    def sampled_softmax(self, size: int) -> None:
        """None: every loss is the model's own."""

    def prepare(
        self, ids_BT1: Tensor, top_k: TopKFit | None = None, sampled: object = None
    ) -> Tensor:
        """The batch itself."""
        return ids_BT1

    def clean_losses(self, clean: Tensor) -> Tensor:
        """ℓ(w*), [B, T]."""
        return self._model.clean_losses(clean)

    def losses(
        self, clean: Tensor, weights: Mapping[str, Weights], *, paired: bool = False
    ) -> dict[str, Tensor]:
        """One whole forward pass per variant."""
        return {name: self._losses(clean, name, own, paired) for name, own in weights.items()}

    def logits(self, component: str, weights: Weights, ids_BT: Tensor) -> Tensor:
        """Of one variant, [B, T, V]."""
        params = displaced_params(self._model.params, self._tables[component], weights)
        return self._model.logits_with(params, ids_BT)

    def _losses(self, clean: Tensor, name: str, blocks: Weights, paired: bool) -> Tensor:
        ids_RBT1 = per_variant(clean, {name: blocks}, paired=paired)
        found = []
        for r, ids_BT1 in enumerate(ids_RBT1):
            moved = {block: tensor[r] for block, tensor in blocks.items()}
            params = displaced_params(self._model.params, self._tables[name], moved)
            found.append(self._model.losses_with(params, ids_BT1))
        return torch.stack(found)
