"""A tokenizer of bytes, so that the tests need no model: id = byte + 1, end-of-text = 0."""

from spectro.tokens.packing import Encoded
from spectro.tokens.unknown import UnknownTokens

EOT, VOCAB = 0, 257


def encode(texts):
    ids = [[byte + 1 for byte in text.encode()] for text in texts]
    return Encoded(ids, UnknownTokens(), "bytes")


def decode(ids):
    return bytes(i - 1 for i in ids if i != EOT).decode(errors="replace")
