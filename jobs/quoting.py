"""Text in Hydra's grammar, so that it arrives as it was typed.

Hydra reads values by a grammar in which commas, brackets, quotes and `=` mean something, and
OmegaConf takes `${` for a reference.
"""

from __future__ import annotations

import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType
from hydra.errors import HydraException

RESOLVED = 2
"""How often OmegaConf looks for references in a value: when all are resolved, and when it is read
(`jobs/launch.py`). Each time takes one layer of backslashes before `${`."""
QUOTED = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
"""A text between quotes, as Hydra has it."""
VALUE_IN_QUOTES = re.compile(rf"{QUOTED}(?=\s*(?:,|$))", re.DOTALL)
"""One that is all of a value, before a comma or the end."""
OPEN, CLOSE = "([{", ")]}"


def is_quoted(text: str) -> bool:
    """Whether all of a text is between quotes."""
    return re.fullmatch(QUOTED, text, re.DOTALL) is not None


def within_quotes(text: str) -> str:
    """A text between quotes that arrives as it is, through Hydra's grammar and references."""
    for _ in range(RESOLVED):
        text = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)
    text = re.sub(r'(\\*)"', lambda found: found[1] * 2 + r"\"", text)
    ending = len(text) - len(text.rstrip("\\"))
    return f'"{text}{text[len(text) - ending :]}"'


def plain(key: str, text: str) -> str:
    """A text as it is, where Hydra reads it so, and between quotes elsewhere."""
    return text if "$" not in text and _reads_so(key, text) else within_quotes(text)


def split(text: str) -> list[str]:
    """The values of a sweep: parts between commas that are in no brackets and no quotes.

    Spaces around a part go, unless they are in quotes. Brackets that do not match are no brackets.
    """
    parts = _parts(text, with_brackets=True) or _parts(text, with_brackets=False) or [text]
    return parts if len(parts) > 1 else [text]


def _reads_so(key: str, text: str) -> bool:
    try:
        found = OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException:
        return False
    return (
        found.value_type is ValueType.ELEMENT
        and found.value() == text
        and type(found.value()) is str
    )


def _parts(text: str, *, with_brackets: bool) -> list[str]:
    """Stripped parts; none if brackets do not match."""
    parts, start, depth, position = [], 0, 0, 0
    while position < len(text):
        char = text[position]
        is_first = not text[start:position].strip()
        if is_first and (found := VALUE_IN_QUOTES.match(text, position)):
            position = found.end()
            continue
        depth += with_brackets * ((char in OPEN) - (char in CLOSE))
        if depth < 0:
            return []
        if char == "," and not depth:
            parts.append(text[start:position].strip())
            start = position + 1
        position += 1
    return [] if depth else [*parts, text[start:].strip()]
