"""Keyed randomness: the same key replays, different keys differ, purposes do not collide."""

from __future__ import annotations

import itertools

import pytest
import torch

from spectro.sampling.keys import KeyedRandomness

LIKE = {"a": torch.zeros(3, 4), "b": torch.zeros(5)}


def test_noise_replays_and_every_key_matters() -> None:
    randomness = KeyedRandomness(seed=1)
    again = KeyedRandomness(seed=1).noise("l0h1", 2, 3, LIKE)
    for block, values in randomness.noise("l0h1", 2, 3, LIKE).items():
        assert torch.equal(values, again[block])
    keys = itertools.product([1, 2], ["l0h1", "l0h11"], [1, 11], [1, 2])
    draws = [KeyedRandomness(seed=s).noise(c, ch, st, LIKE)["b"] for s, c, ch, st in keys]
    assert all(not torch.equal(x, y) for x, y in itertools.combinations(draws, 2))


def test_noise_does_not_depend_on_the_order_of_blocks() -> None:
    reverse = dict(reversed(LIKE.items()))
    first = KeyedRandomness(seed=0).noise("c", 0, 0, LIKE)
    second = KeyedRandomness(seed=0).noise("c", 0, 0, reverse)
    assert all(torch.equal(first[name], second[name]) for name in LIKE)


def test_minibatches_are_without_replacement_and_differ_by_chain_and_step() -> None:
    randomness = KeyedRandomness(seed=0)
    batches = [randomness.minibatch(c, s, 50, 20) for c in range(3) for s in range(3)]
    assert all(len(set(batch.tolist())) == 20 for batch in batches)
    assert all(not torch.equal(x, y) for x, y in itertools.combinations(batches, 2))
    assert torch.equal(batches[0], randomness.minibatch(0, 0, 50, 20))


def test_minibatches_are_uniform() -> None:
    """Each of 10 sequences is in a batch of 3 with probability 0.3; 2000 batches, 4 errors."""
    counts = torch.zeros(10)
    for step in range(2000):
        counts[KeyedRandomness(seed=5).minibatch(0, step, 10, 3)] += 1
    assert (counts - 600).abs().max() < 4 * (2000 * 0.3 * 0.7) ** 0.5


def test_a_batch_larger_than_the_set_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 5 different sequences, the sampling set has 4"):
        KeyedRandomness(seed=0).minibatch(0, 0, 4, 5)
