"""Which autoencoder reads which model, checked before anything is computed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from spectro.autoencoders.autoencoder import InputNorm
from spectro.autoencoders.config import EncodeConfig, ReadingModelConfig
from spectro.autoencoders.hooks import Hook, parse_hook
from spectro.autoencoders.read import read_autoencoder
from spectro.autoencoders.released import Released
from spectro.config import to_dict
from spectro.models.config import ModelConfig

ALIASES = {"gpt2-small": "gpt2"}
"""Names of TransformerLens that differ from the hub's."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderSource:
    """An autoencoder, the model that it reads, and how."""

    place: str
    """As given by the user."""
    released: Released
    sha256: str
    """Of its files."""
    hook: Hook
    model: ModelConfig
    """The model that is read."""
    is_own_model: bool
    """Whether that is the run's."""
    accept_mismatch: bool
    """Whether another model than the autoencoder's, and a poor reconstruction, are accepted."""
    config: EncodeConfig

    @property
    def description(self) -> dict[str, Any]:
        """What features depend on, as plain values."""
        own = self.released.autoencoder
        model = {"name": self.model.name_or_path, "revision": self.model.revision}
        return {
            "autoencoder": {
                "sha256": self.sha256,
                "layout": self.released.layout,
                "kind": own.kind.value,
                "num_features": own.num_features,
                "k": own.k,
                "norm": InputNorm(own.norm).value,
                "model": self.released.model,
            },
            "hook": self.hook.name,
            "model": model | {"gguf_file": self.model.gguf_file, "dtype": self.model.dtype},
            "config": to_dict(self.config),
        }

    @property
    def what(self) -> str:
        """For messages."""
        return f"autoencoder {self.place!r} at {self.hook.name} of {self.model.name_or_path!r}"


def source_of(
    place: str,
    run_model: ModelConfig,
    reading: ReadingModelConfig,
    config: EncodeConfig,
    *,
    hook: str | None = None,
    accept_mismatch: bool = False,
) -> AutoencoderSource:
    """Read an autoencoder and check that it is of the model that is to be read.

    Args:
        place: folder, or name of one of the package.
        run_model: the run's.
        reading: another model that reads the run's tokens.
        config: how.
        hook: where it reads; None: as its files say.
        accept_mismatch: accept another model.

    Raises ValueError, in one line.
    """
    released, sha256 = read_autoencoder(place)
    text = hook or released.hook
    if text is None:
        raise ValueError(
            f"autoencoder {place!r}: its files do not say where it reads the model: give "
            "hook=blocks.<layer>.hook_resid_post, or another one"
        )
    model = dataclasses.replace(run_model, device=reading.device)
    if reading.name_or_path is not None:
        model = ModelConfig(
            name_or_path=reading.name_or_path, revision=reading.revision, device=reading.device
        )
    names = [(each.name_or_path, each.revision) for each in (model, run_model)]
    found = AutoencoderSource(
        place=place, released=released, sha256=sha256, hook=parse_hook(text), model=model,
        is_own_model=names[0] == names[1], accept_mismatch=accept_mismatch, config=config,
    )  # fmt: skip
    if not accept_mismatch:
        _require_same_model(found)
    return found


def _require_same_model(found: AutoencoderSource) -> None:
    stated, used = found.released.model, found.model.name_or_path
    what = "the run's model" if found.is_own_model else "model.name_or_path"
    if stated is not None and _plain(stated) != _plain(used):
        raise ValueError(
            f"autoencoder {found.place!r} is of the model {stated!r}, {what} is {used!r}: give "
            "model.name_or_path of its own model, which then reads the run's tokens, or "
            "accept_mismatch=true"
        )
    revision, own = found.released.revision, found.model.revision
    if revision is not None and (revision or "main") != (own or "main"):
        raise ValueError(
            f"autoencoder {found.place!r} is of revision {revision!r} of {stated!r}, {what} is of "
            f"{own or 'main'!r}: give both of its own model, or accept_mismatch=true"
        )


def _plain(name: str) -> str:
    last = name.rstrip("/").rpartition("/")[2].lower()
    return ALIASES.get(last, last)


def require_same_weights(
    found: AutoencoderSource, weights_sha256: str, run_sha256: str | None
) -> None:
    """Raise ValueError, in one line, for other weights than the run's, or than those that the
    autoencoder was trained on where its files have their digest."""
    if found.is_own_model and run_sha256 not in (None, weights_sha256):
        raise ValueError(
            f"the model {found.model.name_or_path!r} has other weights than the run was measured "
            "with: has the checkpoint been replaced?"
        )
    stated = found.released.weights_sha256
    if stated not in (None, weights_sha256) and not found.accept_mismatch:
        raise ValueError(
            f"autoencoder {found.place!r} was trained on weights {str(stated)[:16]}, the model "
            f"{found.model.name_or_path!r} has {weights_sha256[:16]}: accept_mismatch=true "
            "accepts it"
        )
