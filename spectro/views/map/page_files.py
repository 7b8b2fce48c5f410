"""The files of the map's page (ADR 033).

What lies in `page/`, what it shares with other pages (`report/common/`, ADR 048), and deck.gl as
pydeck's wheel brings it.
"""

from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

DECK = "deck.js"
_DECK_IN_WHEEL = "nbextension/static/index.js"


def page_files() -> Iterator[tuple[str, bytes]]:
    """Names and bytes, in order of names; `deck.js` last.

    Raises ValueError, in one line, where pydeck is not installed.
    """
    folders = files("spectro.views.map") / "page", files("spectro.views") / "common"
    own = [file for folder in folders for file in folder.iterdir()]
    for file in sorted(own, key=lambda file: file.name):
        if file.name.endswith((".html", ".css", ".js")):
            yield file.name, file.read_bytes()
    yield DECK, _deck()


def _deck() -> bytes:
    """deck.gl's built script, read without importing pydeck, which is for notebooks."""
    spec = find_spec("pydeck")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    found = [path for folder in folders if (path := Path(folder) / _DECK_IN_WHEEL).exists()]
    if not found:
        raise ValueError(
            f"the map is drawn by deck.gl, expected pydeck/{_DECK_IN_WHEEL}, found none: "
            "pip install 'pydeck>=0.9.3'"
        )
    return found[0].read_bytes()
