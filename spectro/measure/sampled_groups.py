"""The groups that a configuration samples, by the model's size alone."""

from __future__ import annotations

from spectro.config import PipelineConfig
from spectro.models.components import Group
from spectro.models.size import ModelSize


def groups_of(config: PipelineConfig, size: ModelSize) -> tuple[Group, ...]:
    """Groups of the components, and `full` for the two-chain estimator.

    Raises ValueError if a pattern selects nothing.
    """
    return size.groups(config.components, with_full=config.estimator.kind.needs_full)
