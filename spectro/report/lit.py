"""A token lit in its context, as strings of the display alphabet: what tables and figures show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spectro.report.vocabulary import CLOSE, OPEN, display

if TYPE_CHECKING:  # inputs.py, which it needs, needs this file
    from spectro.report.contexts import Context


@dataclass(frozen=True, kw_only=True)
class Lit:
    """One token (x, y), ready to be shown."""

    before: tuple[str, ...]
    """The end of x."""
    y: str
    """The token that is lit."""
    after: tuple[str, ...]
    """What follows."""
    clipped: bool
    """Whether x begins earlier than what is shown."""
    subset: int
    """Index of its subset."""
    token_id: int
    """Its id."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """How token ids are shown, whether or not the tokenizer is at hand."""

    pieces: Sequence[bytes | None] | None
    """Bytes of every id; None where the run's model is not at hand."""

    def show(self, token: int) -> str:
        """One token in the display alphabet; `#17` without a tokenizer."""
        if self.pieces is None:
            return f"{OPEN}#{token}{CLOSE}"
        return display(self.pieces[token] if 0 <= token < len(self.pieces) else None)

    def lit(self, contexts: Iterable[Context]) -> list[Lit]:
        """Contexts as strings."""
        return [
            Lit(
                before=tuple(map(self.show, context.before)),
                y=self.show(context.y),
                after=tuple(map(self.show, context.after)),
                clipped=context.clipped,
                subset=context.subset,
                token_id=context.token_id,
            )
            for context in contexts
        ]
