"""Configuration of the model and of its scoring: names and numbers, no torch.

What they mean for tensors is in load.py, precision.py and top_k_softmax.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from spectro.settings import refuse_without_effect

EMBEDDED = "embedded"
"""Name of the default model, which comes with the package."""
PACKAGED = {EMBEDDED: "model", "attention-only": "attention_only"}
"""Name of a model that comes with the package → its folder in `assets`."""
WEIGHT_DTYPES = ("float32", "float64")


class Precision(StrEnum):
    """What operands of matrix products are rounded to."""

    FLOAT32 = "float32"
    TF32 = "tf32"
    BFLOAT16 = "bfloat16"


def check_precision(precision: Precision, dtype: str) -> None:
    """Raise ValueError unless a model of this dtype can have products of this precision.

    `float32` means "as the model is": it is the only choice for a float64 model, whose products
    are then float64.
    """
    if dtype == "float64" and precision is not Precision.FLOAT32:
        raise ValueError(
            f"precision {precision.value!r} needs a float32 model, found float64: a float64 model "
            "is for reference values, whose products are not rounded. Leave precision at "
            "'float32' (products as the model is), or take dtype 'float32'"
        )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model is measured, and where it runs."""

    name_or_path: str = EMBEDDED
    """`embedded`, `attention-only`, a local folder, a URL of fsspec such as
    `s3://bucket/pythia-14m` (copied once per machine), or a hub name such as
    `EleutherAI/pythia-14m`."""
    revision: str | None = None
    """Hub revision (branch, tag such as `step143000`, or commit); None is the default branch.
    Refused for models of the package, a folder and a URL, which have none to choose from."""
    gguf_file: str | None = None
    """Name of a GGUF file in that folder, URL or repository, such as `model.Q8_0.gguf`: config,
    weights and tokenizer are read from it, and the dequantised weights are measured. None: config,
    tokenizer and safetensors."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:0`, or `auto`: CUDA where there is one."""
    dtype: str = "float32"
    """Type of the weights, and of all arithmetic that `precision` does not round."""
    precision: Precision = Precision.FLOAT32
    """What operands of matrix products are rounded to: `float32`, `tf32` or `bfloat16`. With
    dtype `float64` only `float32`, which means "as the model is" (see precision.py)."""

    def __post_init__(self) -> None:
        if not self.name_or_path:
            raise ValueError("model.name_or_path is empty: give 'embedded', a folder or a hub name")
        if self.dtype not in WEIGHT_DTYPES:
            raise ValueError(
                f"model.dtype must be one of {', '.join(WEIGHT_DTYPES)}, found {self.dtype!r}"
            )
        check_precision(self.precision, self.dtype)
        self._check_gguf_file()
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"model.device must be auto, cpu or cuda[:n], found {self.device!r}")

    def _check_gguf_file(self) -> None:
        if self.gguf_file is None:
            return
        parts = self.gguf_file.split("/")
        if not self.gguf_file.endswith(".gguf") or not all(parts) or {"..", "."} & set(parts):
            raise ValueError(
                "model.gguf_file must be the name of a .gguf file inside model.name_or_path, "
                f"found {self.gguf_file!r}"
            )
        if self.name_or_path == EMBEDDED:
            raise ValueError(
                f"model.gguf_file is {self.gguf_file!r}, but the embedded model has none: give "
                "model.name_or_path"
            )


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """The approximation of the softmax, within a measured error."""

    shortlist_size: int = 1024
    """K, likeliest next tokens per position (top_k_softmax.py); 0: the whole vocabulary always. It
    is used where the vocabulary is at least 16 times as large."""
    max_shortlist_error: float = 0.01
    """Largest error of Δℓ, as a share of its size over the pilot's draws and the evaluation
    set, at which a component's losses are taken from the top-K softmax; the errors of draws mostly
    cancel in χ, which is off by far less."""

    def __post_init__(self) -> None:
        if self.shortlist_size < 0:
            raise ValueError(
                f"scoring.shortlist_size must be at least 0, found {self.shortlist_size}"
            )
        if not self.max_shortlist_error >= 0:
            raise ValueError(
                f"scoring.max_shortlist_error must be at least 0, found {self.max_shortlist_error}"
            )

        if self.shortlist_size == 0:
            reason = "where scoring.shortlist_size is 0: every loss is exact"
            refuse_without_effect(self, "scoring.", {"max_shortlist_error": reason})

    def require_top_k(self, vocab_size: int) -> None:
        """Raise ValueError if settings of the top-K softmax are given where it is not used."""
        if self.shortlist_size and not self.uses_top_k(vocab_size):
            reason = (
                f"on this model: lists are used where the vocabulary ({vocab_size}) is at least 16 "
                "times as large as scoring.shortlist_size"
            )
            names = ("shortlist_size", "max_shortlist_error")
            refuse_without_effect(self, "scoring.", dict.fromkeys(names, reason))

    def uses_top_k(self, vocab_size: int) -> bool:
        """Whether K is smaller than the vocabulary by enough to pay."""
        return 0 < 16 * self.shortlist_size <= vocab_size
