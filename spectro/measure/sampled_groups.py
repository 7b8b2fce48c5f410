"""The groups that a configuration samples, by the model's size alone."""

from __future__ import annotations

from spectro.config import PipelineConfig
from spectro.models.components import Group, group_components, select_components
from spectro.models.size import ModelSize


def groups_of(config: PipelineConfig, size: ModelSize) -> tuple[Group, ...]:
    """Groups of the components, and `full` for the two-chain estimator.

    Raises ValueError if a pattern selects nothing.
    """
    chosen = select_components(config.components, size.num_layers, size.num_heads)
    return group_components(chosen, with_full=config.estimator.kind.needs_full)
