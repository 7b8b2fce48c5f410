"""What all configurations share: a setting that cannot act is refused, not recorded.

A configuration is kept in a run's fingerprint, and two runs that differ in a setting without
effect would be two results with equal bits under different names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


def refuse_without_effect(config: Any, prefix: str, inert: Mapping[str, str]) -> None:
    """Raise ValueError, in one line, if a setting that has no effect is given.

    Args:
        config: a dataclass; a setting is given if its value is not the default.
        prefix: put before the names of settings in the message, such as `chain.`.
        inert: name of a setting that has no effect here → why.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in inert and value != field.default:
            raise ValueError(
                f"{prefix}{field.name} is {getattr(value, 'value', value)!r}, but it has no effect "
                f"{inert[field.name]}: leave it out"
            )
