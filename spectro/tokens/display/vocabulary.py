"""Display alphabet: text that shows every byte of a token.

A token may be part of a character, so tokens are shown one by one. Printable characters stand for
themselves; others are written with private-use characters, which the page turns into styled marks.
Private-use characters in the text are escaped, so the alphabet is unambiguous. Bytes of tokens come
from `token_texts.py`; those of a byte-level BPE are read here.
"""

import unicodedata
from collections.abc import Collection, Sequence

SPACE, NEWLINE, TAB = "\ue002", "\ue003", "\ue004"
OPEN, CLOSE = "\ue000", "\ue001"
_WHITE = {" ": SPACE, "\n": NEWLINE, "\t": TAB}
_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
_DOTTED_CIRCLE = "\u25cc"


def byte_pieces(tokens: Sequence[str | None], added: Collection[str]) -> list[bytes | None]:
    """Bytes of each entry of a byte-level (GPT-2 style) tokenizer.

    `tokens[i]` is the stored entry of id i; `added` are entries added as plain text (special
    tokens, GPT-NeoX's runs of spaces).
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
    """Printable character of each byte (Radford et al. 2019, GPT-2 encoder)."""
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
    """A name of a subset or file in the display alphabet; spaces stay, "" stays empty."""
    return display(_bytes_of(text)).replace(SPACE, " ") if text else ""


def _bytes_of(text: str) -> bytes:
    """Bytes of any string: file names may hold non-UTF-8 bytes, JSON lone surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _display_char(char: str) -> str:
    code = ord(char)
    if char in _WHITE:
        return _WHITE[char]
    if 0xDC80 <= code <= 0xDCFF:  # a non-UTF-8 byte, kept by surrogateescape
        return f"{OPEN}{code - 0xDC00:02X}{CLOSE}"
    if code < 0x20 or code == 0x7F:
        return f"{OPEN}{chr(0x2421 if code == 0x7F else 0x2400 + code)}{CLOSE}"
    if unicodedata.category(char) in _HIDDEN:
        return f"{OPEN}U+{code:04X}{CLOSE}"
    return char
