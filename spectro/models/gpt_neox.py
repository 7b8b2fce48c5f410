"""GPT-NeoX as pure functions of its parameters.

The groups (`layer_group.py` and its neighbours) need the pieces of a forward pass, not the
whole: the residual stream entering a layer, one component's term, the layers above. This file
has the pieces; `Parameters` are views of a dictionary of tensors, so the same code
differentiates through displaced weights (`full`) and runs on the resident ones.

Shapes: B sequences, T positions, D hidden size, H heads, K head size, F intermediate size,
V vocabulary, R variants (displaced copies of a component's weights: draws, or chains).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPTNeoXForCausalLM
from transformers.activations import ACT2FN

from spectro.models.config import Precision, check_precision
from spectro.models.config_json import check_rope
from spectro.models.consistency import (
    logits_of,
    require_finite,
    require_plain,
    require_same,
    require_type,
)
from spectro.models.precision import causal_attention, linear, operand, unrounded
from spectro.models.sampled_softmax import SampledSoftmax
from spectro.models.size import ModelSize
from spectro.models.token_loss import token_losses

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines of the rotary embedding, each [T, rotary dimensions]."""


class GPTNeoX:
    """A GPT-NeoX model as functions of (shape, parameters)."""

    def __init__(
        self,
        shape: ModelSize,
        params: Mapping[str, Tensor],
        rotary: Callable[[int], Rotary],
        unembed_name: str,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        check_precision(precision, str(params[unembed_name].dtype).removeprefix("torch."))
        self.shape = shape
        self.params = params
        self.rotary = rotary
        self.unembed_name = unembed_name
        self.precision = precision
        self.activation: Callable[[Tensor], Tensor] = ACT2FN[shape.activation].forward
        self._operands: dict[str, Tensor] = {}
        self._sampled: dict[int, SampledSoftmax] = {}

    @classmethod
    def from_pretrained_model(
        cls, model: GPTNeoXForCausalLM, precision: Precision = Precision.FLOAT32
    ) -> GPTNeoX:
        """Wrap a Hugging Face model; its tensors are shared, not copied.

        Args:
            model: the checkpoint, float32 or float64.
            precision: what operands of matrix products are rounded to (see precision.py).

        Raises ValueError for another type of model, for tied embeddings (`embed` and `unembed`
        would be one component), for rotary embeddings of another type, for a forward pass that is
        not that of its config and parameters (consistency.py: adapters, replaced modules, hooks),
        for weights that are not finite or of less than float32, and for a float64 model with
        rounded products.
        """
        require_type(model)
        config = model.config
        try:
            check_rope(config.rope_parameters or {})
        except ValueError as error:
            raise ValueError(f"the model {error}") from error
        require_plain(model)
        if config.tie_word_embeddings:
            raise ValueError(
                "the model ties its embedding to its unembedding: 'embed' and 'unembed' would be "
                "one component; spectro supports untied GPT-NeoX models only (as Pythia)"
            )
        dtype = model.get_output_embeddings().weight.dtype
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"the model's weights are {dtype}: displacements and their noise would be rounded; "
                "load it in float32, or call model.float()"
            )
        try:
            require_finite(model)
        except ValueError as error:
            raise ValueError(f"the model's {error}") from error
        shape = ModelSize.of_config(config.to_dict())
        params = {name: tensor.detach() for name, tensor in model.named_parameters()}
        output = model.get_output_embeddings().weight
        unembed_name = next(n for n, tensor in model.named_parameters() if tensor is output)
        found = cls(shape, params, _RotaryTable(model), unembed_name, precision)
        found._require_same(model)
        return found

    @torch.no_grad()
    def _require_same(self, model: GPTNeoXForCausalLM) -> None:
        """Raise ValueError unless one short sequence has the model's own logits."""
        ids, theirs = logits_of(model)
        exact = GPTNeoX(self.shape, self.params, self.rotary, self.unembed_name)
        device = self.device.type
        with unrounded(device), torch.autocast(device, enabled=False):
            hidden = exact.suffix(exact.embed(ids), 0)[0]
            require_same(functional.linear(hidden, self.params[self.unembed_name]), theirs)

    def with_params(self, params: Mapping[str, Tensor]) -> GPTNeoX:
        """The same model with other parameters under the same names."""
        return GPTNeoX(self.shape, params, self.rotary, self.unembed_name, self.precision)

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.params[self.unembed_name].device

    def layer_param(self, layer: int, name: str) -> Tensor:
        """Parameter `name` of a layer, as in `attention.dense.weight`."""
        return self.params[f"gpt_neox.layers.{layer}.{name}"]

    def layer_bias(self, layer: int, name: str) -> Tensor | None:
        """Bias `name` of a layer, or None where the checkpoint has none."""
        return self.params.get(f"gpt_neox.layers.{layer}.{name}")

    def operand(self, name: str) -> Tensor:
        """A parameter as products take it: a resident weight is rounded once, at its first use.

        A weight that is differentiated is returned as it is and rounded within the product, so
        that its gradient comes back in float32.
        """
        if self.precision is not Precision.BFLOAT16 or self.params[name].requires_grad:
            return self.params[name]
        if name not in self._operands:
            self._operands[name] = operand(self.params[name], self.precision)
        return self._operands[name]

    def linear(self, states: Tensor, layer: int, name: str) -> Tensor:
        """A layer's linear map `name`, as in `attention.dense`, of states [..., D]."""
        return linear(
            states,
            self.operand(f"gpt_neox.layers.{layer}.{name}.weight"),
            self.layer_bias(layer, f"{name}.bias"),
            self.precision,
        )

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Residual stream entering layer 0, [B, T, D]."""
        return functional.embedding(ids_BT, self.params["gpt_neox.embed_in.weight"])

    def normed(self, resid: Tensor, layer: int, which: str) -> Tensor:
        """A layer's `input_layernorm` or `post_attention_layernorm` of a stream [..., D]."""
        return self._norm(resid, f"gpt_neox.layers.{layer}.{which}")

    def attention(self, normed_BTD: Tensor, layer: int) -> Tensor:
        """All heads of a layer and the output bias, [B, T, D]."""
        num_seq, num_pos, _ = normed_BTD.shape
        qkv = self.linear(normed_BTD, layer, "attention.query_key_value")
        qkv = qkv.view(num_seq, num_pos, self.shape.num_heads, 3 * self.shape.head_size)
        mixed_BHTK = self.attend(qkv.transpose(1, 2))
        mixed_BTD = mixed_BHTK.transpose(1, 2).reshape(num_seq, num_pos, -1)
        return self.linear(mixed_BTD, layer, "attention.dense")

    def attend(self, qkv_BHT3K: Tensor) -> Tensor:
        """Causal attention from interleaved queries, keys and values: [B, H, T, 3K] → [.., K].

        H may be heads or variants: attention never mixes them.
        """
        query, key, value = qkv_BHT3K.chunk(3, dim=-1)
        rotary = self.rotary(qkv_BHT3K.shape[2])
        return causal_attention(rotate(query, rotary), rotate(key, rotary), value, self.precision)

    def mlp(self, normed: Tensor, layer: int) -> Tensor:
        """The MLP of a layer, biases included, [..., D]."""
        inner = self.linear(normed, layer, "mlp.dense_h_to_4h")
        return self.linear(self.activation(inner), layer, "mlp.dense_4h_to_h")

    def layer(self, resid_BTD: Tensor, layer: int) -> Tensor:
        """One layer with its own weights, [B, T, D] → [B, T, D]."""
        attention = self.attention(self.normed(resid_BTD, layer, "input_layernorm"), layer)
        middle = resid_BTD if self.shape.parallel_residual else resid_BTD + attention
        mlp = self.mlp(self.normed(middle, layer, "post_attention_layernorm"), layer)
        return resid_BTD + attention + mlp

    def prefix(self, ids_BT: Tensor, layer: int) -> Tensor:
        """Clean residual stream entering `layer`, [B, T, D] (design §3.1)."""
        resid = self.embed(ids_BT)
        for below in range(layer):
            resid = self.layer(resid, below)
        return resid

    def suffix(self, resid_BTD: Tensor, layer: int) -> Tensor:
        """Final-normed stream after `layer` and all above it, [B, T, D] (design §3.3)."""
        for above in range(layer, self.shape.num_layers):
            resid_BTD = self.layer(resid_BTD, above)
        return self._norm(resid_BTD, "gpt_neox.final_layer_norm")

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

    def _norm(self, resid: Tensor, name: str) -> Tensor:
        return functional.layer_norm(
            resid,
            (self.shape.hidden_size,),
            self.params[f"{name}.weight"],
            self.params[f"{name}.bias"],
            self.shape.layer_norm_eps,
        )


def rotate(states: Tensor, rotary: Rotary) -> Tensor:
    """Apply the rotary embedding to the first dimensions of states [..., T, K]."""
    cos, sin = rotary
    size = cos.shape[-1]
    turned, rest = states[..., :size], states[..., size:]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((turned, rest), dim=-1)


class _RotaryTable:
    """Cosines and sines by context length, asked of the model's own module once each."""

    def __init__(self, model: GPTNeoXForCausalLM) -> None:
        self._module = model.gpt_neox.rotary_emb
        self._like = model.get_output_embeddings().weight
        self._known: dict[int, Rotary] = {}

    def __call__(self, num_positions: int) -> Rotary:
        if num_positions not in self._known:
            positions = torch.arange(num_positions, device=self._like.device)[None]
            cos, sin = self._module(self._like[:0], positions)
            self._known[num_positions] = (cos[0], sin[0])
        return self._known[num_positions]
