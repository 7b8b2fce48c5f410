"""From a model to what computes with it: its family's engine, or the universal one.

Adding a family takes a file in `families/` and a line here.
"""

from __future__ import annotations

from typing import TypeAlias

from transformers import PreTrainedModel

from spectro.models.config import Precision
from spectro.models.consistency import require_causal_model
from spectro.models.families.attention_only import AttentionOnly
from spectro.models.families.gemma import Gemma
from spectro.models.families.gpt2 import GPT2
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.families.granite import Granite
from spectro.models.families.llama import Llama
from spectro.models.transformer import Transformer
from spectro.models.universal import UniversalModel

Engine: TypeAlias = Transformer | UniversalModel
"""What computes with a model."""

FAMILIES: dict[str, type[Transformer]] = {
    "gpt_neox": GPTNeoX,
    "gpt2": GPT2,
    "attention_only": AttentionOnly,
    "gemma": Gemma,
    "granite": Granite,
    "llama": Llama,
    "mistral": Llama,
    "qwen2": Llama,
    "qwen3": Llama,
}
"""`model_type` of a config → its engine."""


def engine_of(
    model: PreTrainedModel,
    precision: Precision = Precision.FLOAT32,
    *,
    universal: bool = False,
    loaded: bool = False,
) -> Engine:
    """The engine of a model; the universal one if it is asked for, or the family has none.

    Args:
        model: a causal language model of transformers.
        precision: what operands of matrix products are rounded to.
        universal: whether to take the universal engine in any case.
        loaded: whether `load_model` gave it, which has found it causal and its weights finite.

    Raises ValueError for a model that its engine cannot compute exactly, and for rounded products
    with the universal engine, which calls the model as it is.
    """
    if not loaded:
        require_causal_model(model)
    family = FAMILIES.get(model.config.model_type)
    if family is not None and not universal:
        return family.from_pretrained_model(model, precision, loaded=loaded)
    refuse_rounded(model.config.model_type, precision)
    return UniversalModel.from_pretrained_model(model, loaded=loaded)


def refuse_rounded(family: str, precision: Precision) -> None:
    """Raise ValueError for rounded products of a model that the universal engine computes."""
    if precision is not Precision.FLOAT32:
        raise ValueError(
            f"model.precision is {precision.value!r}, but a model of type {family!r} is computed "
            "by the universal engine, whose products are the model's own: leave model.precision at "
            "'float32'"
        )
