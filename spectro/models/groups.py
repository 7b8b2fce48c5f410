"""From a group's name to the code that computes with it."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.components import FULL_GROUP, Group
from spectro.models.cost.budget import RowBudget
from spectro.models.delta import clean_losses
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


def loss_headroom(model: GPTNeoX, ids_ET1: Tensor, budget: RowBudget | None = None) -> float:
    """ln V − L(w*) on some sequences, nats: what the model has learnt beyond a uniform guess."""
    losses = clean_losses(group_model(model, FULL_GROUP), ids_ET1, budget)
    return math.log(model.shape.vocab_size) - float(losses.double().mean())
