"""Text in Hydra's grammar, so that it arrives as it was typed.

Hydra reads values by a grammar in which commas, brackets, quotes and `=` mean something, and
OmegaConf takes `${` for a reference.
"""

from __future__ import annotations

import re

RESOLVED = 2
"""How often OmegaConf looks for references in a value: when all are resolved, and when it is read
(schema.py). Each time takes one layer of backslashes before `${`."""
QUOTED = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
"""A text between quotes, as Hydra has it."""
VALUE_IN_QUOTES = re.compile(rf"{QUOTED}(?=\s*(?:,|$))", re.DOTALL)
"""One that is all of a value, before a comma or the end."""
OPEN, CLOSE = "([{", ")]}"


def is_quoted(text: str) -> bool:
    """Whether all of a text is between quotes."""
    return re.fullmatch(QUOTED, text, re.DOTALL) is not None


def unquoted(text: str) -> str:
    """What is between the quotes of a text; references stay references."""
    quote = text[0]
    return text[1:-1].replace(f"\\{quote}", quote)


def within_quotes(text: str, *, quotes: bool = True) -> str:
    """A text between quotes that arrives as it is, through Hydra's grammar and references.

    Without quotes: through references alone.
    """
    for _ in range(RESOLVED):
        text = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)
    if not quotes:
        return text
    text = re.sub(r'(\\*)"', lambda found: found[1] * 2 + r"\"", text)
    ending = len(text) - len(text.rstrip("\\"))
    return f'"{text}{text[len(text) - ending :]}"'


def hydra_text(key: str, text: str) -> str:
    """A text as it is where Hydra reads it so, between quotes elsewhere."""
    return text if "$" not in text and _hydra_reads(key, text) else within_quotes(text)


def parsed_by_hydra(text: str, error: str) -> str:
    """The same text, which Hydra can parse; ValueError, naming it, otherwise."""
    from hydra.core.override_parser.overrides_parser import OverridesParser  # commands that only
    from hydra.errors import HydraException  # read start without Hydra

    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        raise ValueError(f"{text!r} {error}") from None
    return text


def split(text: str) -> list[str]:
    """The values of a sweep: parts between commas that are in no brackets and no quotes.

    Spaces around a part go, unless they are in quotes. Brackets that do not match are no brackets.
    """
    parts = _parts(text, with_brackets=True) or _parts(text, with_brackets=False) or [text]
    return parts if len(parts) > 1 else [text]


def _hydra_reads(key: str, text: str) -> bool:
    """Whether Hydra takes `key=text` as that text."""
    from hydra.core.override_parser.overrides_parser import OverridesParser  # see above
    from hydra.core.override_parser.types import ValueType
    from hydra.errors import HydraException

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
