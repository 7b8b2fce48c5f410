"""Configuration of a pretraining run; every field is checked before any text is read."""

from dataclasses import dataclass, field
from enum import StrEnum

from spectro.settings import refuse_without_effect


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class Family(StrEnum):
    """Architecture that is trained."""

    GPT_NEOX = "gpt_neox"
    ATTENTION_ONLY = "attention_only"


@dataclass(frozen=True, kw_only=True)
class TextGroup:
    """One named part of the training mixture."""

    globs: list[str]
    """Absolute patterns (`**` recurses); `{stdlib}`, `{site}` stand for this Python's folders."""
    weight: float
    """Relative share of the training sequences; weights need not sum to one."""
    max_chars: int = 8_000_000
    """Reading stops, in a keyed random order of the files, when this many characters are held."""
    max_pieces_per_file: int = 6
    """Documents taken from one file; longer files are cut, so that none dominates its group."""

    def __post_init__(self) -> None:
        _require(len(self.globs) > 0, "TextGroup.globs: expected at least one pattern, found none")
        _require(self.weight > 0, f"TextGroup.weight: expected > 0, found {self.weight}")
        _require(self.max_chars > 0, f"TextGroup.max_chars: expected > 0, found {self.max_chars}")


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Shape of the model that is trained (untied embeddings; GPT-NeoX: parallel residual)."""

    family: Family = Family.GPT_NEOX
    """`gpt_neox`, or `attention_only` (models/attention_only.py)."""
    num_layers: int = 4
    """Number of transformer blocks."""
    num_heads: int = 4
    """Attention heads per block."""
    hidden_size: int = 128
    """Width of the residual stream."""
    intermediate_size: int = 512
    """Width of the MLP; `attention_only` has none."""
    vocab_size: int = 2048
    """Size of the byte-level BPE vocabulary, `<|endoftext|>` included."""
    rotary_pct: float = 0.25
    """Share of each head's dimensions that carry rotary positions; `attention_only`: all."""
    max_positions: int = 512
    """`max_position_embeddings` written into the model's config."""

    def __post_init__(self) -> None:
        _require(
            self.hidden_size % self.num_heads == 0,
            f"model.hidden_size: expected a multiple of num_heads={self.num_heads}, "
            f"found {self.hidden_size}",
        )
        _require(
            self.vocab_size >= 512,
            f"model.vocab_size: expected >= 512 (256 bytes and merges), found {self.vocab_size}",
        )
        if self.family is Family.ATTENTION_ONLY:
            reason = "on an attention-only model"
            inert = dict.fromkeys(("intermediate_size", "rotary_pct"), reason)
            refuse_without_effect(self, "model.", inert)


@dataclass(frozen=True, kw_only=True)
class LearningRateSchedule:
    """Token budget and learning rates; nothing here depends on the clock."""

    num_tokens: int
    """Training tokens in all; lower it in a resumed run to decay earlier."""
    batch_sequences: int = 32
    """Sequences per optimiser step."""
    context: int = 256
    """Training context T; each sequence carries T + 1 ids."""
    warmup_tokens: int = 400_000
    """Tokens over which the learning rates rise linearly from zero."""
    decay_fraction: float = 0.3
    """Last share of the budget, over which the learning rates fall linearly to zero."""
    muon_lr: float = 0.02
    """Peak learning rate of the hidden matrices (Muon)."""
    adam_lr: float = 0.003
    """Peak learning rate of embeddings, norms and biases (AdamW)."""
    weight_decay: float = 0.01
    """Decoupled weight decay of both optimisers."""
    checkpoint_every_tokens: int = 1_000_000
    """Distance between checkpoints and evaluations."""
    kept_tokens: list[int] = field(default_factory=list)
    """Tokens after which a copy of the model stays in `work_dir`, for curves over training; 0 is
    the initial model."""

    def __post_init__(self) -> None:
        for name in ("num_tokens", "batch_sequences", "context", "checkpoint_every_tokens"):
            value = getattr(self, name)
            _require(value > 0, f"schedule.{name}: expected > 0, found {value}")
        _require(
            0 < self.decay_fraction <= 1,
            f"schedule.decay_fraction: expected in (0, 1], found {self.decay_fraction}",
        )


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything a pretraining run depends on, beside the text itself."""

    groups: dict[str, TextGroup]
    """The training mixture by group name."""
    schedule: LearningRateSchedule
    """Token budget and learning rates."""
    out_dir: str
    """Folder that receives the model, its tokenizer and training.json."""
    work_dir: str
    """Folder for token caches and checkpoints; a run found here is resumed."""
    model: ModelShape = field(default_factory=ModelShape)
    """Shape of the model."""
    seed: int = 0
    """Seed of the mixture, the tokenizer's sample and the initial weights."""
    heldout_permille: int = 20
    """Documents per thousand, chosen by a hash of their text, that are never trained on."""
    heldout_sequences: int = 48
    """Held-out sequences per group on which the loss is reported."""
    document_bytes: int = 60_000
    """Longer files are split at a line break into documents of about this size."""
    tokenizer: str | None = None
    """Folder of a tokenizer to use, such as another model's; None trains one on the mixture."""
    tokenizer_chars: int = 24_000_000
    """Characters of the mixture on which a tokenizer is trained."""
    num_threads: int = 1
    """Threads for torch; on a shared machine one is faster than two that wait for each other."""
    compile: bool = False
    """Compile the model with torch.compile (needs a C++ compiler); faster, not bit-identical."""

    def __post_init__(self) -> None:
        _require(len(self.groups) > 0, "groups: expected at least one text group, found none")
        _require(
            0 < self.heldout_permille < 1000,
            f"heldout_permille: expected in (0, 1000), found {self.heldout_permille}",
        )
        _require(bool(self.out_dir) and bool(self.work_dir), "out_dir and work_dir must be set")
