"""What must hold of the objects of an upsampled run, and which may be deleted."""

from __future__ import annotations

import re

from spectro.formats.predictors import FEATURES, HELD_OUT
from spectro.storage.checksummed_arrays import parse_arrays
from spectro.storage.store import Store
from spectro.work.stage import PartContents


def check_arrays(contents: PartContents, name: str, data: bytes) -> None:
    """Features or a predictor, with the digest of their header."""
    parse_arrays(data)


def leftovers_of_features(store: Store, names: set[str]) -> set[str]:
    """Features once the errors of the predictors that learnt from them are there."""
    return {n for n in names if re.fullmatch(FEATURES, n)} if HELD_OUT in names else set()
