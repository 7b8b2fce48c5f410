"""Any text as inline Markdown that shows it, and does nothing else (CommonMark, HTML, YAML).

Names of models, subsets, components and tokens are other people's text: on a page of the hub they
must not become tags, links, images, mentions, headings or cells of a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from spectro.tokens.display.terminal_text import plain_string

_EFFECT = re.compile(r"""[\\`*_\[\]{}<>&|~$^#@:!]|^[-+=]|(?<!\d)\.|\.(?!\d)""")
"""Punctuation that may have an effect within a line, or at the beginning of a block; a point is
part of a link or of a list's number, but between digits."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escaped(text: object) -> str:
    """One line: control and bidirectional characters as marks, punctuation without effect.

    A backslash takes its meaning from any ASCII punctuation (CommonMark 0.31 §2.4).
    """
    line = " ".join(plain_string(str(text)).split())
    return _EFFECT.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), line)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of escaped cells; heads are ours."""
    lines = [heads, ["---"] * len(heads), *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
