"""Update rules of the restricted posterior (design §2), as pure steps.

All rules target  p(w) ∝ exp{ −nβ L(w) − (γ/2) ‖w − w*‖² }  and act on the displacement
δ = w − w* of one component, block by block and element by element. ε is the step size with the
drift convention ε/2; g is the minibatch gradient of L at w* + δ with respect to the component's
weights (L in nats per token); ξ ~ N(0, 1). Gradients and noise are passed in.

    sgld         δ ← δ − (ε/2)(nβ g + γ δ) + √ε ξ
    psgld        V ← αV + (1−α) g²,  D = 1/(√V + a),  V₀ = 0
                 δ ← δ − (ε/2) D (nβ g + γ δ) + √(εD) ξ
    exponential  with the same D and ρ = exp(−εDγ/2):
                 δ ← ρ δ − ((1−ρ)/γ) nβ g + √((1−ρ²)/γ) ξ
`gaussian` needs no step: its draws are independent (`draws.py`). `mala` (`mala.py`) corrects its
steps and has no bias; `reweighted` (`reweighted.py`) is independent draws with weights, and `mala`
where they do not carry.

`sgld` and `psgld` are Baker et al. 2025 (arXiv 2504.18274) and devinterp 2.0.1; at nβ = 0 their
Euler step has stationary variance 1/(γ(1 − εDγ/4)). `exponential` integrates the Gaussian part
of the drift exactly: its stationary variance is 1/γ for every ε.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:  # steps call methods of their tensors; a configuration alone needs no torch
    from torch import Tensor

SLICE = {"cpu": 2**16}
"""Elements of a block that an update takes at once, by device type; all of them elsewhere."""
Blocks: TypeAlias = "dict[str, Tensor]"
"""Tensors of a component by block name."""


@dataclass(frozen=True, kw_only=True)
class ChainState:
    """State of a component's chain between steps; with keyed noise, all that resuming needs."""

    displacement: Blocks
    """δ = w − w*, by block."""
    second_moment: Blocks = field(default_factory=dict)
    """V, the running mean of g², by block; empty for rules without preconditioner."""

    @property
    def evaluated(self) -> Blocks:
        """Where the next step needs loss and gradient."""
        return self.displacement


@runtime_checkable
class Stepper(Protocol):
    """An update rule that moves a chain."""

    @property
    def gamma(self) -> float:
        """γ, the localisation strength."""
        ...

    @property
    def nbeta(self) -> float:
        """nβ, the effective inverse temperature."""
        ...

    @property
    def vocabulary_sample(self) -> int | None:
        """S of the sampled softmax of its gradients; None: the whole vocabulary."""
        ...

    def init(self, weights: Mapping[str, Tensor]) -> ChainState:
        """State at w*, in the shapes of the weights."""
        ...

    def step(self, state: ChainState, gradient: Blocks, noise: Blocks) -> ChainState:
        """One step."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Langevin:
    """Settings of the gradient-driven rules."""

    gamma: float = 300.0
    """γ, localisation strength per squared weight; > 0."""
    nbeta: float = 10.0
    """nβ, effective inverse temperature; ≥ 0."""
    step_size: float = 1e-5
    """ε, with the drift convention ε/2; > 0."""
    vocabulary_sample: int | None = None
    """S, vocabulary entries of each sequence from which gradients are estimated
    (models/sampled_softmax.py), but those of `unembed` and `full`, whose output matrix moves; ≥ 1.
    None: the whole vocabulary, as published."""

    def __post_init__(self) -> None:
        require_positive("sampler.gamma", self.gamma)
        require_positive("sampler.step_size", self.step_size)
        if self.vocabulary_sample is not None and self.vocabulary_sample < 1:
            raise ValueError(
                "sampler.vocabulary_sample must be at least 1 (or null for the whole vocabulary), "
                f"found {self.vocabulary_sample}"
            )
        require_at_least_0("sampler.nbeta", self.nbeta)

    def init(self, weights: Mapping[str, Tensor]) -> ChainState:
        """δ = 0, V = 0."""
        return ChainState(displacement=zeros_like(weights), second_moment=zeros_like(weights))


@dataclass(frozen=True, kw_only=True)
class Sgld(_Langevin):
    """Stochastic gradient Langevin dynamics with localisation (Lau et al. 2023)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_contraction(self.step_size * self.gamma, "ε·γ")

    def init(self, weights: Mapping[str, Tensor]) -> ChainState:
        """δ = 0."""
        return ChainState(displacement=zeros_like(weights))

    def step(self, state: ChainState, gradient: Blocks, noise: Blocks) -> ChainState:
        """δ ← δ − (ε/2)(nβ g + γ δ) + √ε ξ."""
        moved = {}
        for name, delta in state.displacement.items():
            (moved[name],) = _by_slices(self._move, delta, gradient[name], noise[name])
        return ChainState(displacement=moved)

    def _move(self, delta: Tensor, gradient: Tensor, noise: Tensor) -> tuple[Tensor]:
        half, root = self.step_size / 2, math.sqrt(self.step_size)
        return (delta - half * (self.nbeta * gradient + self.gamma * delta) + root * noise,)


