"""Tokens of the display alphabet on one line of a terminal or a file."""

from __future__ import annotations

from rich.text import Text

from spectro.tokens.display.context_text import TokenInContext
from spectro.tokens.display.terminal_text import plain as on_one_line

__all__ = ["lit_line", "on_one_line"]


def lit_line(lit: TokenInContext, before: int, after: int) -> Text:
    """A token in its context, y in reverse; so many characters on either side."""
    left = on_one_line("".join(lit.before))[-before:] if before else ""
    right = on_one_line("".join(lit.after))[:after]
    return Text.assemble(
        (left.rjust(before), "dim"), (on_one_line(lit.y), "reverse"), (right, "dim")
    )
