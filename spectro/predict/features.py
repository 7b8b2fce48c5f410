"""Features of a token from the clean pass: what χ is predicted from.

Of every component what its displacement can change: its term in the residual stream, that term's
product with the gradient of ℓ, the norm of what its output matrix multiplies; of the token the
residual streams, its rows in both embeddings, its loss and the model's own probabilities.

Shapes: B sequences, T positions, N = B·T tokens, F features; D, H, K, V as in clean_pass.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.gpt_neox import GPTNeoX, Shape
from spectro.predict.clean_pass import CleanPass, LayerPass, clean_pass

NUM_TOP = 4
"""Largest probabilities of the next token that are features."""
TINY = 1e-12


def feature_names(shape: Shape) -> tuple[str, ...]:
    """Names of the features in the order of the columns of `token_features`."""
    size, streams = shape.hidden_size, range(shape.num_layers + 1)
    names = [f"stream{s}.{d}" for s in streams for d in range(size)]
    names += [f"{what}.{d}" for what in ("gradient", "embed", "unembed") for d in range(size)]
    for layer in range(shape.num_layers):
        for head in range(shape.num_heads):
            names += [f"l{layer}h{head}.{what}" for what in HEAD_FEATURES]
        names += [f"l{layer}mlp.{what}" for what in MLP_FEATURES]
    names += [f"gradient_norm{s}" for s in streams]
    return (
        *names,
        "loss",
        "entropy",
        "p",
        "collision",
        *(f"top{k}" for k in range(NUM_TOP)),
        "position",
        "age",
    )


HEAD_FEATURES = (
    "mixed_norm",
    "term_norm",
    "along_gradient",
    "along_target",
    "entropy",
    "self",
    "previous",
    "first",
    "on_target",
)
MLP_FEATURES = ("inner_norm", "term_norm", "along_gradient", "along_target")


def num_features(shape: Shape) -> int:
    """F."""
    return len(feature_names(shape))


def token_features(model: GPTNeoX, ids_BT1: Tensor) -> npt.NDArray[np.float32]:
    """Features of every token of packed sequences, float32 [B·T, F], in the order of the ids.

    Args:
        model: the resident model at w*.
        ids_BT1: int64 [B, T+1]; the targets are its columns 1 to T.

    Raises ValueError if a feature is not finite: the model or the ids are then broken.
    """
    clean = clean_pass(model, ids_BT1)
    with torch.no_grad():
        parts = [*clean.streams, *_target_rows(model, clean, ids_BT1[:, 1:])]
        for layer, found in enumerate(clean.layers):
            parts += _layer_features(model, clean, layer, found, ids_BT1)
        parts += [g.norm(dim=-1, keepdim=True).clamp_min(TINY).log() for g in clean.gradients]
        parts.append(_probabilities(clean))
        parts.append(_place(ids_BT1, clean))
        features = torch.cat(parts, -1).flatten(0, 1).float().cpu().numpy()
    wrong = ~np.isfinite(features).all(0)
    if wrong.any():
        name = feature_names(model.shape)[int(wrong.argmax())]
        raise ValueError(
            f"feature {name!r} is not finite: the model's weights or the token ids are damaged"
        )
    return features


def _target_rows(model: GPTNeoX, clean: CleanPass, targets_BT: Tensor) -> list[Tensor]:
    targets = targets_BT.to(model.device)
    return [
        clean.last_gradient_BTD,
        model.embed(targets),
        model.params[model.unembed_name][targets],
    ]


def _layer_features(
    model: GPTNeoX, clean: CleanPass, layer: int, found: LayerPass, ids_BT1: Tensor
) -> list[Tensor]:
    """HEAD_FEATURES of every head, then MLP_FEATURES, each [B, T, number]."""
    gradient = clean.gradients[layer + 1]
    target = model.params[model.unembed_name][ids_BT1[:, 1:].to(model.device)]
    term_BHTD = found.mixed_BHTK @ found.output_HKD
    heads_BHTX = torch.stack(
        [
            _log_norm(found.mixed_BHTK),
            _log_norm(term_BHTD),
            (term_BHTD * gradient[:, None]).sum(-1),
            (term_BHTD * target[:, None]).sum(-1),
            *_pattern_features(found.pattern_BHTT, ids_BT1.to(model.device)),
        ],
        -1,
    )
    mlp_BTX = torch.stack(
        [
            _log_norm(found.inner_BTF),
            _log_norm(found.mlp_BTD),
            (found.mlp_BTD * gradient).sum(-1),
            (found.mlp_BTD * target).sum(-1),
        ],
        -1,
    )
    return [*heads_BHTX.unbind(1), mlp_BTX]


def _pattern_features(pattern_BHTT: Tensor, ids_BT1: Tensor) -> list[Tensor]:
    """Entropy; weight on itself, the token before, the first, and where y stood before."""
    entropy = -(pattern_BHTT * pattern_BHTT.clamp_min(TINY).log()).sum(-1)
    own = pattern_BHTT.diagonal(dim1=-2, dim2=-1)
    before = torch.zeros_like(own)
    before[..., 1:] = pattern_BHTT.diagonal(-1, dim1=-2, dim2=-1)
    is_target = ids_BT1[:, None, :-1] == ids_BT1[:, 1:, None]
    on_target = (pattern_BHTT * is_target[:, None]).sum(-1)
    return [entropy, own, before, pattern_BHTT[..., 0], on_target]


def _probabilities(clean: CleanPass) -> Tensor:
    p = clean.log_p_BTV.exp()
    loss = clean.losses_BT[..., None]
    entropy = -(p * clean.log_p_BTV).sum(-1, keepdim=True)
    top = clean.log_p_BTV.topk(NUM_TOP, -1).values
    return torch.cat([loss, entropy, (-loss).exp(), (p**2).sum(-1, keepdim=True), top], -1)


def _place(ids_BT1: Tensor, clean: CleanPass) -> Tensor:
    """Log of the position, and whether y occurs earlier in the sequence."""
    num_pos = ids_BT1.shape[1] - 1
    position = torch.arange(1, num_pos + 1, device=clean.losses_BT.device).log()
    position = position.expand(len(ids_BT1), -1)
    ids = ids_BT1.to(clean.losses_BT.device)
    seen = (ids[:, 1:, None] == ids[:, None, :-1]).tril().any(-1)
    return torch.stack([position, seen.to(position.dtype)], -1)


def _log_norm(vectors: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return norms.clamp_min(TINY).log()