@dataclass(frozen=True, kw_only=True)
class _Preconditioned(_Langevin):
    """RMSprop preconditioner D = 1/(√V + a)."""

    alpha: float = 0.99
    """α, decay of the running mean of g²; in [0, 1)."""
    damping: float = 0.1
    """a, added to √V; > 0. D is at most 1/a."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("sampler.damping", self.damping)
        if not 0 <= self.alpha < 1:
            raise ValueError(f"sampler.alpha must be in [0, 1), found {self.alpha}")

    def step(self, state: ChainState, gradient: Blocks, noise: Blocks) -> ChainState:
        """One step of δ and V."""
        moved, moments = {}, {}
        for name, delta in state.displacement.items():
            own = state.second_moment[name], gradient[name], noise[name]
            moved[name], moments[name] = _by_slices(self._move, delta, *own)
        return ChainState(displacement=moved, second_moment=moments)

    def _move(
        self, delta: Tensor, moment: Tensor, gradient: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """New δ and V."""
        moment = (self.alpha * moment).addcmul(gradient, gradient, value=1 - self.alpha)
        precondition = 1.0 / (moment.sqrt() + self.damping)
        return self._displace(delta, precondition, gradient, noise), moment

    def _displace(
        self, delta: Tensor, precondition: Tensor, gradient: Tensor, noise: Tensor
    ) -> Tensor:
        """New δ."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Psgld(_Preconditioned):
    """Preconditioned SGLD with an Euler step: the published sampler."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_contraction(
            self.step_size * self.gamma / self.damping, "ε·γ/a (the largest ε·D·γ)"
        )

    def _displace(
        self, delta: Tensor, precondition: Tensor, gradient: Tensor, noise: Tensor
    ) -> Tensor:
        """δ ← δ − (ε/2) D (nβ g + γ δ) + √(εD) ξ."""
        scale = self.step_size * precondition
        drift = self.nbeta * gradient + self.gamma * delta
        return delta - 0.5 * scale * drift + scale.sqrt() * noise


@dataclass(frozen=True, kw_only=True)
class Exponential(_Preconditioned):
    """Preconditioned SGLD with the Gaussian part of the drift integrated exactly."""

    def _displace(
        self, delta: Tensor, precondition: Tensor, gradient: Tensor, noise: Tensor
    ) -> Tensor:
        """δ ← ρ δ − ((1−ρ)/γ) nβ g + √((1−ρ²)/γ) ξ,  ρ = exp(−εDγ/2)."""
        rate = (0.5 * self.step_size * self.gamma) * precondition
        pull = (-rate).expm1().neg() * (self.nbeta / self.gamma)
        spread = ((-2 * rate).expm1().neg() / self.gamma).sqrt()
        return (-rate).exp() * delta - pull * gradient + spread * noise


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """The posterior at nβ = 0: independent exact draws, the control of every result."""

    gamma: float = 300.0
    """γ, localisation strength per squared weight; > 0."""
    antithetic: bool = True
    """Draws in pairs δ, −δ: what is odd in δ, most of a draw's noise, cancels in their mean."""

    def __post_init__(self) -> None:
        require_positive("sampler.gamma", self.gamma)

    @property
    def nbeta(self) -> float:
        """0: the loss does not enter."""
        return 0.0


def _by_slices(move: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
    """An update of equally shaped tensors, element by element.

    On a CPU slice by slice: a dozen passes over a slice stay within the processor's cache, those
    over a whole embedding do not, and the result has the same bits.
    """
    like = tensors[0]
    size = SLICE.get(like.device.type, like.numel())
    if like.numel() <= size:
        return move(*tensors)
    flat = [tensor.reshape(-1) for tensor in tensors]
    found: list[Tensor] = []
    for start in range(0, like.numel(), size):
        here = slice(start, start + size)
        moved = move(*(tensor[here] for tensor in flat))
        found = found or [like.new_empty(like.numel()) for _ in moved]
        for out, new in zip(found, moved, strict=True):
            out[here] = new
    return tuple(tensor.view(like.shape) for tensor in found)


def zeros_like(weights: Mapping[str, Tensor]) -> Blocks:
    """Zeros in the shapes of some blocks."""
    import torch  # here alone, so that configurations of samplers do not load it

    return {name: torch.zeros_like(tensor) for name, tensor in weights.items()}


def require_at_least_0(name: str, value: float) -> None:
    """Raise ValueError unless a setting is a finite number ≥ 0."""
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number ≥ 0, found {value}")


def require_positive(name: str, value: float) -> None:
    """Raise ValueError unless a setting is a finite number > 0."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number > 0, found {value}")


def _require_contraction(rate: float, words: str) -> None:
    """An Euler step multiplies δ by 1 − rate/2: it diverges unless rate < 4."""
    if rate >= 4:
        raise ValueError(
            f"the Euler step diverges: {words} = {rate:.3g} must be below 4; "
            "lower sampler.step_size, or use the exponential sampler"
        )
