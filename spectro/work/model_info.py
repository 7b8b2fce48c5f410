"""What the driver needs to know of the model: numbers, no arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spectro.formats.run_dir import RunFile
from spectro.models.components import Group, group_components, select_components
from spectro.susceptibility.estimator import EstimatorKind

if TYPE_CHECKING:  # heavy, and only the driver that loads a model needs it
    from transformers import GPTNeoXForCausalLM

ARITHMETIC = (
    "num_attention_heads",
    "use_parallel_residual",
    "layer_norm_eps",
    "hidden_act",
    "attention_bias",
    "rope_parameters",
)
"""Fields of a checkpoint's config that change its losses without changing a weight."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Shape and identity of a loaded model."""

    num_layers: int
    """Layers."""
    num_heads: int
    """Heads per layer."""
    hidden_size: int
    """d."""
    vocab_size: int
    """V."""
    max_context: int
    """Longest context that the model was built for."""
    device: str
    """Where the workers hold it."""
    weights_sha256: str
    """Digest of the model's arithmetic (its config) and of all weights by name and value."""

    @classmethod
    def of(cls, model: GPTNeoXForCausalLM) -> ModelInfo:
        """Describe a model."""
        config = model.config
        return cls(
            num_layers=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            vocab_size=config.vocab_size,
            max_context=config.max_position_embeddings,
            device=str(next(model.parameters()).device),
            weights_sha256=_digest(model),
        )

    def groups(self, patterns: list[str], kind: EstimatorKind) -> tuple[Group, ...]:
        """Groups to sample: those of the components, and `full` for the two-chain estimator.

        Raises ValueError if a pattern selects nothing.
        """
        chosen = select_components(patterns, self.num_layers, self.num_heads)
        return group_components(chosen, with_full=kind.needs_full)

    def cost(self, group: Group) -> float:
        """Work per token of a group's components, in weights multiplied (design §3).

        A layer has 12 d², the unembedding d·V; a component costs the layers from its own up.
        """
        layer, unembed = 12.0 * self.hidden_size**2, float(self.hidden_size * self.vocab_size)
        if group.name in ("full", "embed"):
            layers = self.num_layers
        elif group.name == "unembed":
            layers = 0
        else:
            layers = self.num_layers - (group.components[0].layer or 0)
        return len(group.components) * (layers * layer + unembed)


def model_of(file: RunFile, uri: str) -> ModelInfo:
    """The model's shape that a run has noted; raises ValueError where it has not."""
    try:
        return ModelInfo(**file.facts)
    except TypeError as error:
        raise ValueError(
            f"{uri}/run.yaml says nothing of the model's shape: it is of an earlier version, which "
            "this one cannot go on with"
        ) from error


def _digest(model: GPTNeoXForCausalLM) -> str:
    import torch  # see above

    digest = hashlib.sha256()
    for field in ARITHMETIC:
        digest.update(f"{field} {getattr(model.config, field, None)!r}".encode())
    for name, tensor in sorted(model.named_parameters()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
