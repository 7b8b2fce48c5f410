"""Parts of a run: further measurements of the same tokens, each in its own folder.

    <run>/control/      nβ = 0
    <run>/nbeta-3/      another nβ, along the run's draws

A part has the objects of a run except the tokens.
"""

from __future__ import annotations

import re

CONTROL = "control"
_PART = re.compile(r"(?P<part>control|nbeta-[\d.e+-]+)(?:/(?P<rest>.*))?")


def nbeta_folder(nbeta_name: str) -> str:
    """Folder of the measurement at another nβ (`3`, `0.5`)."""
    return CONTROL if nbeta_name == "0" else f"nbeta-{nbeta_name}"


def split_part(name: str) -> tuple[str, str]:
    """(part, name within it) of an object of a run; the part is empty for the run itself."""
    found = _PART.fullmatch(name)
    if found is None or found["rest"] is None:
        return "", name
    return found["part"], found["rest"]


def is_part(folder: str) -> bool:
    """Whether a folder's name is that of a part of a run."""
    found = _PART.fullmatch(folder)
    return found is not None and found["rest"] is None
