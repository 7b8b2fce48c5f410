"""One self-contained HTML file: template, styles, scripts and data, with a strict policy (ADR 081).

Scripts are ES modules, each wrapped in a function, in the order of their imports, so that browsers
run them from a disk, where modules cannot be fetched. Data are in a JSON block that no parser can
leave (`<`, `>` and `&` are escaped, all else is ASCII), and the page's policy lets nothing run but
its own scripts and nothing be fetched.
"""

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.-]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) ([\w$]+))", re.MULTILINE)


def assemble(
    title: str,
    data: Mapping[str, Any],
    *,
    template: str,
    styles: Sequence[str],
    folders: Sequence[str],
    rules: str = "",
) -> str:
    """The whole file. The same data gives the same bytes.

    Args:
        title: of the page.
        data: what its scripts read from the element `data`.
        template, styles: files, by their paths below `spectro/views/`.
        folders: where the script `main.js` and the modules that it imports are.
        rules: style that follows those of the files.

    Raises ValueError if the data holds a number that is not finite.
    """
    script = bundle("main.js", modules(folders))
    style = "\n".join([*(read(name) for name in styles), rules]).rstrip("\n") + "\n"
    return Template(read(template)).substitute(
        title=html.escape(title),
        style=style,
        style_hash=digest(style),
        script=script,
        script_hash=digest(script),
        data=embed(data),
    )


def modules(folders: Sequence[str]) -> dict[str, str]:
    """Sources of the modules in some folders below `spectro/views/`, by file name."""
    found = {}
    for folder in folders:
        for file in (files("spectro.views") / folder).iterdir():
            if file.name.endswith(".js"):
                found[file.name] = file.read_text(encoding="utf-8")
    return found


def bundle(main: str, sources: Mapping[str, str]) -> str:
    """A module and all that it imports as one script.

    Raises ValueError where modules import each other in a circle.
    """
    done: dict[str, str] = {}
    _add(main, sources, done, ())
    return '"use strict";(() => {\n' + "\n".join(done.values()) + "\n})();"


def _add(
    name: str, sources: Mapping[str, str], done: dict[str, str], above: tuple[str, ...]
) -> None:
    """Wrap a module after those that it imports."""
    if name in above:
        raise ValueError(f"modules import each other in a circle: {' → '.join([*above, name])}")
    if name in done:
        return
    source = sources[name]
    for _, other in _IMPORT.findall(source):
        _add(other, sources, done, (*above, name))
    names = ", ".join(_EXPORT.findall(source))
    body = _EXPORT.sub("", _IMPORT.sub(_as_constants, source))
    done[name] = f"const {_variable(name)} = (() => {{\n{body}return {{ {names} }};\n}})();"


def _as_constants(found: re.Match[str]) -> str:
    return f"const {{{found[1].replace(' as ', ': ')}}} = {_variable(found[2])};\n"


def _variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name.removesuffix(".js"))


def embed(data: Mapping[str, Any]) -> str:
    """JSON that stays inside its script element whatever the strings in it say."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def packed(data: bytes) -> str:
    """Bytes as base64 of gzip; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


def digest(text: str) -> str:
    """SHA-256 as content security policies have it."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def read(name: str) -> str:
    """A text file by its path below `spectro/views/`."""
    return (files("spectro.views") / name).read_text(encoding="utf-8")
