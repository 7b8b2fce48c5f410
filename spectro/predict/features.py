"""Features of a token from the model at w*: what χ is predicted from.

A restricted χ is −E[φ] E[Δℓ − ΔL] but for a few per cent, and E[Δℓ] is to leading order the trace
of a second derivative of ℓ over the component's weights. The features are the parts of that trace
that are cheap (components.py, final_norm.py, probes.py), and what the model says of the token. Raw
residual streams made predictions worse (ADR 070). The universal engine knows no parts of its model:
it has fewer features (hidden_states.py).

Shapes: B sequences, T positions, N = B·T tokens, F features; D, H, K, V as in clean_pass.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.engine import Engine
from spectro.models.size import ModelSize
from spectro.models.universal import UniversalModel
from spectro.predict import components
from spectro.predict.clean_pass import CleanPass, Gradients
from spectro.predict.final_norm import final_norm_features
from spectro.predict.hidden_states import hidden_state_features, hidden_state_names
from spectro.predict.probes import probe_features, probed_streams

NUM_TOP = 6
"""Largest log probabilities of the next token that are features."""

HEAD_TERMS = (
    *("along_gradient", "response", "to_even", "to_self", "gradient", "mixed_norm", "term_norm"),
    *("score_variance", "entropy", "self", "first", "on_target"),
)
MLP_TERMS = ("along_gradient", "response", "gradient", "inner_norm", "term_norm")
HEAD_SQUARES = ("output", "value", "query")
MLP_SQUARES = ("down", "up")
LAST = ("shrink_variance", "shrink_target", "shrink_mean", "scale")
TOKEN = ("loss", "p", "entropy", "collision", "position", "seen", "earlier_target")
STREAM = ("gradient", "along")
TRACES = ("curvature", "response")
PROBE = ("even", "odd", "divergence")


def feature_names(shape: ModelSize) -> tuple[str, ...]:
    """Names of the features in the order of the columns of `token_features`."""
    top = [f"top{k}" for k in range(min(NUM_TOP, shape.vocab_size))]
    own = hidden_state_names(shape) if shape.is_universal else _names_by_component(shape)
    return (*own, *TOKEN, *top)


def _names_by_component(shape: ModelSize) -> list[str]:
    layers, heads = range(shape.num_layers), range(shape.num_heads)

    def of_layers(of_heads: Sequence[str], of_mlp: Sequence[str]) -> list[str]:
        mlp = of_mlp if shape.has_mlp else ()
        return [
            f"l{n}{what}"
            for n in layers
            for what in (
                *(f"h{h}.{name}" for name in of_heads for h in heads),
                *(f"mlp.{name}" for name in mlp),
            )
        ]

    names = of_layers(HEAD_TERMS, MLP_TERMS)
    names += [f"stream{s}.{what}" for s in (*layers, len(layers)) for what in STREAM]
    names += of_layers(HEAD_SQUARES, MLP_SQUARES)
    names += [f"last.{what}" for what in LAST] + ["unembed.trace"]
    names += ["last.curvature", "last.response"]
    names += [f"l{n}h{h}.last_{what}" for n in layers for h in heads for what in TRACES]
    return names + [f"probe{s}.{what}" for s in probed_streams(shape.num_layers) for what in PROBE]


def num_features(shape: ModelSize) -> int:
    """F."""
    return len(feature_names(shape))


def token_features(model: Engine, ids_BT1: Tensor) -> npt.NDArray[np.float32]:
    """Features of every token of packed sequences, float32 [B·T, F], in the order of the ids.

    A token's features depend on its own sequence alone, not on the others of the batch.

    Args:
        model: the resident model at w*.
        ids_BT1: int64 [B, T+1]; the targets are its columns 1 to T.

    Raises ValueError if a feature is not finite: the model or the ids are then damaged.
    """
    features = feature_tensor(model, ids_BT1).cpu().numpy()
    wrong = ~np.isfinite(features).all(0)
    if wrong.any():
        raise ValueError(
            f"feature {feature_names(model.shape)[int(wrong.argmax())]!r} is not finite for "
            f"{int((~np.isfinite(features)).any(1).sum())} of {len(features)} tokens: the model's "
            "weights or the token ids are damaged"
        )
    return features


def feature_tensor(model: Engine, ids_BT1: Tensor) -> Tensor:
    """The same on the model's device, unchecked."""
    ids = ids_BT1.to(model.device)
    if isinstance(model, UniversalModel):
        found, log_p_BTV = hidden_state_features(model, ids)
    else:
        clean = CleanPass(model, ids)
        gradients = clean.pull_back(clean.loss_gradient_BTD)
        log_p_BTV = clean.log_p_BTV
        with torch.no_grad():
            found = _by_component(clean, gradients) | final_norm_features(clean)
            found |= probe_features(clean)
    with torch.no_grad():
        found |= _token(ids, log_p_BTV)
        columns = [found[name].float() for name in feature_names(model.shape)]
        return torch.stack(columns, -1).flatten(0, 1)


def _by_component(clean: CleanPass, gradients: Gradients) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    model = clean.model
    for index, layer in enumerate(clean.layers):
        grad, mixed = gradients.streams[index + 1], gradients.mixed[index]
        of_heads = components.head_terms(layer, mixed, clean.ids_BT1)
        of_heads |= components.head_squares(layer, gradients.joined[index], mixed)
        if layer.mlp is not None:
            of_mlp = components.mlp_terms(layer.mlp, grad, model.activation)
            maps = gradients.maps[index]
            of_mlp |= components.mlp_squares(layer.mlp, grad, maps, model.mlp_inner)
            found |= {f"l{index}mlp.{name}": value for name, value in of_mlp.items()}
        for name, value_BHT in of_heads.items():
            found |= {f"l{index}h{h}.{name}": value for h, value in enumerate(value_BHT.unbind(1))}
    for index, (stream, grad) in enumerate(zip(clean.streams, gradients.streams, strict=True)):
        found[f"stream{index}.gradient"] = grad.norm(dim=-1)
        found[f"stream{index}.along"] = (stream * grad).sum(-1)
    return found


def _token(ids_BT1: Tensor, log_p_BTV: Tensor) -> dict[str, Tensor]:
    """ℓ and the model's probabilities; the position; whether x and y, or y, occur earlier."""
    p, inputs, targets = log_p_BTV.exp(), ids_BT1[:, :-1], ids_BT1[:, 1:]
    loss = -log_p_BTV.gather(-1, targets[..., None])[..., 0]
    place = torch.arange(1, loss.shape[1] + 1, device=loss.device)
    same_target = targets[:, :, None] == targets[:, None]
    same_input = inputs[:, :, None] == inputs[:, None]
    found = {
        "loss": loss,
        "p": (-loss).exp(),
        "entropy": -(p * log_p_BTV).sum(-1),
        "collision": p.square().sum(-1),
        "position": place.log().expand_as(loss),
        "seen": (same_target & same_input).tril(-1).any(-1),
        "earlier_target": (targets[:, :, None] == inputs[:, None]).tril().any(-1),
    }
    top = log_p_BTV.topk(min(NUM_TOP, p.shape[-1]), -1).values
    return found | {f"top{k}": value for k, value in enumerate(top.unbind(-1))}
