"""The sampled softmax against the exact one: unbiased, of little variance, and its own gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from spectro.models.components import all_components, group_components
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.sampled_softmax import (
    SampledBatch,
    SampledSoftmax,
    clean_sequences,
    inclusion_probabilities,
    sampled_losses,
    systematic_sample,
)
from spectro.models.token_loss import token_losses
from spectro.sampling.gradients import VocabularySample, minibatch_gradients
from spectro.sampling.keys import KeyedRandomness

VOCAB, CONTEXT = 211, 10
SIZES = {
    "flat": torch.ones(VOCAB),
    "heavy_tail": 1 / torch.arange(1, VOCAB + 1).square(),
    "some_impossible": torch.arange(VOCAB) % 3 * 1.0,
}


@pytest.mark.parametrize("count", [1, 20, 90])
@pytest.mark.parametrize("sizes", SIZES)
def test_every_entry_is_taken_as_often_as_its_probability(sizes: str, count: int) -> None:
    """Over a grid of shifts the frequency is the width of an interval, to one point of the grid."""
    inclusion = inclusion_probabilities([SIZES[sizes].double()], count)[0]
    assert inclusion.sum() == pytest.approx(count)
    assert bool(((inclusion >= 0) & (inclusion <= 1)).all())
    free = (inclusion < 1) & (inclusion > 0)
    ratio = (inclusion / SIZES[sizes])[free]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    num_shifts, taken = 1000, torch.zeros(VOCAB)
    for shift in range(num_shifts):
        entries = systematic_sample(inclusion[None], count, [(shift + 0.5) / num_shifts])[0]
        assert len(entries.unique()) == count
        taken[entries] += 1
    assert bool(((taken / num_shifts - inclusion).abs() <= 1.5 / num_shifts).all())


def batch_of(
    hidden_BTD: Tensor, unembed_VD: Tensor, ids_BT1: Tensor, size: int, shift: float
) -> SampledBatch:
    """One sequence is as many positions of a stream that is not a model's."""
    streams = {ids[:-1].numpy().tobytes(): h for ids, h in zip(ids_BT1, hidden_BTD, strict=True)}
    softmax = SampledSoftmax(lambda ids: streams[ids[0].numpy().tobytes()][None], unembed_VD, size)
    return softmax.batch(ids_BT1, [shift] * len(ids_BT1))


