"""A transformer as pure functions of its parameters: what engines share, whatever the family.

The groups (`layer_group.py`, `stages_group.py`) need the pieces of a forward pass, not the whole:
the residual stream entering a layer, one component's term, the layers above. A family
(`families/`) gives these pieces and the names of its parameters; parameters are a dictionary of
tensors, so the same code differentiates through displaced weights and runs on the resident ones.

A forward pass has stages, each with its parameters: 0 the embedding, l + 1 layer l, L + 1 the final
norm, L + 2 the unembedding. A component is displaced in the stages that read its parameters; all
others run once for all its variants. Layers add two terms to the residual stream,

    x' = x + a(x) + m(x, a),    a = b + Σ_h head_h(norm(x)),    m = mlp(norm(x or x + a)) or 0

Shapes: B sequences, T positions, D hidden size, H heads, K head size, F intermediate size,
V vocabulary, R variants (displaced copies of a component's weights: draws, or chains), G owners:
one, where all variants see all sequences, or R, where each has its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from spectro.models.architecture import BlockTable
from spectro.models.block_names import layer_blocks
from spectro.models.components import Component
from spectro.models.config import Precision
from spectro.models.consistency import (
    logits_of,
    require_plain,
    require_same,
)
from spectro.models.families.rotary import RotaryOf
from spectro.models.layer_parts import LayerParts
from spectro.models.parameters import edge_blocks, named_parameters, require_displaceable
from spectro.models.precision import unrounded
from spectro.models.sampled_softmax import SampledSoftmax
from spectro.models.size import ModelSize
from spectro.models.token_loss import token_losses

OwnT = TypeVar("OwnT", bound="Transformer")


class Transformer(LayerParts):
    """A model of one family as functions of (shape, parameters): stages, losses, logits."""

    @classmethod
    def of_parts(
        cls: type[OwnT],
        shape: ModelSize,
        params: Mapping[str, Tensor],
        unembed_name: str,
        precision: Precision,
        hf: PreTrainedModel | None = None,
    ) -> OwnT:
        """From dimensions and parameters.

        Args:
            hf: the model whose rotary embeddings are taken; None: shapes alone matter.
        """
        return cls(shape, params, unembed_name, precision, cls.rotary_of(shape, hf))

    @classmethod
    def rotary_of(cls, shape: ModelSize, hf: PreTrainedModel | None) -> RotaryOf | None:
        """Rotary positions of the family; None where it has none."""
        return None

    @classmethod
    def from_pretrained_model(
        cls: type[OwnT],
        model: PreTrainedModel,
        precision: Precision = Precision.FLOAT32,
        *,
        loaded: bool = False,
    ) -> OwnT:
        """Wrap a Hugging Face model of this family; its tensors are shared, not copied.

        Args:
            model: the checkpoint, float32 or float64.
            precision: what operands of matrix products are rounded to (see precision.py).
            loaded: whether `load_model` gave it, which has found its weights finite.

        Raises ValueError for a forward pass that is not that of its config and parameters
        (consistency.py: adapters, replaced modules, hooks), for weights that are not finite or of
        less than float32, and for a float64 model with rounded products.
        """
        cls.check(model)
        require_plain(model)
        require_displaceable(model, loaded=loaded)
        params, unembed_name = named_parameters(model)
        shape = ModelSize.of_config(model.config.to_dict())
        found = cls.of_parts(shape, params, unembed_name, precision, model)
        exact = cls.of_parts(shape, params, unembed_name, Precision.FLOAT32, model)
        require_own_logits(exact, model)
        return found

    @classmethod
    @abstractmethod
    def check(cls, model: PreTrainedModel) -> None:
        """Raise ValueError for a model of another type, or with settings that are not computed."""

    @abstractmethod
    def embed(self, ids_BT: Tensor) -> Tensor:
        """Residual stream entering layer 0, [B, T, D]."""

    def prefix(self, ids_BT: Tensor, layer: int) -> Tensor:
        """Clean residual stream entering `layer`, [B, T, D] (design §3.1)."""
        resid = self.embed(ids_BT)
        for below in range(layer):
            resid = self.layer(resid, below)
        return resid

    def suffix(self, resid_BTD: Tensor, layer: int) -> Tensor:
        """Final-normed stream after `layer` and all above it, [B, T, D] (design §3.3)."""
        return self.stages(resid_BTD, layer + 1, self.num_stages - 1)

    @property
    def num_stages(self) -> int:
        """Embedding, layers, final norm, unembedding."""
        return self.shape.num_layers + 3

    def stages(self, state: Tensor, first: int, stop: int) -> Tensor:
        """Run some stages, without the unembedding: from ids [B, T] or the stream [B, T, D]."""
        for stage in range(first, stop):
            if stage == 0:
                state = self.embed(state)
            elif stage <= self.shape.num_layers:
                state = self.layer(state, stage - 1)
            else:
                state = self.final_norm(state)
        return state

    def stages_of(self, parameter: str) -> set[int]:
        """Stages that read a parameter; two of a tied embedding.

        Raises ValueError for a name that the model does not have.
        """
        if parameter not in self.params:
            raise ValueError(f"the model has no parameter {parameter!r}")
        if parameter.startswith(self.layers_name):
            return {int(parameter[len(self.layers_name) :].split(".")[0]) + 1}
        last = {self.num_stages - 1} if parameter == self.unembed_name else set()
        if parameter in self.embed_names:
            return {0} | last
        return last or {self.num_stages - 2}

    def blocks(self, component: Component) -> BlockTable:
        """Blocks of a component.

        Raises ValueError where its definition selects nothing.
        """
        if component.layer is None:
            return edge_blocks(component, self.params, self.embed_names[0], self.unembed_name)
        return layer_blocks(component, self.params, self.shape)

    def losses(self, hidden_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """Loss per token in nats from the final-normed stream, [B, T]."""
        flat = token_losses(
            hidden_BTD.reshape(-1, self.shape.hidden_size),
            self.operand(self.unembed_name),
            targets_BT.reshape(-1),
            self.precision,
        )
        return flat.view(targets_BT.shape)

    def clean_losses(self, ids_BT1: Tensor) -> Tensor:
        """ℓ(w*) of every token of packed sequences [B, T+1] → [B, T], nats."""
        hidden = self.suffix(self.embed(ids_BT1[:, :-1]), 0)
        return self.losses(hidden, ids_BT1[:, 1:])

    def logits(self, ids_BT: Tensor) -> Tensor:
        """Logits in full precision, [B, T, V]: to compare with the model's own."""
        hidden = self.suffix(self.embed(ids_BT), 0)
        return functional.linear(hidden, self.params[self.unembed_name])

    def sampled_softmax(self, size: int) -> SampledSoftmax | None:
        """Sampled softmax of S next tokens, one for all groups; None: S is the whole vocabulary."""
        if size >= self.shape.vocab_size:
            return None
        if size not in self._sampled:
            self._sampled[size] = SampledSoftmax(
                lambda ids_BT: self.suffix(self.embed(ids_BT), 0),
                self.params[self.unembed_name],
                size,
            )
        return self._sampled[size]


@torch.no_grad()
def require_own_logits(engine: Transformer, model: PreTrainedModel) -> None:
    """Raise ValueError unless one short sequence has the model's own logits."""
    ids, theirs_TV = logits_of(model)
    with unrounded(engine.device.type), torch.autocast(engine.device.type, enabled=False):
        require_same(engine.logits(ids)[0], theirs_TV)
