"""Choice of a rule: the values of one template that give most information about membership.

Combinations of values of a template exclude each other, so that counts of a union are sums. A
description length is subtracted from the information, so that a longer rule must earn its length.

Shapes: G sets, J candidates of a set, L values of a rule, F features of a template.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.naming.features import Ints, Lexicon
from spectro.analysis.naming.rules import MAX_VALUES, TEMPLATES, values_of_codes
from spectro.analysis.naming.scores import information

MAX_CANDIDATES = 32
"""Combinations of values that are tried per set and template."""
_DIGITS = 6
"""Of scores when rules are compared, so that rounding of sums decides nothing."""
NOTHING = -np.inf


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Combinations of values of one template, as codes: a row per set, −1 beyond the last."""

    features: tuple[str, ...]
    code_GJ: Ints
    both_GJ: Ints
    """Members of the choosing half that have it."""


@dataclass(kw_only=True)
class BestRules:
    """The best rule of each set so far."""

    gain_G: NDArray[np.float64]
    template_G: Ints
    code_GL: Ints
    """−1 beyond the last."""

    @classmethod
    def nothing(cls, num_sets: int) -> BestRules:
        """No rule yet."""
        return cls(
            gain_G=np.full(num_sets, NOTHING),
            template_G=np.full(num_sets, -1),
            code_GL=np.full((num_sets, MAX_VALUES), -1),
        )


def improve(
    best: BestRules,
    template: int,
    found: Candidates,
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
