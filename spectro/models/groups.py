"""From a group's name to the code that computes with it."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.components import FULL_GROUP, Group
from spectro.models.cost.budget import RowBudget
from spectro.models.delta import clean_losses
from spectro.models.engine import Engine
from spectro.models.layer_group import LayerGroup
from spectro.models.stages_group import StagesGroup
from spectro.models.universal import UniversalGroup, UniversalModel


def group_model(model: Engine, group: Group) -> GroupModel[Any]:
    """The `GroupModel` of a group of this model."""
    if isinstance(model, UniversalModel):
        return UniversalGroup(model, group)
    if group.components[0].layer is None:
        (component,) = group.components
        return StagesGroup(model, component)
    return LayerGroup(model, group)


def loss_headroom(model: Engine, ids_ET1: Tensor, budget: RowBudget | None = None) -> float:
    """ln V − L(w*) on some sequences, nats: what the model has learnt beyond a uniform guess."""
    losses = clean_losses(group_model(model, FULL_GROUP), ids_ET1, budget)
    return math.log(model.shape.vocab_size) - float(losses.double().mean())
