"""What a training step changes: the model and its optimisers, and their checkpoints."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel

from spectro.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM
from spectro.pretrain.config import Family, ModelShape, PretrainConfig
from spectro.pretrain.optim import Muon, split_parameters


@dataclass(kw_only=True)
class TrainState:
    """Everything that a step changes."""

    model: PreTrainedModel
    """The model under training, float32."""
    optimisers: list[torch.optim.Optimizer]
    """Muon for hidden matrices, AdamW for the rest; each group keeps its `peak_lr`."""
    tokens_seen: int = 0
    """Training tokens consumed so far."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One record per evaluation."""


def build_model(shape: ModelShape, seed: int) -> PreTrainedModel:
    """A fresh model with seeded weights, float32, untied embeddings."""
    torch.manual_seed(seed)
    if shape.family is Family.ATTENTION_ONLY:
        dimensions = AttentionOnlyConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.hidden_size,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            max_position_embeddings=shape.max_positions,
            bos_token_id=0,
            eos_token_id=0,
        )
        return AttentionOnlyForCausalLM(dimensions)
    config = GPTNeoXConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=shape.max_positions,
        rotary_pct=shape.rotary_pct,
        use_parallel_residual=True,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPTNeoXForCausalLM(config)


def build_state(config: PretrainConfig) -> TrainState:
    """Model and optimisers at step zero."""
    model = build_model(config.model, config.seed)
    hidden, rest = split_parameters(model)
    schedule = config.schedule
    decay = schedule.weight_decay
    muon = Muon(hidden, lr=schedule.muon_lr, momentum=0.95, weight_decay=decay)
    adam = torch.optim.AdamW(
        rest, lr=schedule.adam_lr, betas=(0.9, 0.95), weight_decay=decay, fused=True
    )
    for optimiser in (muon, adam):
        for group in optimiser.param_groups:
            group["peak_lr"] = group["lr"]
    return TrainState(model=model, optimisers=[muon, adam])


def save_checkpoint(state: TrainState, path: Path) -> None:
    """Write a checkpoint whole: to a neighbouring file first, then into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    content = {
        "model": state.model.state_dict(),
        "optimisers": [o.state_dict() for o in state.optimisers],
        "tokens_seen": state.tokens_seen,
        "history": state.history,
    }
    torch.save(content, partial)
    os.replace(partial, path)


def load_checkpoint(state: TrainState, path: Path) -> None:
    """Continue `state` from a checkpoint of the same configuration."""
    content = torch.load(path, weights_only=True)
    state.model.load_state_dict(content["model"])
    for optimiser, saved in zip(state.optimisers, content["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    state.tokens_seen = int(content["tokens_seen"])
    state.history = list(content["history"])
