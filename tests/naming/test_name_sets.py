"""Names of planted sets, their scores against a slow count, and those of random sets."""

from __future__ import annotations

import tracemalloc

import made_text
import numpy as np
import pytest
from scipy.stats import chisquare

from spectro.analysis.naming.features import KINDS, Lexicon, SequenceBlock, token_features
from spectro.analysis.naming.name_sets import MemberSets, is_held_out, name_sets
from spectro.analysis.naming.null_sets import random_sets, same_y_sets
from spectro.analysis.naming.recognisable import summary_of_names
from spectro.analysis.naming.rules import Rule
from spectro.analysis.naming.scores import NameScore, information
from spectro.clustering.significance import TokenGroups, draw_same_y

LEXICON = made_text.lexicon()
IDS, SUBSET = made_text.made(400, 32)
COLUMNS = token_features(LEXICON, SequenceBlock(first_sequence=0, ids_ST1=IDS, subset_S=SUBSET))
NUM_TOKENS = IDS.shape[0] * (IDS.shape[1] - 1)
BRACKET, NUMBER, WORD = (KINDS.index(name) for name in ("bracket", "number", "word start"))
COMMON = np.argsort(-np.bincount(COLUMNS["y"]))[:6].tolist()
PLANTED = (
    Rule(features=("y",), values=((COMMON[0],),)),
    Rule(features=("y",), values=((COMMON[2],), (COMMON[3],))),
    Rule(features=("before", "y"), values=((COMMON[0], COMMON[1]),)),
    Rule(features=("before2", "y"), values=((COMMON[0], COMMON[4]),)),
    Rule(features=("kind",), values=((NUMBER,),)),
    Rule(features=("kind_before", "kind"), values=((WORD, BRACKET),)),
    Rule(features=("y", "subset"), values=((COMMON[1], 2),)),
    Rule(features=("repeat",), values=((8,), (4,), (2,))),
    Rule(features=("y", "position"), values=((COMMON[5], 4),)),
)


def sets_of(rules, keep=1.0, noise=0):
    """Tokens that satisfy each rule, or a part of them, and some random ones."""
    rng = np.random.default_rng(7)
    own = []
    for rule in rules:
        matching = np.flatnonzero(rule.matches(COLUMNS, LEXICON))
        kept = matching[rng.random(matching.size) < keep]
        own.append(np.union1d(kept, rng.integers(0, NUM_TOKENS, noise)))
    return MemberSets(
        token_id_M=np.concatenate(own),
        set_M=np.repeat(np.arange(len(own)), [len(each) for each in own]),
        num_sets=len(own),
    )


def named(sets, size=50):
    return name_sets(made_text.blocks(IDS, SUBSET, size), sets, LEXICON)


def same_tokens(a, b):
    return np.array_equal(a.matches(COLUMNS, LEXICON), b.matches(COLUMNS, LEXICON))


def test_a_set_that_a_rule_defines_is_named_by_it() -> None:
    for rule, found in zip(PLANTED, named(sets_of(PLANTED)), strict=True):
        assert same_tokens(found.rule, rule), (rule, found.rule)
        assert found.score.f1 == found.score.precision == found.score.recall == 1


def test_and_so_is_most_of_it_among_others() -> None:
    """Nine tenths of its tokens and as many others: precision 0.9, recall 0.9 and less noise."""
    found = named(sets_of(PLANTED, keep=0.9, noise=5))
    for rule, name in zip(PLANTED, found, strict=True):
        size = max(1, name.score.num_members)
        assert same_tokens(name.rule, rule), (rule, name.rule)
        # members that the rule has: nine tenths, with a binomial error; others: 5, in both halves
        assert name.score.precision > 0.9 - 3 * np.sqrt(0.09 / size)
        assert name.score.recall > 1 - 5 / size - 1e-9


