"""Names of sets of tokens: rules chosen on half of the sequences, scored on the other half.

Of a set's members in the half that is for choosing, the most common combinations of values are
candidates, template by template. From the counts over all tokens of that half the rule is chosen
that gives most information about membership, less its description length in bits, so that a longer
rule must earn its length. Combinations of one template exclude each other, so that counts of a
union are sums, and one pass over the tokens serves all rules. The other half gives the score.

Tokens are read three times at most, a block at a time. Memory grows with the members and the
candidates, not with the tokens: 8 bytes for each feature of a token that is in any set, 12 per
membership, 32 per candidate (at most MAX_CANDIDATES per set and template).

Shapes: M memberships, U tokens in any set, G sets, J candidates of a set, L values of a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.naming.features import (
    FEATURES,
    Columns,
    Ints,
    Lexicon,
    SequenceBlock,
    token_features,
)
from spectro.analysis.naming.rules import (
    MAX_VALUES,
    TEMPLATES,
    Rule,
    codes,
    values_of_codes,
)
from spectro.analysis.naming.scores import NameScore, information
from spectro.analysis.patterns import Bools

MAX_CANDIDATES = 32
"""Combinations of values that are tried per set and template."""
LEAST_BOTH = 2
"""Least members of the choosing half that have a combination."""
_DIGITS = 6
"""Of scores when rules are compared, so that rounding of sums decides nothing."""
NOTHING = -np.inf
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


@dataclass(frozen=True, kw_only=True)
class _Candidates:
    """Combinations of values of one template, as codes: a row per set, −1 beyond the last."""

    features: tuple[str, ...]
    code_GJ: Ints
    both_GJ: Ints
    """Members of the choosing half that have it."""


@dataclass(kw_only=True)
class _Best:
    """The best rule of each set so far."""

    gain_G: NDArray[np.float64]
    template_G: Ints
    code_GL: Ints
    """−1 beyond the last."""


def is_held_out(sequence_id_S: Ints) -> Bools:
    """Which half a sequence belongs to, from its id alone (SplitMix64): [S]."""
    with np.errstate(over="ignore"):
        z = sequence_id_S.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Bools = ((z ^ (z >> np.uint64(31))) & np.uint64(1)).astype(bool)
    return result


def name_sets(blocks: Blocks, sets: MemberSets, lexicon: Lexicon) -> list[SetName]:
    """The name of every set; the same however the sequences are cut into blocks.

    Args:
        blocks: gives all sequences in order, each time it is called.
        sets: who is in them.
        lexicon: of the run's vocabulary.

    Raises ValueError for a member that no block has, and as `token_features`.
    """
    members = _read_members(blocks, sets, lexicon)
    candidates = [_candidates(members, features, lexicon) for features in TEMPLATES]
    known = [np.unique(each.code_GJ[each.code_GJ >= 0]) for each in candidates]
    matches, num_tokens = _count(blocks, known, lexicon)
    best = _Best(
        gain_G=np.full(sets.num_sets, NOTHING),
        template_G=np.full(sets.num_sets, -1),
        code_GL=np.full((sets.num_sets, MAX_VALUES), -1),
    )
    members_G = _per_set(members, ~members.held_U)
    for template, each in enumerate(candidates):
        matches_GJ = _looked_up(each.code_GJ, known[template], matches[template][0])
        _improve(best, template, each, matches_GJ, members_G, int(num_tokens[0]), lexicon)
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


def _candidates(members: _Members, features: tuple[str, ...], lexicon: Lexicon) -> _Candidates:
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
    return _Candidates(features=features, code_GJ=code_GJ, both_GJ=both_GJ)


def _count(
    blocks: Blocks, known: list[Ints], lexicon: Lexicon
) -> tuple[list[Ints], NDArray[np.int64]]:
    """One pass: how many tokens of either half have each known code, and how many there are."""
    matches = [np.zeros((2, codes_C.size), np.int64) for codes_C in known]
    num_tokens = np.zeros(2, np.int64)
    for block in blocks():
        columns = token_features(lexicon, block)
        held_S = is_held_out(block.sequence_id_S)
        held_N = np.repeat(held_S, columns["y"].size // max(1, held_S.size))
        num_tokens += np.bincount(held_N, minlength=2)
        for features, codes_C, counts in zip(TEMPLATES, known, matches, strict=True):
            code_N = codes(features, columns, lexicon)
            place_N = np.searchsorted(codes_C, code_N)
            place_N[place_N == codes_C.size] = 0
            inside_N = codes_C[place_N] == code_N if codes_C.size else np.zeros(code_N.size, bool)
            flat = place_N[inside_N] + codes_C.size * held_N[inside_N]
            counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)
    return matches, num_tokens


def _improve(
    best: _Best,
    template: int,
    found: _Candidates,
    matches_GJ: Ints,
    members_G: Ints,
    num_tokens: int,
    lexicon: Lexicon,
) -> None:
    """Take the rule of this template where it is better: values are added while that helps.

    All values of a rule agree in all features but one, so that it is a short phrase. The first
    costs the bits that its features can hold, a further one those of the feature that differs.
    """
    bits_F = np.log2([lexicon.num_values(feature) for feature in found.features])
    value_GJF = np.stack(values_of_codes(found.features, found.code_GJ, lexicon), axis=-1)
    num_sets, row_G = len(members_G), np.arange(len(members_G))
    both_G, sum_G = np.zeros(num_sets, np.int64), np.zeros(num_sets, np.int64)
    gain_G, length_G = np.full(num_sets, NOTHING), np.full(num_sets, np.log2(len(TEMPLATES)))
    code_GL = np.full((num_sets, MAX_VALUES), -1, np.int64)
    first_GF = np.full((num_sets, bits_F.size), -1)
    varies_GF = np.zeros(first_GF.shape, bool)
    is_free_GJ = found.code_GJ >= 0
    for place in range(MAX_VALUES):
        differs_GJF = value_GJF != first_GF[:, None]
        length_GJ = length_G[:, None] + differs_GJF @ bits_F
        both_GJ, all_GJ = both_G[:, None] + found.both_GJ, sum_G[:, None] + matches_GJ
        gain_GJ = information(both_GJ, all_GJ, members_G[:, None], num_tokens) - length_GJ
        is_allowed_GJ = is_free_GJ & (both_GJ * num_tokens > all_GJ * members_G[:, None])
        if place:
            is_allowed_GJ &= (varies_GF[:, None] | differs_GJF).sum(axis=2) == 1
        gain_GJ = np.where(is_allowed_GJ, np.round(gain_GJ, _DIGITS), NOTHING)
        pick_G = gain_GJ.argmax(axis=1)
        up = np.flatnonzero(gain_GJ[row_G, pick_G] > gain_G)
        if not up.size:
            break
        pick = pick_G[up]
        gain_G[up], code_GL[up, place] = gain_GJ[up, pick], found.code_GJ[up, pick]
        both_G[up], sum_G[up] = both_GJ[up, pick], all_GJ[up, pick]
        length_G[up] = length_GJ[up, pick]
        if place:
            varies_GF[up] |= differs_GJF[up, pick]
        else:
            first_GF[up] = value_GJF[up, pick]
        is_done_G = np.ones(num_sets, bool)
        is_done_G[up] = False
        is_free_GJ[is_done_G] = False
        is_free_GJ[up, pick] = False
    better = gain_G > best.gain_G
    best.gain_G[better], best.template_G[better] = gain_G[better], template
    best.code_GL[better] = code_GL[better]


def _scored(
    best: _Best,
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
