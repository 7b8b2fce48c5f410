"""What a place holds before a run is published there, and whether that may be replaced.

The same rules hold for a folder and for a repository of the hub:

- a publication is recognised by its settings.yaml, which names format, version and its files;
- a place with files and without one is refused;
- a README.md whose checksum differs was edited: `EditedCard` refuses, keeps or replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import yaml

from spectro.views.publish.config import EditedCard

CARD = "README.md"
SETTINGS = "settings.yaml"
FORMAT, VERSION = "spectro publication", 1
_HUB_OWN = ".gitattributes"
"""What the hub puts into every repository."""


@dataclass(frozen=True, kw_only=True)
class EarlierPublication:
    """What a place holds."""

    files: Mapping[str, str]
    """Name → SHA-256 of the files of an earlier publication; empty where there is none."""
    kept_card: bytes | None
    """Card of a person that is to stay."""


def earlier_publication(
    where: str,
    names: Collection[str],
    read: Callable[[str], bytes],
    edited_card: EditedCard,
    *,
    keeps_others: bool,
) -> EarlierPublication:
    """What is at a place that may be replaced.

    Args:
        where: the place, for messages.
        names: its files.
        read: gives one of them.
        edited_card: what is done with a card that a person wrote.
        keeps_others: whether other files beside a publication stay, and are no reason to refuse.

    Raises ValueError, in one line, for files that are of no publication, for one of a later
    version, and for an edited card.
    """
    files = published_files(read(SETTINGS), where) if SETTINGS in names else {}
    own = {SETTINGS, *files} if files else set()
    others = sorted({*names} - own - {CARD, _HUB_OWN})
    if others and not (files and keeps_others):
        raise ValueError(
            f"{where} holds files that spectro did not publish ({others[0]} …): give a place that "
            "is empty or holds a publication alone"
        )
    if CARD not in names:
        return EarlierPublication(files=files, kept_card=None)
    card = read(CARD)
    is_edited = sha256(card).hexdigest() != files.get(CARD)
    if is_edited and edited_card is EditedCard.REFUSE:
        raise ValueError(
            f"{where}/{CARD} is not as published: edited_card=keep leaves it as it is, whatever "
            "it says of the earlier tables; edited_card=replace writes a new one"
        )
    kept = is_edited and edited_card is EditedCard.KEEP
    return EarlierPublication(files=files, kept_card=card if kept else None)


def published_files(settings: bytes, where: str) -> dict[str, str]:
    """Name → SHA-256 of the files that a settings.yaml names; empty for one that is not ours.

    Raises ValueError, in one line, for a publication of another version.
    """
    try:
        content: Any = yaml.safe_load(settings)
        if content["format"] != FORMAT:
            return {}
        version, files = content["version"], content["files"]
        if not all(isinstance(each, str) for pair in files.items() for each in pair):
            return {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, yaml.YAMLError):
        return {}
    if version != VERSION:
        raise ValueError(
            f"{where}/{SETTINGS} has version {version!s:.20} of a publication, expected {VERSION}: "
            "was it written by a later version of spectro?"
        )
    return dict(files)
