"""A token lit in its context, as strings of the display alphabet: what tables and figures show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spectro.tokens.display.terminal_text import plain, typed
from spectro.tokens.display.token_texts import Tokenizer, TokenTexts
from spectro.tokens.display.vocabulary import CLOSE, OPEN, display


@dataclass(frozen=True, kw_only=True)
class Context:
    """One token (x, y) in its sequence: ids before y, y, ids after y."""

    token_id: int
    subset: int
    position: int
    before: tuple[int, ...]
    """The end of x."""
    y: int
    after: tuple[int, ...]
    clipped: bool
    """Whether x begins earlier than `before`."""

    @classmethod
    def of(
        cls,
        ids: Sequence[int],
        position: int,
        *,
        token_id: int,
        subset: int,
        before: int,
        after: int,
    ) -> Context:
        """Of the token at a position of a sequence of T + 1 ids; y is the id at position + 1."""
        target = position + 1
        start = max(0, target - before)
        return cls(
            token_id=token_id,
            subset=subset,
            position=position,
            before=tuple(ids[start:target]),
            y=ids[target],
            after=tuple(ids[target + 1 : target + 1 + after]),
            clipped=start > 0,
        )


@dataclass(frozen=True, kw_only=True)
class TokenInContext:
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
    """Bytes that every token adds inside a text, by id; None without a tokenizer."""
    texts: TokenTexts | None = None
    """The tokenizer's own way with whole texts; None: not known, pieces are put side by side."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, size: int) -> Vocabulary:
        """Of a tokenizer and the ids that the model has; errors as `TokenTexts.pieces`."""
        texts = TokenTexts(tokenizer, size)
        return cls(pieces=texts.pieces, texts=texts)

    def show(self, token: int) -> str:
        """One token in the display alphabet; `#17` without a tokenizer."""
        if self.pieces is None:
            return f"{OPEN}#{token}{CLOSE}"
        return display(self.pieces[token] if 0 <= token < len(self.pieces) else None)

    def in_text(self, ids: Sequence[int]) -> list[bytes | None] | None:
        """Bytes that each token of a whole text adds to it; None without a tokenizer."""
        if self.pieces is None or self.texts is not None:
            return None if self.texts is None else self.texts.in_text(ids)
        return [self.pieces[index] if index < len(self.pieces) else None for index in ids]

    def spelled(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of the tokens that are a text, and of those that are or contain it.

        As it is typed; where no token has that, with marks for white space (· ␣ ⏎ ⇥) as what they
        mean, then as an entry of the tokenizer's own file (`▁the`, `##ing`).
        """
        for wanted in dict.fromkeys((text.encode(), typed(text).encode())):
            holding = [i for i, piece in enumerate(self.pieces or ()) if piece and wanted in piece]
            if holding and self.pieces is not None:
                return [i for i in holding if self.pieces[i] == wanted], holding
        own = self.entry(text)
        return own, own

    def entry(self, text: str) -> list[int]:
        """Id of the token that the tokenizer's own file writes so; none where there is no such."""
        index = None if self.texts is None else self.texts.entry(text)
        return [] if index is None else [index]

    def written(self, text: str) -> str:
        """How the tokenizer itself writes a text, in a few words; "" where that is not known."""
        ids = [] if self.texts is None else self.texts.written(text)
        shown = [plain(self.show(index)) for index in ids]
        if len(shown) < 2:
            return f"the tokenizer writes it as {shown[0]}" if shown else ""
        return f"the tokenizer writes it as {len(shown)} tokens: {' '.join(shown)}"

    def lit(self, contexts: Iterable[Context]) -> list[TokenInContext]:
        """Contexts as strings."""
        return [
            TokenInContext(
                before=tuple(map(self.show, context.before)),
                y=self.show(context.y),
                after=tuple(map(self.show, context.after)),
                clipped=context.clipped,
                subset=context.subset,
                token_id=context.token_id,
            )
            for context in contexts
        ]