def test_scores_are_those_of_a_slow_count() -> None:
    rng = np.random.default_rng(0)
    sets = MemberSets.joined(
        sets_of(PLANTED, keep=0.5, noise=40), random_sets(np.array([30, 300]), NUM_TOKENS, 1)
    )
    held_N = np.repeat(is_held_out(np.arange(len(IDS))), IDS.shape[1] - 1)
    for number, name in enumerate(named(sets)):
        members = np.zeros(NUM_TOKENS, bool)
        members[sets.token_id_M[sets.set_M == number]] = True
        matches = (
            np.zeros(NUM_TOKENS, bool) if name.rule is None else name.rule.matches(COLUMNS, LEXICON)
        )
        score = name.score
        assert score.num_tokens == held_N.sum()
        assert score.num_members == (members & held_N).sum()
        assert score.num_matches == (matches & held_N).sum()
        assert score.num_both == (members & matches & held_N).sum()
        # AUC: over pairs of a member and another token, ties half
        inside, outside = matches[held_N & members], matches[held_N & ~members]
        pairs = rng.integers(0, inside.size, 4000), rng.integers(0, outside.size, 4000)
        ranks = np.sign(inside[pairs[0]].astype(int) - outside[pairs[1]].astype(int))
        assert score.auc == pytest.approx(np.mean((1 + ranks) / 2), abs=0.03)


def test_random_sets_have_scores_at_the_null() -> None:
    sets = random_sets(np.full(60, 100), NUM_TOKENS, 3)
    found = named(sets)
    auc = np.array([name.score.auc for name in found])
    f1 = np.array([name.score.f1 for name in found])
    # AUC of a rule that says nothing: 0.5, with a standard error of at most 0.5 / sqrt(50)
    assert abs(auc.mean() - 0.5) < 3 * 0.07 / np.sqrt(60)
    # a rule that all tokens satisfy has 2p / (1 + p), p = 100 / 12800; noise is about as large
    assert np.median(f1) < 0.03 and f1.max() < 0.15
    planted = named(sets_of(PLANTED))
    summary = summary_of_names(planted, found, found)
    assert summary["recognisable"] == len(PLANTED) == summary["judged"]
    assert summary["random"]["recognisable"] == 0
    assert summary["curve"]["sets"] == [1.0] * 9 and 0.5 <= summary["chance_auc"] < 0.65


def test_both_draws_of_the_same_y_are_uniform_over_the_same_sets() -> None:
    """2 of 4 tokens of one y and 3 of 5 of another, 60 sets: drawn 40 times each on average."""
    y_n, own, num = np.repeat([7, 3], [4, 5]), np.array([7, 3, 3, 7, 3]), 2400
    alike = MemberSets(
        token_id_M=np.zeros(num * own.size, np.int64),
        set_M=np.repeat(np.arange(num), own.size),
        num_sets=num,
    )
    found = same_y_sets(np.tile(own, num), alike, y_n, np.arange(y_n.size), seed=0)
    drawn = [np.sort(row) for row in found.token_id_M.reshape(num, own.size)]
    groups, rng = TokenGroups.of(y_n), np.random.default_rng(0)
    y_M, stamp_N, compiled = groups.y_N[[0, 4, 5, 1, 6]], np.zeros(y_n.size, np.int8), []
    for _ in range(num):
        row = np.empty(own.size, np.int32)
        order = np.argsort(y_M, kind="stable")
        draw_same_y(row, y_M, order, groups.token_N, groups.start_V, stamp_N, rng)
        np.testing.assert_array_equal(y_n[row], own)
        stamp_N[row] = 0
        compiled.append(np.sort(row))
    for rows in (drawn, compiled):
        sets, count = np.unique(np.stack(rows), axis=0, return_counts=True)
        assert len(sets) == 60
        assert chisquare(count).pvalue > 1e-4


def test_random_sets_of_the_same_y_are_no_more_than_their_y() -> None:
    """Half of the tokens of one y: by its y such a set has precision 0.5, whatever else it has."""
    y = COLUMNS["y"]
    own = np.flatnonzero((y == COMMON[0]) & (COLUMNS["position"] >= 4))
    cluster = MemberSets(token_id_M=own, set_M=np.zeros(own.size, int), num_sets=1)
    everything = np.arange(NUM_TOKENS)
    null = same_y_sets(y[own], cluster, y, everything, seed=0)
    assert np.array_equal(np.bincount(y[null.token_id_M]), np.bincount(y[own]))
    assert np.unique(null.token_id_M).size == own.size, "drawn without replacement"
    name, of_null = named(MemberSets.joined(cluster, null))
    share = own.size / (y == COMMON[0]).sum()
    assert name.score.f1 == 1
    assert same_tokens(of_null.rule, Rule(features=("y",), values=((COMMON[0],),)))
    assert of_null.score.precision == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("size", [1, 7, 400])
def test_blocks_change_nothing(size: int) -> None:
    sets = MemberSets.joined(
        sets_of(PLANTED, keep=0.7, noise=30), random_sets(np.full(9, 64), NUM_TOKENS, 1)
    )
    assert named(sets, size) == named(sets, 50)


