"""From a group's name to the code that computes with it."""

from __future__ import annotations

from typing import Any

from spectro.models.architecture import GroupModel
from spectro.models.components import Group
from spectro.models.edge_groups import EmbedGroup, FullGroup, UnembedGroup
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.layer_group import LayerGroup


def group_model(model: GPTNeoX, group: Group) -> GroupModel[Any]:
    """The `GroupModel` of a group of this model."""
    if group.name == "embed":
        return EmbedGroup(model)
    if group.name == "unembed":
        return UnembedGroup(model)
    if group.name == "full":
        return FullGroup(model)
    return LayerGroup(model, group)