def streams_of(scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden, unembed = torch.randn(2, CONTEXT, 8).double(), torch.randn(VOCAB, 8).double()
    moved = hidden + scale * torch.randn(3, 2, CONTEXT, 8).double()
    return hidden, unembed, moved, torch.randint(0, VOCAB, (2, CONTEXT + 1))


def test_the_whole_vocabulary_gives_the_exact_loss_and_gradient() -> None:
    hidden, unembed, moved, ids = streams_of(scale=1.0)
    batch = batch_of(hidden, unembed, ids, VOCAB, 0.5)
    ours, exact = moved.clone().requires_grad_(), moved.clone().requires_grad_()
    targets = ids[:, 1:].expand(3, -1, -1).reshape(-1)
    expected = token_losses(exact.view(-1, 8), unembed, targets).view(3, 2, CONTEXT)
    found = sampled_losses(ours, batch)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(3, 2, CONTEXT).double()
    (found * upstream).sum().backward()
    (expected * upstream).sum().backward()
    torch.testing.assert_close(ours.grad, exact.grad)


def test_the_gradient_is_that_of_the_estimate() -> None:
    hidden, unembed, moved, ids = streams_of(scale=0.5)
    batch = batch_of(hidden, unembed, ids, 30, 0.3)
    assert torch.autograd.gradcheck(
        lambda h: sampled_losses(h, batch), moved.requires_grad_(), atol=1e-6
    )


def test_without_a_displacement_nothing_is_estimated() -> None:
    """The clean loss and its gradient, whatever the sample."""
    hidden, unembed, _, ids = streams_of(scale=0.0)
    still = hidden[None].clone().requires_grad_()
    exact = hidden.clone().requires_grad_()
    found = sampled_losses(still, batch_of(hidden, unembed, ids, 5, 0.7))[0]
    expected = token_losses(exact.view(-1, 8), unembed, ids[:, 1:].reshape(-1)).view(2, CONTEXT)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(still.grad[0], exact.grad)


def test_numerator_and_denominator_are_unbiased() -> None:
    """Their mean over a fine grid of shifts, of which any single one is as good as any other."""
    hidden, unembed, moved, _ = streams_of(scale=0.3)
    clean = clean_sequences([hidden[0]], unembed, 24)[0]
    probs = torch.softmax(hidden[0] @ unembed.T, -1)
    y = ((moved[0, 0] - hidden[0]) @ unembed.T) - ((moved[0, 0] - hidden[0]) * clean.mean_TD).sum(
        -1, keepdim=True
    )
    torch.testing.assert_close(clean.mean_TD, probs @ unembed)
    terms = {"rest": probs * (y.exp() - 1 - y), "pull": probs * (y.exp() - 1)}
    num_shifts = 4000
    for name, term_TV in terms.items():
        found = torch.zeros(CONTEXT).double()
        for shift in range(num_shifts):
            entries = systematic_sample(clean.inclusion_V[None], 24, [(shift + 0.5) / num_shifts])[
                0
            ]
            found += (term_TV[:, entries] / clean.inclusion_V[entries]).sum(-1) / num_shifts
        size = term_TV.abs().sum(-1) / clean.inclusion_V.min()  # one entry of one shift too many
        assert bool(((found - term_TV.sum(-1)).abs() <= 2 * size / num_shifts).all()), name


def flat(gradient: dict[str, Tensor]) -> Tensor:
    return torch.cat([block.flatten() for block in gradient.values()])


@pytest.mark.parametrize("group", ["embed", "l1"])
def test_gradients_agree_with_the_exact_ones_over_many_keys(make_model, group: str) -> None:
    """Their mean to its Monte-Carlo error; their variance is a small share of the minibatch's."""
    model = GPTNeoX.from_pretrained_model(make_model(vocab_size=2048).double())
    part = next(
        group_model(model, g) for g in group_components(all_components(3, 4)) if g.name == group
    )
    ids = torch.randint(0, 2048, (12, 1, 17))
    moved = {
        name: [{b: torch.randn_like(w) / math.sqrt(300.0) for b, w in part.weights(name).items()}]
        for name in part.names
    }
    each = [minibatch_gradients(part, moved, own[None])[1] for own in ids]
    exact_losses, exact = minibatch_gradients(part, moved, ids[:1])
    softmax = part.sampled_softmax(128)
    assert softmax is not None
    keys, num_keys = KeyedRandomness(seed=0), 200
    samples = [
        minibatch_gradients(
            part,
            moved,
            ids[:1],
            sample=VocabularySample(softmax, [[keys.vocabulary_shift(0, step, 0)]]),
        )
        for step in range(num_keys)
    ]
    for name in part.names:
        truth = flat(exact[name])
        errors = torch.stack([flat(found[name]) for _, found in samples]) - truth
        directions = torch.randn(len(truth), 20).double()
        along = errors @ directions
        z = along.mean(0) / (along.std(0) / math.sqrt(num_keys))
        assert float(z.abs().max()) < 4.5, name
        minibatch = torch.stack([flat(found[name]) for found in each]).var(0).sum()
        assert 0 < errors.var(0).sum() < 0.05 * minibatch, name
        losses = torch.stack([loss[name] for loss, _ in samples])[:, 0] - exact_losses[name]
        assert abs(losses.mean()) < 4.5 * losses.std() / math.sqrt(num_keys), name


def test_statistics_that_do_not_fit_are_computed_again(make_model, monkeypatch) -> None:
    model = GPTNeoX.from_pretrained_model(make_model())
    ids = torch.randint(0, 61, (3, 9))
    kept = model.sampled_softmax(16)
    assert kept is not None and kept is model.sampled_softmax(16)
    assert model.sampled_softmax(61) is None
    first = kept.batch(ids, [0.1, 0.2, 0.3])
    monkeypatch.setattr("spectro.models.sampled_softmax.KEPT_BYTES", 0)
    unkept = SampledSoftmax(
        lambda i: model.suffix(model.embed(i), 0), model.params[model.unembed_name], 16
    )
    for again in (kept.batch(ids, [0.1, 0.2, 0.3]), unkept.batch(ids, [0.1, 0.2, 0.3])):
        for field, tensor in vars(first).items():
            assert torch.equal(getattr(again, field), tensor), field
    alone = kept.batch(ids[1:2], [0.2])
    assert torch.equal(alone.rows_BSD[0], first.rows_BSD[1])


def test_edge_groups_whose_output_moves_take_the_exact_loss(make_model) -> None:
    model = GPTNeoX.from_pretrained_model(make_model())
    for group in group_components(all_components(3, 4)):
        sampled = group_model(model, group).sampled_softmax(16)
        assert (sampled is None) == (group.name == "unembed")
