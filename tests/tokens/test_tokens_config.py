"""Impossible settings are one clear line, before anything is read."""

import dataclasses

import pytest

from spectro.tokens.config import FIELDS_OF, Items, Source, SourceKind, TokensConfig

OTHER = {
    "path": "/x", "name": "python", "pattern": "*.py", "hub_config": "a", "hub_split": "test",
    "hub_revision": "main", "field": "content", "items": Items.DOCUMENTS,
}  # fmt: skip
"""A value of every field that is not its default."""


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"kind": SourceKind.JSONL}, "kind jsonl needs a path"),
        ({"kind": SourceKind.MEMMAP, "path": ""}, "kind memmap needs a path"),
        ({"kind": SourceKind.HUB}, "kind hub needs a name"),
        ({"kind": SourceKind.EMBEDDED}, "kind embedded needs a name"),
        ({"kind": SourceKind.HUB, "name": "a", "path": "/x"}, "takes no path"),
        ({"kind": SourceKind.PARQUET, "path": "/x", "name": "a"}, "takes no name"),
        ({"kind": SourceKind.JSONL, "path": "/x", "field": ""}, "needs a field"),
    ],
)
def test_sources(fields, message):
    with pytest.raises(ValueError, match=message):
        Source(**fields)


@pytest.mark.parametrize("kind", list(SourceKind))
@pytest.mark.parametrize("field", list(OTHER))
def test_a_field_acts_or_is_refused(kind, field):
    """Each would be in the fingerprint: two names for the same tokens."""
    needed = {name: OTHER[name] for name in ("path", "name") if name in FIELDS_OF[kind]}
    if field in FIELDS_OF[kind]:
        assert getattr(Source(kind=kind, **needed | {field: OTHER[field]}), field) == OTHER[field]
        return
    with pytest.raises(ValueError, match=rf"{field}.*on a source of kind {kind.value}|takes no"):
        Source(kind=kind, **needed, **{field: OTHER[field]})


def test_every_field_of_a_source_is_used_by_some_kind():
    names = {field.name for field in dataclasses.fields(Source)}
    assert set().union(*FIELDS_OF.values(), {"kind"}) == names == {*OTHER, "kind"}


@pytest.mark.parametrize("name", ["pool_sequences", "max_documents", "max_document_chars"])
def test_settings_of_text_have_no_effect_on_ids(name):
    ids = Source(kind=SourceKind.MEMMAP, path="/x")
    with pytest.raises(ValueError, match=rf"tokens\.{name} is 7, but it has no effect"):
        TokensConfig(subsets={"ids": ids}, **{name: 7})
    text = Source(kind=SourceKind.EMBEDDED, name="python")
    assert getattr(TokensConfig(subsets={"ids": ids, "text": text}, **{name: 7}), name) == 7


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"subsets": {}}, "subsets is empty"),
        ({"context": 0}, "context must be at least 1"),
        ({"num_probe_sequences": 0}, "num_probe_sequences"),
        ({"num_sampling_sequences": -3}, "num_sampling_sequences"),
        ({"num_evaluation_sequences": 0}, "num_evaluation_sequences"),
        ({"sequences_per_shard": 0}, "sequences_per_shard"),
        ({"pool_sequences": 0}, "pool_sequences"),
        ({"max_documents": 0}, "max_documents"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**63}, "below 2"),
    ],
)
def test_tokens(fields, message):
    with pytest.raises(ValueError, match=message):
        TokensConfig(**fields)


def test_the_default_is_the_embedded_corpus():
    subsets = TokensConfig().subsets
    assert len(subsets) == 8
    assert {source.kind for source in subsets.values()} == {SourceKind.EMBEDDED}
