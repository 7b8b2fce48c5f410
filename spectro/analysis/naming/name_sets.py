"""Names of sets of tokens: rules chosen on half of the sequences, scored on the other half.

Of a set's members in the half that is for choosing, the most common combinations of values are
candidates, template by template. From the counts over all tokens of that half the rule is chosen
that gives most information about membership, less its description length in bits, so that a longer
rule must earn its length. Combinations of one template exclude each other, so that counts of a
union are sums, and one pass over the tokens serves all rules. The other half gives the score.

Tokens are read three times at most, a block at a time. Memory grows with the members and the
candidates (at most MAX_CANDIDATES per set and template), not with the tokens.

Shapes: M memberships, U tokens in any set, G sets, J candidates of a set, L values of a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.naming.choose import MAX_CANDIDATES, BestRules, Candidates, improve
from spectro.analysis.naming.features import (
    FEATURES,
    Columns,
    Ints,
    Lexicon,
    SequenceBlock,
    token_features,
)
from spectro.analysis.naming.rules import (
    TEMPLATES,
    Rule,
    codes,
    values_of_codes,
)
from spectro.analysis.naming.scores import NameScore
from spectro.analysis.patterns import Bools

LEAST_BOTH = 2
"""Least members of the choosing half that have a combination."""
Blocks = Callable[[], Iterable[SequenceBlock]]


@dataclass(frozen=True, kw_only=True)
class MemberSets:
    """Which tokens are in which set; a token may be in several."""

    token_id_M: Ints
    """Tokens of all sets."""
    set_M: Ints
    """Their sets, 0 … num_sets − 1."""
    num_sets: int

    @classmethod
    def joined(cls, *parts: MemberSets) -> MemberSets:
        """All sets of all parts, numbered on."""
        first = np.cumsum([0, *(part.num_sets for part in parts)])
        return cls(
            token_id_M=np.concatenate([part.token_id_M for part in parts]),
            set_M=np.concatenate(
                [part.set_M + start for part, start in zip(parts, first, strict=False)]
            ),
            num_sets=int(first[-1]),
        )


@dataclass(frozen=True, kw_only=True)
class SetName:
    """The rule of one set, and its score on the held-out half."""

    rule: Rule | None
    """None: no combination of values is more common in the set than outside."""
    score: NameScore


@dataclass(frozen=True, kw_only=True)
class _Members:
    """Features and halves of the tokens that are in any set."""

    columns: Columns
    held_U: Bools
    place_M: Ints
    """Index of every membership's token."""
    sets: MemberSets


def is_held_out(sequence_id_S: Ints) -> Bools:
    """Which half a sequence belongs to, from its id alone (SplitMix64): [S]."""
    with np.errstate(over="ignore"):
        z = sequence_id_S.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Bools = ((z ^ (z >> np.uint64(31))) & np.uint64(1)).astype(bool)
    return result


def name_sets(
    blocks: Blocks, sets: MemberSets, lexicon: Lexicon, *, among_members: bool = False
) -> list[SetName]:
    """The name of every set; the same however the sequences are cut into blocks.

    Args:
        blocks: gives all sequences in order, each time it is called.
        sets: who is in them.
        lexicon: of the run's vocabulary.
        among_members: whether names distinguish the sets from each other, not from all tokens.

    Raises ValueError for a member that no block has, and as `token_features`.
    """
    members = _read_members(blocks, sets, lexicon)
    candidates = [_candidates(members, features, lexicon) for features in TEMPLATES]
    known = [np.unique(each.code_GJ[each.code_GJ >= 0]) for each in candidates]
    counted = [(members.columns, members.held_U)] if among_members else _halves(blocks, lexicon)
    matches, num_tokens = _count(counted, known, lexicon)
    if not num_tokens[0]:  # nothing to choose on: no name, and none is judged
        unknown = NameScore(num_tokens=0, num_members=0, num_matches=0, num_both=0)
        return [SetName(rule=None, score=unknown)] * sets.num_sets
    best = BestRules.nothing(sets.num_sets)
    members_G = _per_set(members, ~members.held_U)
    for template, each in enumerate(candidates):
        matches_GJ = _looked_up(each.code_GJ, known[template], matches[template][0])
        improve(best, template, each, matches_GJ, members_G, int(num_tokens[0]), lexicon)
    return _scored(best, members, known, matches, int(num_tokens[1]), lexicon)


