"""The description of a run's model: size, device and digest; no arrays."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spectro.formats.run_dir import RunFile
from spectro.models.components import Group
from spectro.models.size import ModelSize

if TYPE_CHECKING:  # heavy, and only the driver that loads a model needs it
    from transformers import PreTrainedModel

ARITHMETIC = (
    "num_attention_heads",
    "use_parallel_residual",
    "layer_norm_eps",
    "hidden_act",
    "attention_bias",
    "rope_parameters",
)
"""Fields of a GPT-NeoX config that change its losses without changing a weight; of other families
all are taken that may."""

FACTS = ("num_layers", "num_heads", "hidden_size", "vocab_size", "max_context")
"""Fields that `run.yaml` records."""
OTHER_FACTS = ("family", "num_kv_heads", "is_tied", "has_mlp")
"""Fields that it records where they are not those of a GPT-NeoX model of this size."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo(ModelSize):
    """The model that a run measures: its size, device and digest."""

    device: str = ""
    """Where the workers hold it; empty until a worker has loaded it."""
    weights_sha256: str = ""
    """Digest of the model's arithmetic (its config) and of all weights by name and value; empty
    until a worker has loaded it."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> ModelInfo:
        """Describe a loaded model."""
        from spectro.models.size_of_config import size_of_config  # as heavy as the model

        size = size_of_config(model.config.to_dict())
        return cls(
            **dataclasses.asdict(size),
            device=str(next(model.parameters()).device),
            weights_sha256=_digest(model),
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What `run.yaml` records: all that groups and units follow from."""
        facts = {name: getattr(self, name) for name in FACTS}
        plain = ModelInfo(**facts)
        return facts | {
            name: value
            for name in OTHER_FACTS
            if (value := getattr(self, name)) != getattr(plain, name)
        }

    def cost(self, group: Group) -> float:
        """Work per token of a group's components, in weights multiplied (design §3).

        A layer has 12 d², the unembedding d·V; a component costs the layers from its own up.
        """
        layer, unembed = 12.0 * self.hidden_size**2, float(self.hidden_size * self.vocab_size)
        first = group.components[0]
        layers = self.layers_above(first) + (first.layer is not None)
        return len(group.components) * (layers * layer + unembed)


def model_of(file: RunFile, uri: str) -> ModelInfo:
    """The model that a run has recorded: `FACTS`, and once it is bound its device and digest.

    Raises ValueError where the run has recorded none.
    """
    try:
        return ModelInfo(**file.facts)
    except TypeError as error:
        raise ValueError(
            f"{uri}/run.yaml does not describe the model: expected {', '.join(FACTS)}; the run is "
            "of an earlier version and cannot be continued by this one"
        ) from error


def _digest(model: PreTrainedModel) -> str:
    import torch  # loaded with the model; commands that only read do without

    from spectro.models.config_json import arithmetic_settings

    digest = hashlib.sha256()
    config = model.config
    settings = {field: getattr(config, field, None) for field in ARITHMETIC}
    if config.model_type != "gpt_neox":
        settings = arithmetic_settings(config.to_dict())
    for field, value in settings.items():
        digest.update(f"{field} {value!r}".encode())
    for name, tensor in sorted(model.named_parameters()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
