"""An attention-only transformer as a Hugging Face model: the literature's smallest known circuit.

A layer adds its heads' terms to the residual stream, x + attention(layer norm(x)), and nothing
else: no MLP, so that every computation is a path through heads (Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits"). Rotary positions over all dimensions of a head, no biases but
those of the layer norms, untied embeddings. Importing this module registers it with the Auto
classes. Shapes: B sequences, T tokens, H heads, K dimensions of a head, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


class AttentionOnlyConfig(PretrainedConfig):  # type: ignore[misc]
    """Dimensions; names as in Llama's config."""

    model_type = "attention_only"

    def __init__(
        self,
        vocab_size: int = 2048,
        hidden_size: int = 256,
        num_hidden_layers: int = 2,
        num_attention_heads: int = 8,
        max_position_embeddings: int = 1024,
        rope_theta: float = 10000.0,
        layer_norm_eps: float = 1e-5,
        initializer_range: float = 0.02,
        tie_word_embeddings: bool = False,
        head_dim: int | None = None,
        **others: Any,
    ) -> None:
        if hidden_size % (2 * num_attention_heads):
            raise ValueError(
                f"hidden_size must be a multiple of 2 * num_attention_heads "
                f"({2 * num_attention_heads}): rotary positions turn pairs; found {hidden_size}"
            )
        if tie_word_embeddings:
            raise ValueError("attention_only has untied embeddings: tie_word_embeddings is true")
        if head_dim not in (None, hidden_size // num_attention_heads):
            raise ValueError(
                f"head_dim must be hidden_size / num_attention_heads = "
                f"{hidden_size // num_attention_heads} in attention_only; found {head_dim}"
            )
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.head_dim = hidden_size // num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.rope_theta = rope_theta
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        super().__init__(tie_word_embeddings=False, **others)


def rotary(config: AttentionOnlyConfig, num_tokens: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, [T, K]: pair (i, i + K/2) turns by position · θ^(−2i/K) (Su et al. 2021)."""
    exponent_k = torch.arange(0, config.head_dim, 2, device=like.device, dtype=torch.float64)
    frequency_k = config.rope_theta ** (-exponent_k / config.head_dim)
    position_T = torch.arange(num_tokens, device=like.device, dtype=torch.float64)
    angle_TK = torch.outer(position_T, frequency_k).repeat(1, 2)
    return angle_TK.cos().to(like.dtype), angle_TK.sin().to(like.dtype)


def turn(x_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Queries or keys with their positions."""
    first, second = x_BHTK.chunk(2, dim=-1)
    return x_BHTK * cos_TK + torch.cat([-second, first], dim=-1) * sin_TK


class AttentionOnlyAttention(nn.Module):
    """Causal attention of H heads, scores scaled by 1/√K."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        width = config.hidden_size
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(
        self, x_BTD: Tensor, turns: tuple[Tensor, Tensor], *, with_pattern: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Sum of the heads' terms [B, T, D], and the attention pattern [B, H, T, T] if wanted."""
        q, k, v = (
            product(x_BTD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for product in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = turn(q, *turns), turn(k, *turns)
        if not with_pattern:
            mixed_BHTK = scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.o_proj(mixed_BHTK.transpose(1, 2).flatten(2)), None
        score_BHTT = q @ k.mT * q.shape[-1] ** -0.5
        future_TT = torch.ones_like(score_BHTT[0, 0], dtype=torch.bool).triu(1)
        pattern_BHTT = score_BHTT.masked_fill(future_TT, -torch.inf).softmax(dim=-1)
        return self.o_proj((pattern_BHTT @ v).transpose(1, 2).flatten(2)), pattern_BHTT


class AttentionOnlyLayer(nn.Module):
    """x + attention(layer norm(x))."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = AttentionOnlyAttention(config)

    def forward(
        self, x_BTD: Tensor, turns: tuple[Tensor, Tensor], *, with_pattern: bool
    ) -> tuple[Tensor, Tensor | None]:
        term_BTD, pattern = self.self_attn(
            self.input_layernorm(x_BTD), turns, with_pattern=with_pattern
        )
        return x_BTD + term_BTD, pattern


class AttentionOnlyPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """What the two models share."""

    config_class = AttentionOnlyConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    _no_split_modules = ("AttentionOnlyLayer",)

    def set_attn_implementation(self, *arguments: object, **settings: object) -> None:
        """There is one implementation, which gives patterns where they are asked for."""


class AttentionOnlyModel(AttentionOnlyPreTrainedModel):
    """Embedding, layers, final norm."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            AttentionOnlyLayer(config) for _ in range(config.num_hidden_layers)
        )
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def forward(
        self, input_ids: Tensor, output_attentions: bool = False, **_: Any
    ) -> BaseModelOutput:
        """Hidden states after the final norm; whole sequences, no padding, no cache."""
        x_BTD = self.embed_tokens(input_ids)
        turns, patterns = rotary(self.config, input_ids.shape[1], x_BTD), []
        for layer in self.layers:
            x_BTD, pattern = layer(x_BTD, turns, with_pattern=output_attentions)
            patterns.append(pattern)
        attentions = tuple(patterns) if output_attentions else None
        return BaseModelOutput(last_hidden_state=self.norm(x_BTD), attentions=attentions)


class AttentionOnlyForCausalLM(AttentionOnlyPreTrainedModel):
    """The model with its unembedding `lm_head`."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__(config)
        self.model = AttentionOnlyModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """The unembedding."""
        return self.lm_head

    def forward(
        self, input_ids: Tensor, output_attentions: bool = False, **_: Any
    ) -> CausalLMOutput:
        """Logits [B, T, V]."""
        base = self.model(input_ids, output_attentions=output_attentions)
        logits_BTV = self.lm_head(base.last_hidden_state)
        return CausalLMOutput(logits=logits_BTV, attentions=base.attentions)


AutoConfig.register(AttentionOnlyConfig.model_type, AttentionOnlyConfig)
AutoModelForCausalLM.register(AttentionOnlyConfig, AttentionOnlyForCausalLM)
