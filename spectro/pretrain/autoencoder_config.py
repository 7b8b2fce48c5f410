"""Configuration of the training of an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, field

from spectro.autoencoders.config import TopKConfig
from spectro.models.config import ModelConfig
from spectro.tokens.config import TokensConfig


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """What an autoencoder is trained on. Raises ValueError for numbers out of range."""

    out_dir: str = ""
    """Folder that receives cfg.json, sae_weights.safetensors and training.json."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The model that is read."""
    hook: str = "blocks.2.hook_resid_post"
    """Where it is read."""
    tokens: TokensConfig = field(
        default_factory=lambda: TokensConfig(num_probe_sequences=1024, num_evaluation_sequences=32)
    )
    """Text: probe sequences train, evaluation sequences are held out."""
    top_k: TopKConfig = field(default_factory=TopKConfig)
    """The autoencoder."""
    num_tokens: int = 3_000_000
    """Tokens that it is trained on, the text again and again."""
    batch_tokens: int = 1024
    """Tokens of a step."""
    buffer_sequences: int = 512
    """Sequences whose positions are mixed."""
    num_threads: int = 1
    """Threads of torch."""

    def __post_init__(self) -> None:
        for name in ("num_tokens", "batch_tokens", "buffer_sequences", "num_threads"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
