"""Random generators keyed by what they are for."""

import hashlib

import numpy as np


def keyed_rng(seed: int, *names: str) -> np.random.Generator:
    """Generator for (seed, names): the same on every machine, whatever was drawn before."""
    words = [int.from_bytes(hashlib.blake2b(n.encode(), digest_size=8).digest()) for n in names]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))
