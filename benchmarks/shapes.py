"""Models and token ids to measure on: random weights in Pythia's shapes, or the shipped model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerBase

from spectro.measure.encoder import Encoder
from spectro.models.config import ModelConfig
from spectro.models.load import load_model, load_tokenizer
from spectro.models.size import ModelSize
from spectro.tokens.build import build
from spectro.tokens.config import TokensConfig

SHIPPED = "shipped"
PYTHIA_VOCAB = 50304
LAYERS_SIZE_HEADS = {
    "14m": (6, 128, 4),
    "70m": (6, 512, 8),
    "160m": (12, 768, 12),
    "410m": (24, 1024, 16),
    "1.4b": (24, 2048, 16),
    "toy": (3, 32, 2),
}
NAMES = [*(name for name in LAYERS_SIZE_HEADS if name != "toy"), SHIPPED]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Token ids [sequences, T+1] of the three kinds."""

    sampling: Tensor
    evaluation: Tensor
    probe: Tensor


def model_of(shape: str, device: str) -> GPTNeoXForCausalLM:
    """The shipped model, or one of a Pythia's shape with random weights: time asks no more."""
    if shape == SHIPPED:
        return load_model(ModelConfig(device=device))
    num_layers, hidden, num_heads = LAYERS_SIZE_HEADS[shape]
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=97 if shape == "toy" else PYTHIA_VOCAB,
        hidden_size=hidden,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        use_cache=False,
    )
    with torch.device(device):
        model = GPTNeoXForCausalLM(config)
    return model.eval().requires_grad_(False)


def components_of(
    model: GPTNeoXForCausalLM, shape: str, patterns: Sequence[str] | None = None
) -> list[str]:
    """Components that stand for all, or those of some patterns.

    For time the middle layer, whole as a run measures it, with embedding and unembedding: the
    time of a head or an MLP is linear in its layer, in either engine. For reliability, which
    is asked of the shipped model, head and MLP of a low, a middle and the top layer.
    """
    num_layers = model.config.num_hidden_layers
    middle, top = num_layers // 2, num_layers - 1
    if not patterns and shape == SHIPPED:
        parts = [f"l{layer}{part}" for layer in sorted({0, middle, top}) for part in ("h0", "mlp")]
        patterns = ["embed", *parts, "unembed"]
    patterns = patterns or ["embed", f"l{middle}*", "unembed"]
    chosen = ModelSize.of_config(model.config.to_dict()).select(patterns)
    return [component.name for component in chosen]


def ids_of(
    model: GPTNeoXForCausalLM,
    shape: str,
    *,
    sampling: int,
    evaluation: int,
    probe: int,
    context: int,
) -> Splits:
    """Sequences: of the embedded corpus for the shipped model, random ids for random weights."""
    counts = {"sampling": sampling, "evaluation": evaluation, "probe": probe}
    if shape == SHIPPED:
        return corpus(load_tokenizer(ModelConfig()), counts, context)
    stream = torch.Generator().manual_seed(1)
    vocab = model.config.vocab_size
    return Splits(
        **{
            name: torch.randint(vocab, (count, context + 1), generator=stream)
            for name, count in counts.items()
        }
    )


def corpus(tokenizer: PreTrainedTokenizerBase, counts: Mapping[str, int], context: int) -> Splits:
    """Sequences of the embedded corpus in a model's tokens, as many as `counts` has by split.

    The subsets are interleaved, so that the first sequences of a split are of all kinds.
    """
    config = TokensConfig()
    per_subset: dict[str, Any] = {
        f"num_{name}_sequences": -(-count // len(config.subsets)) for name, count in counts.items()
    }
    splits = build(
        dataclasses.replace(config, context=context, pool_sequences=256, **per_subset),
        Encoder(tokenizer, "embedded"),
        tokenizer.eos_token_id,
        len(tokenizer),
    )
    found = {}
    for name, count in counts.items():
        ids = torch.from_numpy(getattr(splits, name).ids_ST1).long()
        by_subset = torch.from_numpy(getattr(splits, name).subset_S).argsort(stable=True)
        interleaved = ids[by_subset].view(len(config.subsets), -1, context + 1).transpose(0, 1)
        found[name] = interleaved.flatten(0, 1)[:count].contiguous()
    return Splits(**found)
