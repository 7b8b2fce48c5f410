"""What a released autoencoder says of itself, and how the tensors of its file are checked.

A file must hold exactly the tensors of its kind, of the shapes that follow from two of them,
finite: what this version does not know is refused, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spectro.autoencoders.autoencoder import Autoencoder

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Released:
    """A released autoencoder with what its files say of its origin."""

    autoencoder: Autoencoder
    layout: str
    """Whose layout it is: `SAELens`, `dictionary_learning`, `sparsify`, `Gemma Scope`."""
    hook: str | None = None
    """Where its activations are read, in the library's words; None: the files do not say."""
    model: str | None = None
    """Name of the model; None: the files do not say."""
    revision: str | None = None
    """Revision of the model; None: the files do not say."""
    weights_sha256: str | None = None
    """Digest of the model's weights; None: the files do not say."""
    prepend_bos: bool = False
    """Whether its model read a token of the beginning before each sequence."""
    centred: bool = False
    """Whether its model wrote centred vectors (TransformerLens's center_writing_weights)."""


def require_tensors(found: Tensors, wanted: Mapping[str, str], what: str) -> dict[str, int]:
    """Sizes of the letters in the shapes of exactly these tensors.

    Args:
        found: tensors of a file.
        wanted: name → shape in letters, such as `DF`; empty for a scalar.
        what: kind of autoencoder, for messages.

    Raises ValueError, in one line, for a tensor that is missing, unknown, of another shape or not
    finite.
    """
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unknown:
        said = [f"{name} is missing" for name in missing] + [f"{n} is unknown" for n in unknown]
        raise ValueError(
            f"expected the tensors {', '.join(sorted(wanted))} of a {what}, but {', '.join(said)}: "
            "is it of another kind, or of another version of its library?"
        )
    sizes: dict[str, int] = {}
    for name, letters in wanted.items():
        shape = tuple(found[name].shape)
        if len(shape) != len(letters) or any(
            sizes.setdefault(letter, size) != size
            for letter, size in zip(letters, shape, strict=True)
        ):
            expected = [sizes.get(letter, letter) for letter in letters]
            raise ValueError(
                f"tensor {name} has shape {list(shape)}, expected {expected} beside the others of "
                f"this {what}"
            )
        if 0 in shape:
            raise ValueError(
                f"tensor {name} has shape {list(shape)}, expected at least one feature and one "
                "input: is the file damaged?"
            )
        if not bool(torch.isfinite(found[name].float()).all()):
            raise ValueError(f"tensor {name} has values that are not finite: is the file damaged?")
    return sizes


def float_of(tensor: Tensor) -> Tensor:
    """float32 on the CPU, contiguous."""
    return tensor.detach().to(device="cpu", dtype=torch.float32).contiguous()


def require_keys(found: Mapping[str, object], known: Sequence[str], what: str) -> None:
    """Raise ValueError, in one line, for a setting that this version does not know."""
    if unknown := sorted(found.keys() - set(known)):
        raise ValueError(
            f"{what} has the unknown setting {unknown[0]!r}: it may change what features are, so "
            "it is not left out; was it written by a later version of its library?"
        )


def require_k(k: object, num_features: int, what: str) -> int:
    """k of a top-k activation; raises ValueError unless it is in 1 … F."""
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= num_features:
        raise ValueError(f"{what}: k is {k!r}, expected a whole number from 1 to {num_features}")
    return k
