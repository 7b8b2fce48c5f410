"""From the bytes of tokens to text that shows every byte.

A token may be part of a character. Tokens are therefore shown one by one, so that the lit token
begins and ends where the model's does. What bytes a token has is `token_texts.py`'s to say; those
of a byte-level BPE are read here.

The display alphabet: characters that print as themselves stand for themselves; the rest is
written with private-use characters that the page turns into styled marks. Private-use
characters in the text are themselves escaped, so the alphabet is unambiguous.
"""

import unicodedata
from collections.abc import Collection, Sequence

SPACE, NEWLINE, TAB = "\ue002", "\ue003", "\ue004"
OPEN, CLOSE = "\ue000", "\ue001"
_WHITE = {" ": SPACE, "\n": NEWLINE, "\t": TAB}
_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
_DOTTED_CIRCLE = "\u25cc"


def byte_pieces(tokens: Sequence[str | None], added: Collection[str]) -> list[bytes | None]:
    """Bytes of each vocabulary entry of a byte-level (GPT-2 style) tokenizer.

    `tokens[i]` is the entry of id i as the tokenizer stores it; `added` are the entries that
    were added to the vocabulary as plain text (special tokens, GPT-NeoX's runs of spaces).
    """
    byte_of = {char: byte for byte, char in bytes_to_unicode().items()}
    pieces: list[bytes | None] = []
    for token in tokens:
        if token is None:
            pieces.append(None)
        elif token in added or any(char not in byte_of for char in token):
            pieces.append(token.encode("utf-8"))
        else:
            pieces.append(bytes(byte_of[char] for char in token))
    return pieces


def bytes_to_unicode() -> dict[int, str]:
    """The printable character that stands for each byte (Radford et al. 2019, GPT-2 encoder)."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {
        byte: chr(256 + index) for index, byte in enumerate(moved)
    }


def display(piece: bytes | None) -> str:
    """One token in the display alphabet; never empty."""
    if not piece:
        return f"{OPEN}{'no such token' if piece is None else 'empty'}{CLOSE}"
    text = piece.decode("utf-8", errors="surrogateescape")
    shown = "".join(_display_char(char) for char in text)
    return _DOTTED_CIRCLE + shown if unicodedata.category(text[0])[0] == "M" else shown


def display_name(text: str) -> str:
    """A name, of a subset or a file, in the display alphabet; spaces stay, "" stays empty."""
    return display(_bytes_of(text)).replace(SPACE, " ") if text else ""


def _bytes_of(text: str) -> bytes:
    """Of any string: names of files may hold bytes that are no UTF-8, JSON half characters."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _display_char(char: str) -> str:
    code = ord(char)
    if char in _WHITE:
        return _WHITE[char]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, kept by surrogateescape
        return f"{OPEN}{code - 0xDC00:02X}{CLOSE}"
    if code < 0x20 or code == 0x7F:
        return f"{OPEN}{chr(0x2421 if code == 0x7F else 0x2400 + code)}{CLOSE}"
    if unicodedata.category(char) in _HIDDEN:
        return f"{OPEN}U+{code:04X}{CLOSE}"
    return char
