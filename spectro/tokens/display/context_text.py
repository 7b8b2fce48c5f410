"""Tokens in context as strings of the display alphabet, for tables and figures."""

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
    """One token (x, y) as display strings."""

    before: tuple[str, ...]
    """The end of x."""
    y: str
    """The highlighted token."""
    after: tuple[str, ...]
    """What follows."""
    clipped: bool
    """Whether x begins before what is shown."""
    subset: int
    """Index of its subset."""
    token_id: int


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Token ids as text, with or without a tokenizer."""

    pieces: Sequence[bytes | None] | None
    """Bytes of every token inside a text, by id; None without a tokenizer."""
    texts: TokenTexts | None = None
    """Decoding of whole texts; None: pieces are concatenated."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, size: int) -> Vocabulary:
        """From a tokenizer and the model's number of ids; errors as `TokenTexts.pieces`."""
        texts = TokenTexts(tokenizer, size)
        return cls(pieces=texts.pieces, texts=texts)

    def show(self, token: int) -> str:
        """One token in the display alphabet; `#17` without a tokenizer."""
        if self.pieces is None:
            return f"{OPEN}#{token}{CLOSE}"
        return display(self.pieces[token] if 0 <= token < len(self.pieces) else None)

    def in_text(self, ids: Sequence[int]) -> list[bytes | None] | None:
        """Bytes of each token of a whole text; None without a tokenizer."""
        if self.pieces is None or self.texts is not None:
            return None if self.texts is None else self.texts.in_text(ids)
        return [self.pieces[index] if index < len(self.pieces) else None for index in ids]

    def spelled(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of tokens equal to a text, and of tokens that contain it.

        Tried as typed; then with marks for white space (· ␣ ⏎ ⇥) replaced; then as an entry of the
        tokenizer's file (`▁the`, `##ing`).
        """
        for wanted in dict.fromkeys((text.encode(), typed(text).encode())):
            holding = [i for i, piece in enumerate(self.pieces or ()) if piece and wanted in piece]
            if holding and self.pieces is not None:
                return [i for i in holding if self.pieces[i] == wanted], holding
        own = self.entry(text)
        return own, own

    def entry(self, text: str) -> list[int]:
        """Id of an entry of the tokenizer's file; empty if there is none."""
        index = None if self.texts is None else self.texts.entry(text)
        return [] if index is None else [index]

    def written(self, text: str) -> str:
        """How the tokenizer encodes a text, in a few words; "" if unknown."""
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