def _read_members(blocks: Blocks, sets: MemberSets, lexicon: Lexicon) -> _Members:
    """One pass: features of all members."""
    token_id_U, place_M = np.unique(sets.token_id_M, return_inverse=True)
    columns = {name: np.empty(token_id_U.size, np.int64) for name in FEATURES}
    held_U, num_found = np.empty(token_id_U.size, bool), 0
    for block in blocks():
        found = token_features(lexicon, block)
        num_tokens = found["y"].size
        first = block.first_token_id
        low, high = np.searchsorted(token_id_U, [first, first + num_tokens]).tolist()
        inside = token_id_U[low:high] - first
        for name, values_N in found.items():
            columns[name][low:high] = values_N[inside]
        context = num_tokens // max(1, len(block.ids_ST1))
        held_U[low:high] = is_held_out(block.sequence_id_S)[inside // max(1, context)]
        num_found += high - low
    if num_found != token_id_U.size:
        raise ValueError(
            f"expected the {token_id_U.size} tokens of the sets among the sequences, found "
            f"{num_found}: were the clusters found in another run?"
        )
    return _Members(
        columns=columns,
        held_U=held_U,
        place_M=place_M,
        sets=sets,
    )


def _candidates(members: _Members, features: tuple[str, ...], lexicon: Lexicon) -> Candidates:
    """The most common combinations of each set; those that few members have are left out."""
    code_U = codes(features, members.columns, lexicon)
    used_M = (~members.held_U & (code_U >= 0))[members.place_M]
    set_m, code_m = members.sets.set_M[used_M], code_U[members.place_M[used_M]]
    order = np.lexsort((code_m, set_m))
    set_m, code_m = set_m[order], code_m[order]
    is_new = np.ones(set_m.size, bool)
    is_new[1:] = (set_m[1:] != set_m[:-1]) | (code_m[1:] != code_m[:-1])
    start = np.flatnonzero(is_new)
    both = np.diff(np.append(start, set_m.size))
    set_c, code_c = set_m[start], code_m[start]
    order = np.lexsort((code_c, -both, set_c))
    set_c, code_c, both = set_c[order], code_c[order], both[order]
    rank = np.arange(set_c.size) - np.searchsorted(set_c, set_c)
    kept = (rank < MAX_CANDIDATES) & (both >= LEAST_BOTH)
    shape = (members.sets.num_sets, MAX_CANDIDATES)
    code_GJ, both_GJ = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    code_GJ[set_c[kept], rank[kept]] = code_c[kept]
    both_GJ[set_c[kept], rank[kept]] = both[kept]
    return Candidates(features=features, code_GJ=code_GJ, both_GJ=both_GJ)


def _halves(blocks: Blocks, lexicon: Lexicon) -> Iterator[tuple[Columns, Bools]]:
    """Features of all tokens, block by block, and which are held out."""
    for block in blocks():
        columns = token_features(lexicon, block)
        held_S = is_held_out(block.sequence_id_S)
        yield columns, np.repeat(held_S, columns["y"].size // max(1, held_S.size))


def _count(
    counted: Iterable[tuple[Columns, Bools]], known: list[Ints], lexicon: Lexicon
) -> tuple[list[Ints], NDArray[np.int64]]:
    """One pass: how many tokens of either half have each known code, and how many there are."""
    matches = [np.zeros((2, codes_C.size), np.int64) for codes_C in known]
    num_tokens = np.zeros(2, np.int64)
    for columns, held_N in counted:
        num_tokens += np.bincount(held_N, minlength=2)
        for features, codes_C, counts in zip(TEMPLATES, known, matches, strict=True):
            code_N = codes(features, columns, lexicon)
            place_N = np.searchsorted(codes_C, code_N)
            place_N[place_N == codes_C.size] = 0
            inside_N = codes_C[place_N] == code_N if codes_C.size else np.zeros(code_N.size, bool)
            flat = place_N[inside_N] + codes_C.size * held_N[inside_N]
            counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)
    return matches, num_tokens


def _scored(
    best: BestRules,
    members: _Members,
    known: list[Ints],
    matches: list[Ints],
    num_held: int,
    lexicon: Lexicon,
) -> list[SetName]:
    """Rules of the best codes, with counts over the held-out half."""
    members_G = _per_set(members, members.held_U)
    both_G, matches_G = np.zeros_like(members_G), np.zeros_like(members_G)
    for template, features in enumerate(TEMPLATES):
        own_G = best.template_G == template
        if not own_G.any():
            continue
        code_GL = np.where(own_G[:, None], best.code_GL, -1)
        held_GL = _looked_up(code_GL, known[template], matches[template][1])
        matches_G[own_G] = held_GL.sum(axis=1)[own_G]
        code_U = codes(features, members.columns, lexicon)
        both_G[own_G] = _num_both(members, code_U, code_GL)[own_G]
    return [
        SetName(
            rule=_rule(int(best.template_G[number]), best.code_GL[number], lexicon),
            score=NameScore(
                num_tokens=num_held,
                num_members=int(members_G[number]),
                num_matches=int(matches_G[number]),
                num_both=int(both_G[number]),
            ),
        )
        for number in range(members.sets.num_sets)
    ]


def _num_both(members: _Members, code_U: Ints, code_GL: Ints) -> Ints:
    """Held-out members of each set whose code is one of the set's."""
    sets, both_G = members.sets, np.zeros(members.sets.num_sets, np.int64)
    wanted_G = code_GL[:, 0] >= 0
    used_M = np.flatnonzero(
        wanted_G[sets.set_M] & (members.held_U & (code_U >= 0))[members.place_M]
    )
    set_m, code_m = sets.set_M[used_M], code_U[members.place_M[used_M]]
    for codes_G in code_GL.T:
        both_G += np.bincount(set_m[codes_G[set_m] == code_m], minlength=both_G.size)
    return both_G


def _per_set(members: _Members, wanted_U: Bools) -> Ints:
    """Members of each set that are wanted."""
    own = members.sets.set_M[wanted_U[members.place_M]]
    return np.bincount(own, minlength=members.sets.num_sets).astype(np.int64)


def _looked_up(code_GJ: Ints, codes_C: Ints, count_C: Ints) -> Ints:
    """The counts of some codes; 0 for −1."""
    if not codes_C.size:
        return np.zeros_like(code_GJ)
    place = np.searchsorted(codes_C, code_GJ).clip(max=codes_C.size - 1)
    return np.where(code_GJ >= 0, count_C[place], 0)


def _rule(template: int, code_L: Ints, lexicon: Lexicon) -> Rule | None:
    if template < 0:
        return None
    features = TEMPLATES[template]
    values_F = values_of_codes(features, code_L[code_L >= 0], lexicon)
    values = zip(*(values_L.tolist() for values_L in values_F), strict=True)
    return Rule(features=features, values=tuple(values))
