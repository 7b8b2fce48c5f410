"""A rule: some features of a token, and the values of them that it allows.

A token satisfies a rule if its features have one of the listed combinations of values. A rule is
data: it can be stored, and evaluated on any tokens of the same vocabulary, of another run too.

Shapes: N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectro.analysis.naming.features import (
    KINDS,
    PARTS,
    REPEATS,
    WORDS,
    Columns,
    Ints,
    Lexicon,
)
from spectro.analysis.patterns import Bools

TEMPLATES = (
    ("y",), ("before",), ("kind",), ("kind_before",), ("subset",), ("position",), ("repeat",),
    ("before", "y"), ("before2", "before"), ("before2", "before", "y"), ("before2", "y"),
    ("before", "kind"), ("kind_before", "y"), ("kind_before", "kind"),
    ("kind_before2", "kind_before", "kind"),
    ("y", "subset"), ("before", "subset"), ("kind", "subset"), ("kind_before", "kind", "subset"),
    ("y", "position"), ("kind", "position"),
    ("y", "repeat"), ("before", "repeat"), ("kind", "repeat"), ("kind_before", "kind", "repeat"),
    ("repeat", "subset"), ("kind", "repeat", "subset"),
)  # fmt: skip
"""Features that a rule may combine."""
MAX_VALUES = 4
"""Combinations of values in one rule."""
_ALL = {
    frozenset(WORDS): "word start",
    frozenset(PARTS): "word part",
    frozenset((WORDS[1], WORDS[2])): "capitalised word start",
    frozenset((PARTS[1], PARTS[2])): "capitalised word part",
    frozenset((WORDS[2], PARTS[2])): "upper-case word",
    frozenset(("bracket", "quotation mark", "punctuation")): "delimiter",
}
"""Kinds that have one name together."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which tokens of a text; `values` are combinations of the values of `features`."""

    features: tuple[str, ...]
    """One of TEMPLATES."""
    values: tuple[tuple[int, ...], ...]
    """Whole numbers as `token_features` gives them."""

    def matches(self, columns: Columns, lexicon: Lexicon) -> Bools:
        """Which tokens satisfy the rule, [N]."""
        allowed = codes_of_values(self.features, np.array(self.values, np.int64), lexicon)
        return np.isin(codes(self.features, columns, lexicon), allowed)

    def to_dict(self, lexicon: Lexicon) -> dict[str, Any]:
        """Plain JSON types: token ids and lengths as numbers, kinds and subsets by name."""
        plain = [
            [
                _plain(feature, number, lexicon)
                for feature, number in zip(self.features, v, strict=True)
            ]
            for v in self.values
        ]
        return {"features": list(self.features), "values": plain}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], lexicon: Lexicon) -> Rule:
        """The reverse; ValueError, in one line, for features or values that are not known.

        A value that holds a subset that the run does not have is left out: no token of it is there.
        """
        features = tuple(plain.get("features", ()))
        if features not in TEMPLATES:
            raise ValueError(
                f"expected features of a rule such as {list(TEMPLATES[7])}, found {features!r}: "
                "was it written by a later version?"
            )
        found = [
            tuple(_number(name, value, lexicon) for name, value in zip(features, each, strict=True))
            for each in plain.get("values", ())
            if len(each) == len(features)
        ]
        return cls(features=features, values=tuple(v for v in found if min(v) >= 0))


def codes(features: Sequence[str], columns: Columns, lexicon: Lexicon) -> Ints:
    """One number for the combination of the features' values, [N]; −1 where one is not there."""
    code_N = np.zeros_like(columns[features[0]])
    missing_N = np.zeros(code_N.shape, bool)
    for feature in features:
        code_N = code_N * lexicon.num_values(feature) + columns[feature]
        missing_N |= columns[feature] < 0
    return np.where(missing_N, -1, code_N)


def codes_of_values(features: Sequence[str], values_L: Ints, lexicon: Lexicon) -> Ints:
    """The same of combinations of values, [L, features]."""
    if not values_L.size:
        return np.empty(0, np.int64)
    return codes(features, dict(zip(features, values_L.T, strict=True)), lexicon)


def values_of_codes(features: Sequence[str], code: Ints, lexicon: Lexicon) -> list[Ints]:
    """The features' values of some codes, a feature at a time."""
    found = []
    for feature in reversed(features):
        code, value = np.divmod(code, lexicon.num_values(feature))
        found.append(value)
    return found[::-1]


