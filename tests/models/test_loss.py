"""The chunked loss against torch's, values and both gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from spectro.models import token_loss as loss_module
from spectro.models.token_loss import token_losses


@pytest.mark.parametrize("rows", [1, 15, 64, 200])
@pytest.mark.parametrize("needs", [(True, False), (False, True), (True, True)])
def test_losses_and_gradients_equal_torchs(
    monkeypatch, rows: int, needs: tuple[bool, bool]
) -> None:
    monkeypatch.setitem(loss_module.BLOCK, "cpu", (16, 10))  # several ragged blocks
    torch.manual_seed(0)
    hidden = torch.randn(rows, 8, dtype=torch.float64, requires_grad=needs[0])
    unembed = torch.randn(37, 8, dtype=torch.float64, requires_grad=needs[1])
    targets, upstream = torch.randint(0, 37, (rows,)), torch.randn(rows, dtype=torch.float64)
    leaves = [leaf for leaf in (hidden, unembed) if leaf.requires_grad]
    ours = token_losses(hidden, unembed, targets)
    plain = functional.cross_entropy(hidden @ unembed.T, targets, reduction="none")
    torch.testing.assert_close(ours, plain)
    found = torch.autograd.grad((ours * upstream).sum(), leaves)
    expected = torch.autograd.grad((plain * upstream).sum(), leaves)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_extreme_logits_stay_finite() -> None:
    hidden, targets = torch.full((3, 4), 1e4), torch.tensor([0, 1, 2])
    losses = token_losses(hidden, torch.eye(3, 4), targets)
    assert losses.isfinite().all()


@pytest.mark.parametrize("needs", [(True, False), (False, True), (True, True)])
def test_losses_beyond_the_range_of_the_exponential(monkeypatch, needs: tuple[bool, bool]) -> None:
    """exp(z − z_y) overflows float32 from ℓ = 88 on: such rows, and they alone, go another way."""
    monkeypatch.setitem(loss_module.BLOCK, "cpu", (4, 3))
    torch.manual_seed(0)
    scale = torch.tensor([1 / 64, 1 / 4, 4, 64, 4096])[:, None]
    # Sums of few small multiples of a power of two: logits have no rounding, on any processor.
    hidden = torch.randint(-8, 9, (5, 8)) * scale
    unembed = torch.randint(-8, 9, (11, 8)) / 2.0
    targets = (hidden @ unembed.T).argmin(1)  # the least likely
    leaves = [t.requires_grad_(need) for t, need in zip((hidden, unembed), needs, strict=True)]
    ours = token_losses(hidden, unembed, targets)
    exact = [t.detach().double().requires_grad_() for t in (hidden, unembed)]
    truth = functional.cross_entropy(exact[0] @ exact[1].T, targets, reduction="none")
    assert truth[0] < 5 and truth[3] > 500
    torch.testing.assert_close(ours.double(), truth, rtol=1e-5, atol=1e-6)
    truth.sum().backward()
    ours.sum().backward()
    for mine, theirs, need in zip(leaves, exact, needs, strict=True):
        if need:
            torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-4, atol=1e-5)


def test_small_losses_keep_their_relative_precision() -> None:
    """ℓ = 1e-9 is below the rounding of logsumexp at 20, where the plain formula gives 0."""
    hidden = torch.tensor([[20.0]])
    unembed = torch.tensor([[1.0], [0.0], [-1.0]])
    found = token_losses(hidden, unembed, torch.tensor([0]))
    exact = torch.log1p(torch.exp(torch.tensor([-20.0, -40.0]).double()).sum())
    torch.testing.assert_close(found.double(), exact[None], rtol=1e-6, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    hidden = torch.randn(3, 4)
    hidden[1, 2] = bad
    losses = token_losses(hidden, torch.randn(5, 4), torch.tensor([0, 1, 2]))
    assert losses.isfinite().tolist() == [True, False, True]


def test_the_loss_is_the_same_each_time() -> None:
    torch.manual_seed(0)
    hidden, unembed = torch.randn(600, 16), torch.randn(1500, 16)
    targets = torch.randint(0, 1500, (600,))
    assert torch.equal(
        token_losses(hidden, unembed, targets), token_losses(hidden, unembed, targets)
    )
