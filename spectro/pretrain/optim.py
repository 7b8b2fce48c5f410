"""Optimisers and learning-rate schedule of the embedded model.

torch.optim.Muon computes its Newton-Schulz iteration in bfloat16, which takes as long as the whole
forward and backward pass on a CPU without bfloat16 units (0.9 s a step, measured); this one is the
same update in float32, batched over matrices of one shape (0.03 s).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor, nn

_NS_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(updates_NRC: Tensor, num_steps: int = 5) -> Tensor:
    """Quintic Newton-Schulz towards the nearest semi-orthogonal matrix, batched over N.

    X <- aX + (bA + cA^2)X with A = XX^T, after X/||X||_F (Jordan et al. 2024, Muon).
    """
    a, b, c = _NS_COEFFICIENTS
    is_tall = updates_NRC.size(-2) > updates_NRC.size(-1)
    x = updates_NRC.mT if is_tall else updates_NRC
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(num_steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if is_tall else x
    return result


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton-Schulz, Nesterov, with decoupled weight decay.

    w <- (1 - lr*wd) w - lr * sqrt(max(1, rows/cols)) * orthogonalise(g + mu*m),  m <- mu*m + g.
    """

    def __init__(
        self, params: Iterable[Tensor], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Apply one update to every matrix that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    by_shape[tuple(param.shape)].append(param)
            for params in by_shape.values():
                self._update(params, group["lr"], group["momentum"], group["weight_decay"])
        return loss

    def _update(self, params: list[Tensor], lr: float, mu: float, decay: float) -> None:
        directions = []
        for param in params:
            assert param.grad is not None
            state = self.state[param]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(param)
            state["momentum"].mul_(mu).add_(param.grad)
            directions.append(param.grad + mu * state["momentum"])
        updates_NRC = orthogonalise(torch.stack(directions))
        rows, cols = params[0].shape
        scale = max(1.0, rows / cols) ** 0.5
        for param, update in zip(params, updates_NRC, strict=True):
            param.mul_(1 - lr * decay).add_(update, alpha=-lr * scale)


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Hidden matrices (for Muon) and everything else (for AdamW)."""
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, param in model.named_parameters():
        (hidden if param.ndim == 2 and ".layers." in name else rest).append(param)
    return hidden, rest


def learning_rate_factor(
    tokens_seen: int, *, num_tokens: int, warmup_tokens: int, decay_fraction: float
) -> float:
    """Warmup-stable-decay: linear rise, one, then linear fall to zero at `num_tokens`."""
    rise = min(1.0, (tokens_seen + 1) / max(1, warmup_tokens))
    fall = (num_tokens - tokens_seen) / (decay_fraction * num_tokens)
    return max(0.0, min(rise, 1.0, fall))