def rule_text(rule: Rule, show: Callable[[int], str], subset_names: Sequence[str]) -> str:
    """The rule in words: tokens as `show` gives them, in quotation marks.

    Features that all combinations share are said once, and so are those that vary alone.
    """
    varying = [
        feature
        for place, feature in enumerate(rule.features)
        if len({values[place] for values in rule.values}) > 1
    ]
    said = [dict(zip(rule.features, values, strict=True)) for values in rule.values]
    if len(varying) > 1:
        return " or ".join(_phrase({k: [v] for k, v in one.items()}, show, subset_names)
                           for one in said)  # fmt: skip
    merged = {feature: list(dict.fromkeys(one[feature] for one in said)) for feature in said[0]}
    return _phrase(merged, show, subset_names)


def _phrase(
    allowed: Mapping[str, Sequence[int]], show: Callable[[int], str], subset_names: Sequence[str]
) -> str:
    """One noun, then where: y or its kind, what is before it, repetition, subset, place."""

    def tokens(*features: str) -> str:
        rows = zip(*_lengthened([allowed[feature] for feature in features]), strict=True)
        return " / ".join(f"“{''.join(map(show, row))}”" for row in rows)

    parts = []
    if "y" in allowed:
        parts.append(tokens("y"))
    elif "kind" in allowed:
        parts.append(_kinds_said(allowed["kind"]))
    if "before2" in allowed and "before" in allowed:
        parts.append(f"after {tokens('before2', 'before')}")
    elif "before2" in allowed:
        parts.append(f"two tokens after {tokens('before2')}")
    elif "before" in allowed:
        parts.append(f"after {tokens('before')}")
    if "kind_before2" in allowed:
        kinds = (_kinds_said(allowed["kind_before2"]), _kinds_said(allowed["kind_before"]))
        parts.append(f"after {kinds[0]}, {kinds[1]}")
    elif "kind_before" in allowed:
        parts.append(f"after {_kinds_said(allowed['kind_before'])}")
    if "repeat" in allowed:
        parts.append(_repeats_said(sorted(allowed["repeat"])))
    if "subset" in allowed:
        parts.append(f"in {' / '.join(subset_names[index] for index in allowed['subset'])}")
    if "position" in allowed:
        parts.append(f"at position {', '.join(map(_interval, sorted(allowed['position'])))}")
    return " ".join(parts)


def _repeats_said(lengths: Sequence[int]) -> str:
    """Lengths of repetition: those that follow each other are one interval."""
    places = [REPEATS.index(length) for length in lengths]
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return " / ".join(_repeat_said(run[0], run[-1]) for run in runs)


def _repeat_said(first: int, last: int) -> str:
    least, is_open = REPEATS[first], last == len(REPEATS) - 1
    most = None if is_open else REPEATS[last + 1] - 1
    if most == 0:
        return "new in its context"
    if is_open:
        words = {1: "seen before", 2: "ending a repeated pair (induction)"}
        return words.get(least, f"ending a repeat of {least} or more tokens")
    if least == 0:
        longer = REPEATS[last + 1]
        return f"ending no repeat{'ed pair' if longer == 2 else f' of {longer} tokens'}"
    return f"ending a repeat of {least if least == most else f'{least}–{most}'} token" + "s" * (
        most != 1
    )


def _lengthened(columns: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Columns of one value as often as the longest has values."""
    most = max(map(len, columns))
    return [column if len(column) == most else [*column] * most for column in columns]


def _kinds_said(kinds: Sequence[int]) -> str:
    names = [KINDS[index] for index in kinds]
    for together, name in sorted(_ALL.items(), key=lambda pair: -len(pair[0])):
        if together <= set(names):
            names = [name, *(each for each in names if each not in together)]
    return " / ".join(names)


def _interval(place: int) -> str:
    first, last = 2**place - 1, 2 ** (place + 1) - 2
    return str(first) if first == last else f"{first}–{last}"


def _plain(feature: str, number: int, lexicon: Lexicon) -> int | str:
    if feature.startswith("kind"):
        return KINDS[number]
    return lexicon.subset_names[number] if feature == "subset" else int(number)


def _number(feature: str, value: Any, lexicon: Lexicon) -> int:
    """−1 for a subset that there is not; ValueError for what no token can have."""
    if feature == "subset" and isinstance(value, str):
        known = {name: index for index, name in enumerate(lexicon.subset_names)}
        return known.get(value, -1)
    if feature.startswith("kind") and value in KINDS:
        return KINDS.index(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    known_numbers = REPEATS if feature == "repeat" else range(lexicon.num_values(feature))
    if feature.startswith("kind") or not is_number or value not in known_numbers:
        raise ValueError(
            f"expected a value of {feature!r}, found {value!r}: is the rule of another vocabulary?"
        )
    return int(value)