def test_halves_are_the_ids_alone() -> None:
    held = is_held_out(np.arange(10_000))
    assert abs(held.mean() - 0.5) < 0.02
    assert np.array_equal(is_held_out(np.arange(5000, 10_000)), held[5000:])
    assert abs(np.corrcoef(held[1:], held[:-1])[0, 1]) < 0.03


def test_among_members_names_tell_sets_apart() -> None:
    """Of two sets with one y the other tokens say nothing; what is before y does."""
    rules = [Rule(features=("before", "y"), values=((COMMON[k], COMMON[0]),)) for k in (1, 2)]
    sets = sets_of(rules)
    blocks = made_text.blocks(IDS, SUBSET, 50)
    for k, name in zip((1, 2), name_sets(blocks, sets, LEXICON, among_members=True), strict=True):
        assert name.rule == Rule(features=("before",), values=((COMMON[k],),))
        assert name.score.f1 == 1 and name.score.num_tokens < NUM_TOKENS / 20


def test_degenerate_sets() -> None:
    one_sequence = np.arange(32) + 32 * int(np.flatnonzero(~is_held_out(np.arange(400)))[0])
    sets = MemberSets(
        token_id_M=np.concatenate([one_sequence, np.arange(NUM_TOKENS), [5]]),
        set_M=np.repeat([0, 2, 3], [32, NUM_TOKENS, 1]),
        num_sets=4,
    )
    alone, empty, whole, single = named(sets)
    assert alone.score.num_members == 0 and np.isnan(alone.score.f1) and np.isnan(alone.score.auc)
    assert empty.rule is None and empty.score.num_members == 0
    assert whole.rule is None, "nothing is more common in it than outside"
    assert single.rule is None
    nothing = MemberSets(token_id_M=np.empty(0, int), set_M=np.empty(0, int), num_sets=0)
    assert named(nothing) == []


def test_a_member_that_is_no_token_is_refused() -> None:
    sets = MemberSets(token_id_M=np.array([NUM_TOKENS]), set_M=np.array([0]), num_sets=1)
    with pytest.raises(ValueError, match="expected the 1 tokens of the sets among the sequences"):
        named(sets)


def test_information_is_the_mutual_information() -> None:
    rng = np.random.default_rng(0)
    for both, matches, members, total in ((5, 9, 20, 100), (0, 10, 10, 50), (7, 7, 7, 30)):
        table = np.array([[both, matches - both],
                          [members - both, total - matches - members + both]]) / total  # fmt: skip
        outer = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
        seen = table > 0
        expected = total * (table[seen] * np.log2(table[seen] / outer[seen])).sum()
        found = information(*(np.array(each) for each in (both, matches, members)), total)
        assert found == pytest.approx(expected, abs=1e-9)
    assert rng is not None


def test_scores_of_no_match_and_of_all() -> None:
    none = NameScore(num_tokens=100, num_members=10, num_matches=0, num_both=0)
    assert (none.precision, none.recall, none.f1, none.auc) == (0, 0, 0, 0.5)
    everything = NameScore(num_tokens=100, num_members=10, num_matches=100, num_both=10)
    assert (everything.precision, everything.recall, everything.auc) == (0.1, 1, 0.5)
    assert everything.base_rate == 0.1


@pytest.mark.slow
def test_a_million_tokens_in_counted_memory() -> None:
    """What is held grows with members and candidates; all tokens' features would be 72 MB."""
    context, num_sequences, num_sets = 128, 8192, 300
    rng = np.random.default_rng(0)
    large = Lexicon.of([f" w{i}".encode() for i in range(20_000)], made_text.SUBSETS)

    def blocks():
        for first in range(0, num_sequences, 256):
            own = np.random.default_rng(first)
            ids = (own.zipf(1.3, (256, context + 1)) % 20_000).astype(np.int32)
            yield SequenceBlock(first_sequence=first, ids_ST1=ids, subset_S=own.integers(0, 3, 256))

    size = rng.integers(20, 400, num_sets)
    sets = random_sets(size, num_sequences * context, 0)
    tracemalloc.start()
    found = name_sets(blocks, sets, large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == num_sets and found[0].score.num_tokens > 400_000
    num_members = np.unique(sets.token_id_M).size
    block_bytes = 256 * context * 9 * 8
    counted = 72 * num_members + 36 * size.sum() + 8 * 32 * num_sets * (27 * 4 + 12)
    assert peak < counted + 6 * block_bytes, (peak, counted, block_bytes)
