"""Putting a page together: template, style, scripts and data in one file.

The data stands in a JSON block that no parser can leave (`<`, `>` and `&` are escaped, all else
is ASCII), and the page's policy lets nothing run but its own scripts and nothing be fetched.
`common/` is shared with the pages that are folders (`views/map/page/`): there its scripts are
modules; here all scripts of a page stand in one function, without `import` and `export`.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any

COMMON = "common/"
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_IMPORT = re.compile(r"^import\b[^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class)\b)", re.MULTILINE)


def assemble(
    title: str,
    data: dict[str, Any],
    *,
    template: str,
    styles: Sequence[str],
    scripts: Sequence[str],
    rules: str = "",
) -> str:
    """The whole file. The same data gives the same bytes.

    Args:
        title: of the page.
        data: what its scripts draw.
        template, styles, scripts: files of `templates/`, or of `common/` where their names begin
            so, in their order; modules after those whose names they use.
        rules: style that follows those of the files.

    Raises ValueError if the data holds a number that is not finite.
    """
    script = f'"use strict";(() => {{\n{joined(scripts)}\n}})();'
    style = "\n".join([*(_read(name) for name in styles), rules]).rstrip("\n") + "\n"
    return Template(_read(template)).substitute(
        title=html.escape(title),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=embed(data),
    )


def joined(scripts: Sequence[str]) -> str:
    """Scripts and modules as one script: their names must differ."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _read(name))) for name in scripts)


def embed(data: dict[str, Any]) -> str:
    """JSON that stays inside its script element whatever the strings in it say."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _read(name: str) -> str:
    folder = files("spectro.views")
    path = folder / name if name.startswith(COMMON) else folder / "page" / "templates" / name
    return path.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
