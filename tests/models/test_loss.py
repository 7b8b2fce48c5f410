"""The chunked loss against torch's, values and both gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from spectro.models import loss as loss_module
from spectro.models.loss import token_losses


@pytest.mark.parametrize("rows", [1, 15, 64, 200])
@pytest.mark.parametrize("needs", [(True, False), (False, True), (True, True)])
def test_losses_and_gradients_equal_torchs(
    monkeypatch, rows: int, needs: tuple[bool, bool]
) -> None:
    monkeypatch.setitem(loss_module.CHUNK_ROWS, "cpu", 16)  # several ragged chunks
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
