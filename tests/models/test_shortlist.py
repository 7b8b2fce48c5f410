"""Losses from short lists against the whole vocabulary."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spectro.models.components import all_components, group_components, select_components
from spectro.models.config import ScoringConfig
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.top_k_softmax import (
    TopKFit,
    make_top_k,
    rest_covariance,
    top_k_losses,
)
from spectro.models.variant_losses import fit_top_k
from tests.models.conftest import MakeModel

NUM, HIDDEN, VOCAB, VARIANTS = 40, 12, 600, 3


@pytest.fixture
def made() -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=stream, dtype=torch.float64)

    return {
        "unembed": 0.7 * normal(VOCAB, HIDDEN),
        "hidden": normal(NUM, HIDDEN),
        "shift": normal(VARIANTS, NUM, HIDDEN),
        "targets": torch.randint(0, VOCAB, (NUM,), generator=stream),
    }


def exact(made: dict[str, Tensor], scale: float) -> Tensor:
    logits = (made["hidden"] + scale * made["shift"]) @ made["unembed"].T
    return torch.logsumexp(logits, -1) - logits.gather(
        -1, made["targets"].expand(VARIANTS, -1)[..., None]
    ).squeeze(-1)


def listed(made: dict[str, Tensor], scale: float, size: int) -> Tensor:
    covariance = rest_covariance(made["hidden"], made["unembed"], size)
    lists = make_top_k(made["hidden"], made["unembed"], made["targets"], size, covariance)
    return top_k_losses(made["hidden"] + scale * made["shift"], lists)


def test_a_list_of_the_whole_vocabulary_is_exact(made: dict[str, Tensor]) -> None:
    torch.testing.assert_close(listed(made, 1.0, VOCAB), exact(made, 1.0), rtol=1e-10, atol=1e-10)


def test_without_displacement_the_loss_is_the_clean_one(made: dict[str, Tensor]) -> None:
    torch.testing.assert_close(listed(made, 0.0, 20), exact(made, 0.0), rtol=1e-12, atol=1e-12)


def test_the_rest_is_right_to_first_order_and_nearly_to_second(made: dict[str, Tensor]) -> None:
    """Halving a small displacement quarters the error of a term of second order.

    C is an average over tokens, so a little of the second order is left; without C all of it is.
    """
    errors, without = [], []
    for scale in (2e-3, 1e-3):
        errors.append(float((listed(made, scale, 60) - exact(made, scale)).abs().mean()))
        zero = torch.zeros(HIDDEN, HIDDEN, dtype=torch.float64)
        lists = make_top_k(made["hidden"], made["unembed"], made["targets"], 60, zero)
        found = top_k_losses(made["hidden"] + scale * made["shift"], lists)
        without.append(float((found - exact(made, scale)).abs().mean()))
    assert 3.5 < errors[0] / errors[1] < 4.5
    assert 3.5 < without[0] / without[1] < 4.5
    assert errors[1] < 0.2 * without[1]


def test_longer_lists_are_better(made: dict[str, Tensor]) -> None:
    errors = [
        float((listed(made, 0.1, size) - exact(made, 0.1)).abs().mean())
        for size in (10, 60, 200, 400)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05 * errors[0]


def test_chunks_do_not_matter(made: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = listed(made, 0.3, 50)
    monkeypatch.setattr("spectro.models.top_k_softmax.TOP_K_CHUNK", 7)
    monkeypatch.setattr("spectro.models.top_k_softmax.LOSS_CHUNK", {"cpu": 1000, "cuda": 1000})
    torch.testing.assert_close(listed(made, 0.3, 50), whole, rtol=1e-10, atol=1e-10)


def test_a_group_takes_losses_from_lists_only_where_it_may(make_model: MakeModel) -> None:
    """l1h0 from lists, the rest of the layer exact; a group without listed components has none."""
    model = GPTNeoX.from_pretrained_model(make_model(vocab_size=400).double())
    ids = torch.randint(0, 400, (3, 11), generator=torch.Generator().manual_seed(0))
    made = fit_top_k(model, ScoringConfig(shortlist_size=25), ids)
    assert made is not None
    lists = TopKFit(
        size=25, covariance_DD=made.covariance_DD, components=frozenset({"l1h0", "embed"})
    )
    for group in group_components(select_components(["*"], all_components(3, 4))):
        part = group_model(model, group)
        plain, clean = part.prepare(ids), part.prepare(ids, lists)
        torch.testing.assert_close(part.clean_losses(clean), part.clean_losses(plain))
        for name in part.names:
            torch.manual_seed(1)
            weights = {
                name: {
                    b: w[None] + 0.02 * torch.randn(2, *w.shape, dtype=w.dtype)
                    for b, w in part.weights(name).items()
                }
            }
            expected = part.losses(plain, weights)[name]
            found = part.losses(clean, weights)[name]
            if name in lists.components:
                size = (expected - part.clean_losses(plain)).pow(2).mean().sqrt()
                assert 0 < (found - expected).pow(2).mean().sqrt() < 0.02 * size
            else:
                torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_lists_are_made_only_where_they_pay(make_model: MakeModel) -> None:
    model = GPTNeoX.from_pretrained_model(make_model(vocab_size=399))
    ids = torch.zeros(1, 5, dtype=torch.int64)
    assert fit_top_k(model, ScoringConfig(shortlist_size=25), ids) is None
    assert fit_top_k(model, ScoringConfig(shortlist_size=0), ids) is None
    with pytest.raises(ValueError, match="shortlist_size must be at least 0"):
        ScoringConfig(shortlist_size=-1)
