"""Rules as data: round trips, evaluation on other tokens, words."""

from __future__ import annotations

import dataclasses
import json

import made_text
import numpy as np
import pytest

from spectro.analysis.naming.features import KINDS, Lexicon, SequenceBlock, token_features
from spectro.analysis.naming.rules import TEMPLATES, Rule, rule_text
from spectro.tokens.display.terminal_text import plain_token

LEXICON = made_text.lexicon()
BRACKET, WORD, PART = (KINDS.index(name) for name in ("bracket", "word start", "word part"))


def said(rule: Rule) -> str:
    return rule_text(rule, lambda token: plain_token(made_text.PIECES[token]), made_text.SUBSETS)


RULES = {
    "“.” / “,” after “␣cat”": (("before", "y"), [(20, 12), (20, 13)]),
    "“.” after “␣cat” / “␣dog”": (("before", "y"), [(20, 12), (21, 12)]),
    "“.” after “␣cat␣dog”": (("before2", "before", "y"), [(20, 21, 12)]),
    "“.” two tokens after “␣cat”": (("before2", "y"), [(20, 12)]),
    "bracket after word part in code": (("kind_before", "kind", "subset"), [(PART, BRACKET, 0)]),
    "word start": (("kind",), [(1,), (2,), (3,)]),
    "word start / bracket": (("kind",), [(BRACKET,), (1,), (2,), (3,)]),
    "capitalised word start": (("kind",), [(2,), (3,)]),
    "delimiter": (("kind",), [(KINDS.index(name),) for name in
                              ("quotation mark", "bracket", "punctuation")]),
    "ending a repeated pair (induction)": (("repeat",), [(4,), (2,), (8,)]),
    "seen before": (("repeat",), [(1,), (2,), (4,), (8,)]),
    "new in its context": (("repeat",), [(0,)]),
    "“.” ending a repeat of 1–3 tokens": (("y", "repeat"), [(12, 1), (12, 2)]),
    "ending no repeated pair": (("repeat",), [(0,), (1,)]),
    "ending no repeat of 4 tokens": (("repeat",), [(0,), (1,), (2,)]),
    "in code / web": (("subset",), [(0,), (2,)]),
    "“.” at position 0, 3–6": (("y", "position"), [(12, 2), (12, 0)]),
    "bracket after word start, word part": (
        ("kind_before2", "kind_before", "kind"), [(WORD, PART, BRACKET)],
    ),
    "“.” in code or “,” in web": (("y", "subset"), [(12, 0), (13, 2)]),
}  # fmt: skip


@pytest.mark.parametrize("words", RULES)
def test_words_and_round_trip(words: str) -> None:
    features, values = RULES[words]
    rule = Rule(features=features, values=tuple(values))
    assert said(rule) == words
    plain = json.loads(json.dumps(rule.to_dict(LEXICON)))
    assert Rule.from_dict(plain, LEXICON) == rule


def test_a_rule_matches_what_it_says_on_any_tokens() -> None:
    """Against a reading of each token; the tokens of another run have other subsets."""
    ids, subset = made_text.made(50, 16, seed=3)
    other = Lexicon.of(made_text.PIECES, ("web", "prose", "code"))
    plain = Rule(features=("before", "subset"), values=((20, 0), (21, 0), (20, 2))).to_dict(LEXICON)
    rule = Rule.from_dict(plain, other)
    block = SequenceBlock(first_sequence=0, ids_ST1=ids, subset_S=subset)
    allowed = {(20, 2), (21, 2), (20, 0)}  # code is now 2, web 0
    expected = [(int(ids[s, t]), int(subset[s])) in allowed for s in range(50) for t in range(16)]
    assert rule.matches(token_features(other, block), other).tolist() == expected


def test_a_subset_that_a_run_does_not_have_matches_nothing() -> None:
    plain = Rule(features=("subset",), values=((0,), (1,))).to_dict(LEXICON)
    less = Rule.from_dict(plain, Lexicon.of(made_text.PIECES, ("docs",)))
    assert less.values == ((0,),)
    none = Rule.from_dict(plain, Lexicon.of(made_text.PIECES, ("prose",)))
    block = SequenceBlock(
        first_sequence=0, ids_ST1=np.zeros((2, 4), int), subset_S=np.zeros(2, int)
    )
    columns = token_features(LEXICON, block)
    assert none.values == () and not none.matches(columns, LEXICON).any()


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"features": ["colour"], "values": [[1]]}, "expected features of a rule"),
        ({"features": ["y"], "values": [[99]]}, "expected a value of 'y', found 99"),
        ({"features": ["y"], "values": [[True]]}, "expected a value of 'y', found True"),
        ({"features": ["repeat"], "values": [[3]]}, "expected a value of 'repeat', found 3"),
        ({"features": ["kind"], "values": [["verb"]]}, "expected a value of 'kind', found 'verb'"),
    ],
)
def test_what_is_no_rule_is_refused(plain: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Rule.from_dict(plain, LEXICON)
    assert "\n" not in str(error.value)


def test_templates_have_codes_within_64_bits() -> None:
    one = Lexicon.of([b"x"], tuple(map(str, range(100))))
    large = dataclasses.replace(one, case_V=np.zeros(262_144, np.int8))
    for features in TEMPLATES:
        sizes = [large.num_values(feature) for feature in features]
        assert np.prod(np.array(sizes, object)) < 2**63, features
