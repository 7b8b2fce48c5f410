"""The viewer's two packagings: files of a folder for any static server, or one file (ADR 081).

Both have the same page and the same objects by the same names. In a folder `data.js` fetches them;
in one file it unpacks them from the element `objects`. deck.gl comes from pydeck's wheel.
"""

import html
import logging
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from spectro.views.viewer.one_file import bundle, digest, embed, modules, packed, read

logger = logging.getLogger(__name__)
DECK = "deck.js"
_DECK_IN_WHEEL = "nbextension/static/index.js"
_FOLDERS = ("viewer/common", "viewer/page")
_STYLES = ("viewer/common/base.css", "viewer/page/viewer.css", "viewer/page/sections.css")
_FOLDER_POLICY = "script-src 'self'; style-src 'self'; connect-src 'self'"
_INDEX = "viewer/page/index.html"


def page_files() -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the folder's own files, in order of names; `deck.js` last.

    Raises ValueError, in one line, where pydeck is not installed.
    """
    own = [file for folder in _FOLDERS for file in (files("spectro.views") / folder).iterdir()]
    for file in sorted(own, key=lambda file: file.name):
        if file.name == "index.html":
            yield file.name, _folder_index().encode()
        elif file.name.endswith((".css", ".js")):
            yield file.name, file.read_bytes()
    yield DECK, _deck()


def one_file(title: str, objects: Mapping[str, bytes]) -> str:
    """The page with all objects in it, deck.gl among them where pydeck is installed."""
    inlined = {name: packed(data) for name, data in objects.items()}
    policy = []
    try:
        deck = _deck()
    except ValueError as error:
        logger.warning("the page has no map: %s", error)
    else:
        inlined[DECK] = packed(deck)
        policy.append(f"'sha256-{digest(deck.decode())}'")
    script = bundle("main.js", modules(_FOLDERS))
    style = "\n".join(read(name) for name in _STYLES)
    sources = " ".join([f"'sha256-{digest(script)}'", *policy])
    return Template(read(_INDEX)).substitute(
        title=html.escape(title),
        policy=f"script-src {sources}; style-src 'sha256-{digest(style)}'",
        head=f"<style>{style}</style>",
        scripts=f'<script type="application/json" id="objects">{embed(inlined)}</script>\n'
        f"<script>{script}</script>",
    )


def _folder_index() -> str:
    links = [f'<link rel="stylesheet" href="{Path(name).name}">' for name in _STYLES]
    return Template(read(_INDEX)).substitute(
        title="spectro",
        policy=_FOLDER_POLICY,
        head="\n".join([*links, '<script type="module" src="main.js"></script>']),
        scripts="",
    )


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
