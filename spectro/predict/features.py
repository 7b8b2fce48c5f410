"""Features of a token from the model at w*: what χ is predicted from.

A restricted χ is −E[φ] E[Δℓ − ΔL] but for a few per cent, and E[Δℓ] is to leading order the trace
of a second derivative of ℓ over the component's weights. The features are the parts of that trace
that are cheap (heads.py, final_norm.py, probes.py), and what the model says of the token. Raw
residual streams made predictions worse (ADR 070).

Shapes: B sequences, T positions, N = B·T tokens, F features; D, H, K, V as in clean_pass.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.gpt_neox import GPTNeoX, Shape
from spectro.predict import heads
from spectro.predict.clean_pass import CleanPass, Gradients
from spectro.predict.final_norm import final_norm_features
from spectro.predict.probes import SEED, probe_features, probed_streams

NUM_TOP = 6
"""Largest probabilities of the next token: features, and directions of the curvature."""

HEAD_TERMS = (
    *("along_gradient", "response", "to_even", "to_self", "gradient", "mixed_norm", "term_norm"),
    *("score_variance", "entropy", "self", "first", "on_target"),
)
MLP_TERMS = ("along_gradient", "response", "gradient", "inner_norm", "term_norm")
HEAD_CURVATURE = ("output", "value", "key", "query")
MLP_CURVATURE = ("down", "up")
LAST = ("shrink_variance", "shrink_target", "shrink_mean", "scale")
TOKEN = ("loss", "p", "entropy", "collision", "position", "seen", "earlier_target")
PROBE = ("even", "odd", "divergence")


def feature_names(shape: Shape) -> tuple[str, ...]:
    """Names of the features in the order of the columns of `token_features`."""
    streams = range(shape.num_layers + 1)
    layers = [
        [
            *(f"l{n}h{h}.{what}" for what in HEAD_TERMS for h in range(shape.num_heads)),
            *(f"l{n}mlp.{what}" for what in MLP_TERMS),
        ]
        for n in range(shape.num_layers)
    ]
    names = [name for layer in layers for name in layer]
    names += [f"stream{s}.{what}" for s in streams for what in ("gradient", "along")]
    for which in ("curvature", "gradient_squared"):
        for n in range(shape.num_layers):
            names += [
                f"l{n}h{h}.{which}.{b}" for b in HEAD_CURVATURE for h in range(shape.num_heads)
            ]
            names += [f"l{n}mlp.{which}.{b}" for b in MLP_CURVATURE]
        names += [f"stream{s}.{which}" for s in streams]
    names += [f"last.{what}" for what in LAST] + ["unembed.trace"]
    names += ["last.curvature", "last.response"]
    for n in range(shape.num_layers):
        for h in range(shape.num_heads):
            names += [f"l{n}h{h}.last_curvature", f"l{n}h{h}.last_response"]
    names += [f"probe{s}.{what}" for s in probed_streams(shape.num_layers) for what in PROBE]
    return (*names, *TOKEN, *(f"top{k}" for k in range(min(NUM_TOP, shape.vocab_size))))


def num_features(shape: Shape) -> int:
    """F."""
    return len(feature_names(shape))


def token_features(model: GPTNeoX, ids_BT1: Tensor) -> npt.NDArray[np.float32]:
    """Features of every token of packed sequences, float32 [B·T, F], in the order of the ids.

    A token's features depend on its own sequence alone, not on the others of the batch.

    Args:
        model: the resident model at w*.
        ids_BT1: int64 [B, T+1]; the targets are its columns 1 to T.

    Raises ValueError if a feature is not finite: the model or the ids are then damaged.
    """
    clean = CleanPass(model, ids_BT1)
    found: dict[str, Tensor] = {}
    gradients = clean.pull_back(clean.loss_gradient_BTD)
    with torch.no_grad():
        found |= _first_order(clean, gradients)
    found |= _curvature(clean, gradients)
    with torch.no_grad():
        found |= final_norm_features(clean) | probe_features(clean) | _token(clean)
        columns = [found[name].float() for name in feature_names(model.shape)]
        features = torch.stack(columns, -1).flatten(0, 1).cpu().numpy()
    wrong = ~np.isfinite(features).all(0)
    if wrong.any():
        raise ValueError(
            f"feature {feature_names(model.shape)[int(wrong.argmax())]!r} is not finite for "
            f"{int((~np.isfinite(features)).any(1).sum())} of {len(features)} tokens: the model's "
            "weights or the token ids are damaged"
        )
    return features


def _first_order(clean: CleanPass, gradients: Gradients) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for index, layer in enumerate(clean.layers):
        grad, mixed = gradients.streams[index + 1], gradients.mixed[index]
        found |= _named(f"l{index}h", heads.head_terms(layer, grad, mixed, clean.ids_BT1))
        activation = clean.model.shape.activation
        found |= _named(f"l{index}mlp", heads.mlp_terms(layer, grad, activation))
    for index, (stream, grad) in enumerate(zip(clean.streams, gradients.streams, strict=True)):
        found[f"stream{index}.gradient"] = grad.norm(dim=-1)
        found[f"stream{index}.along"] = (stream * grad).sum(-1)
    return found


def _curvature(clean: CleanPass, of_loss: Gradients) -> dict[str, Tensor]:
    """Gauss–Newton traces, summed over directions; and the same squares of ∂ℓ itself."""
    found: dict[str, Tensor] = {}
    for direction in _directions(clean):
        for name, value in _squares(clean, clean.pull_back(direction), "curvature").items():
            found[name] = found[name] + value if name in found else value
    return found | _squares(clean, of_loss, "gradient_squared")


def _directions(clean: CleanPass) -> Iterator[Tensor]:
    """√p_v (u_v − Σ p u) of the likeliest tokens, then the others' sum with fixed random signs.

    Their outer products sum to the covariance of the rows under p, in expectation over the signs.
    """
    p = clean.log_p_BTV.exp()
    top, which = p.topk(min(NUM_TOP, p.shape[-1]), -1)
    rows = clean.unembed_VD[which]
    for place in range(top.shape[-1]):
        yield top[..., place, None].sqrt() * (rows[..., place, :] - clean.mean_row_BTD)
    generator = torch.Generator().manual_seed(SEED)
    signs = 1.0 - 2.0 * torch.randint(0, 2, p.shape[-1:], generator=generator).to(p)
    weights = p.scatter(-1, which, 0.0).sqrt() * signs
    yield weights @ clean.unembed_VD - weights.sum(-1, keepdim=True) * clean.mean_row_BTD


@torch.no_grad()
def _squares(clean: CleanPass, gradients: Gradients, which: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for index, layer in enumerate(clean.layers):
        grad = gradients.streams[index + 1]
        of_heads = heads.head_curvature(layer, grad, gradients.mixed[index])
        activation = clean.model.shape.activation
        of_mlp = heads.mlp_curvature(layer, grad, gradients.up[index], activation)
        found |= _named(f"l{index}h", of_heads, which) | _named(f"l{index}mlp", of_mlp, which)
    for index, grad in enumerate(gradients.streams):
        found[f"stream{index}.{which}"] = grad.square().sum(-1)
    return found


def _token(clean: CleanPass) -> dict[str, Tensor]:
    """ℓ and the model's probabilities; the position; whether x and y, or y, occur earlier."""
    p, log_p, loss = clean.log_p_BTV.exp(), clean.log_p_BTV, clean.losses_BT
    ids = clean.ids_BT1
    place = torch.arange(1, loss.shape[1] + 1, device=loss.device)
    same_target = ids[:, 1:, None] == ids[:, None, 1:]
    same_input = ids[:, :-1, None] == ids[:, None, :-1]
    found = {
        "loss": loss,
        "p": (-loss).exp(),
        "entropy": -(p * log_p).sum(-1),
        "collision": p.square().sum(-1),
        "position": place.log().expand_as(loss),
        "seen": (same_target & same_input).tril(-1).any(-1),
        "earlier_target": (ids[:, 1:, None] == ids[:, None, :-1]).tril().any(-1),
    }
    top = log_p.topk(min(NUM_TOP, p.shape[-1]), -1).values
    return found | {f"top{k}": value for k, value in enumerate(top.unbind(-1))}


def _named(prefix: str, values: dict[str, Tensor], which: str = "") -> dict[str, Tensor]:
    """`l0h` and {"self": [B, H, T]} to l0h0.self, l0h1.self; an MLP has no index."""
    middle = f".{which}" if which else ""
    return {
        f"{prefix}{'' if prefix.endswith('mlp') else head}{middle}.{name}": value
        for name, stacked in values.items()
        for head, value in enumerate(stacked.unbind(1))
    }
