"""devinterp's inputs, noise and data order, for comparisons along the same draws.

Its noise (torch's global generator, one normal tensor per whole parameter and step) and its data
order (a seeded DataLoader) are replayed into our chains, so that what is left to differ is
arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

SEED, VOCAB, CONTEXT = 100, 53, 12
GAMMA, NBETA, STEP_SIZE, DAMPING, ALPHA = 30.0, 10.0, 1e-4, 0.01, 0.9


class DevinterpRandomness:
    """devinterp's noise and data order, as a `Randomness`."""

    def __init__(self, model: GPTNeoXForCausalLM, num_sequences: int, batch_size: int) -> None:
        self._shapes = {name: p.shape for name, p in model.named_parameters()}
        self._heads = model.config.num_attention_heads
        self._streams: dict[tuple[str, int], torch.Generator] = {}
        order = DataLoader(
            range(num_sequences),
            batch_size=batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(SEED),
            drop_last=True,
        )
        self._epoch = list(order)

    def minibatch(self, chain: int, step: int, num_sequences: int, batch_size: int) -> Tensor:
        return self._epoch[step % len(self._epoch)]

    def noise(
        self, component: str, chain: int, step: int, like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        stream = self._streams.setdefault(
            (component, chain), torch.Generator().manual_seed(SEED + chain)
        )
        noise = {
            name: torch.normal(0.0, 1.0, size=self._shapes[name], generator=stream)
            for name in _parameters(component, list(self._shapes))
        }
        return self._blocks(component, noise)

    def _blocks(self, component: str, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cut the whole-parameter noise down to the component's blocks."""
        if component == "full":
            return noise
        values = list(noise.values())
        if component in ("embed", "unembed"):
            return {"weight": values[0]}
        if component.endswith("mlp"):
            names = ("up_weight", "up_bias", "down_weight", "down_bias")
            return dict(zip(names, values, strict=True))
        head, size = int(component.split("h")[1]), len(values[2]) // self._heads
        rows = slice(3 * size * head, 3 * size * (head + 1))
        return {
            "qkv_weight": values[0][rows],
            "qkv_bias": values[1][rows],
            "dense_weight": values[2][:, size * head : size * (head + 1)],
        }


def _parameters(component: str, names: list[str]) -> list[str]:
    """Parameters that devinterp draws noise for, in its order."""
    if component == "full":
        return names
    if component == "embed":
        return ["gpt_neox.embed_in.weight"]
    if component == "unembed":
        return ["lm_head.weight"]
    prefix = f"gpt_neox.layers.{component[1]}."
    if component.endswith("mlp"):
        return [n for n in names if n.startswith(prefix + "mlp.")]
    attention = [n for n in names if n.startswith(prefix + "attention.")]
    return [n for n in attention if not n.endswith("dense.bias")]


def random_model() -> GPTNeoXForCausalLM:
    torch.manual_seed(1)
    config = GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    return GPTNeoXForCausalLM(config).eval()


def random_ids() -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(7)
    sizes = {"sampling": 22, "evaluation": 8, "probe": 12}
    return {
        n: torch.randint(0, VOCAB, (s, CONTEXT + 1), generator=stream) for n, s in sizes.items()
    }
