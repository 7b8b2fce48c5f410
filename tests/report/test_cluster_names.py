"""Names beside the clusters of a stored run: made, read, given from a file, shown."""

from __future__ import annotations

import json

import made_up_run
import numpy as np
import pytest
from stored_run import write_run

from spectro.analysis.naming.features import Lexicon, SequenceBlock, token_features
from spectro.analysis.naming.name_sets import MemberSets, is_held_out, name_sets
from spectro.analysis.naming.rules import Rule
from spectro.formats.clusters.names import (
    GIVEN,
    MARKER,
    TABLE,
    GivenName,
    put_given_names,
    read_given_names,
    read_names,
)
from spectro.formats.object_kinds import kind_of
from spectro.storage.store import DamagedObjectError, Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.terminal_text import plain
from spectro.views.cluster_names import cluster_names, put_cluster_names
from spectro.views.cluster_tables import members
from spectro.views.figures.clusters import card_data
from spectro.views.make_names import blocks_of, made_names
from spectro.views.name_examples import clusters_digest, example_lines, read_given
from spectro.views.query.query import Query
from spectro.views.run_view import RunView

WORDS = made_up_run.words()
WORDS[10:16] = [b"</script>", b"\x1b[31m", "\u2028".encode(), b'"', b"\n\n", "\u202e".encode()]
KNOWN, NO_WORDS = Vocabulary(pieces=WORDS), Vocabulary(pieces=None)


@pytest.fixture(scope="module")
def what():
    return made_up_run.made(num_sequences=48, context=32, num_clusters=6, vocabulary=WORDS)


@pytest.fixture
def view(tmp_path, what) -> RunView:
    return RunView(write_run(tmp_path / "run", what).uri)


@pytest.fixture
def folder(view: RunView) -> Store:
    return view.store.child("clusters")


def test_names_are_those_of_the_sets_read_whole(view: RunView, what) -> None:
    """Shards of five sequences, and blocks of them, against all sequences at once."""
    token_id_M, cluster_M = members(view)
    sets = MemberSets(token_id_M=token_id_M, set_M=cluster_M.astype(int), num_sets=6)
    lexicon = Lexicon.of(WORDS, view.subset_names)
    whole = SequenceBlock(
        first_sequence=0, ids_ST1=what.probe.ids_ST1, subset_S=what.probe.subset_S
    )
    expected = name_sets(lambda: [whole], sets, lexicon)
    table = made_names(view, KNOWN).table
    found = [Rule.from_dict(json.loads(rule), lexicon) for rule in table["rule"].to_pylist()]
    assert found == [name.rule for name in expected]
    np.testing.assert_allclose(
        np.array(table["f1"].to_pylist()), [name.score.f1 for name in expected], rtol=1e-6
    )
    assert [block.first_sequence for block in blocks_of(view)] == list(range(0, 48, 5))


def test_members_that_predict_a_few_y_are_named_by_them(view: RunView) -> None:
    """Nine tenths of a cluster's members have one of the cluster's four y."""
    names = cluster_names(view, KNOWN)
    tops = view.clusters.clusters["top_tokens"].to_pylist()
    for rule, top in zip(names.table["rule"].to_pylist(), tops, strict=True):
        plain_rule = json.loads(rule)
        at = plain_rule["features"].index("y")
        assert {values[at] for values in plain_rule["values"]} <= set(top)
    assert names.summary["judged"] == 6 and names.summary["random"]["recognisable"] == 0


def test_put_once_and_read_without_a_tokenizer(view: RunView, folder: Store) -> None:
    nothing = cluster_names(view, NO_WORDS)
    assert nothing.shown_K == ("",) * 6 and nothing.summary is None
    assert nothing.to_table()["name"].null_count == 6
    put_cluster_names(view, NO_WORDS)
    assert not folder.exists(MARKER), "without a tokenizer nothing is put"
    put_cluster_names(view, KNOWN)
    first = folder.read(MARKER)
    assert cluster_names(view, KNOWN).table == read_names(folder).table
    put_cluster_names(view, KNOWN)
    assert folder.read(MARKER) == first
    stored, shown = cluster_names(view, NO_WORDS), cluster_names(view, KNOWN)
    assert stored.shown_K == tuple(map(plain, shown.shown_K)) and any(stored.shown_K)
    assert {kind_of(f"clusters/{name}") for name in (TABLE, MARKER, GIVEN)} == {"names"}


def test_names_of_other_clusters_are_not_read(view: RunView, folder: Store) -> None:
    put_cluster_names(view, KNOWN)
    put_given_names(folder, {0: GivenName(name="a", named_by="")})
    sealed = folder.read("cluster.json")
    folder.delete("cluster.json")
    folder.put("cluster.json", sealed + b"\n")
    assert read_names(folder) is None and read_given_names(folder) == {}


def test_a_damaged_table_is_said(view: RunView, folder: Store) -> None:
    put_cluster_names(view, KNOWN)
    data = folder.read(TABLE)
    folder.delete(TABLE)
    folder.put(TABLE, data[:-1] + b"x")
    with pytest.raises(DamagedObjectError, match=TABLE):
        cluster_names(view, KNOWN)


def test_a_name_from_a_file_comes_first_everywhere(view: RunView, folder: Store) -> None:
    put_cluster_names(view, KNOWN)
    hostile = "<b>ends</b>\t of \u202elines"
    lines = [json.dumps({"cluster_id": 2, "name": hostile, "named_by": "a model"}), ""]
    put_given_names(folder, read_given(lines, view))
    names = cluster_names(view, KNOWN)
    said = "<b>ends</b> of ⟨U+202E⟩lines"
    assert plain(names.shown_K[2]) == said and names.source_K[2] == "file"
    assert names.source_K[1] == "rule" and names.rule_shown_K[2] != names.shown_K[2]
    assert names.to_json()["named_by"][2] == "a model"
    with Query(view, lambda: KNOWN) as query:
        row = query.table(
            "select name, name_source, named_by, rule_name, name_f1 from clusters "
            "where cluster_id = 2"
        ).to_pylist()[0]
    assert (row["name"], row["name_source"], row["named_by"]) == (said, "file", "a model")
    assert row["rule_name"] == plain(names.rule_shown_K[2]) and 0 < row["name_f1"] <= 1
    card = card_data(view, 2, 3, 0, KNOWN)
    assert plain(card.name) == said and card.source == "file"
    put_given_names(folder, {})
    assert not folder.exists(GIVEN) and cluster_names(view, KNOWN).source_K[2] == "rule"


def test_examples_are_lines_of_ascii_from_the_choosing_half(view: RunView, what) -> None:
    names = cluster_names(view, KNOWN)
    lines = list(example_lines(view, KNOWN, names, 4))
    assert len(lines) == 6 and all(line.isascii() and "\n" not in line for line in lines)
    found = [json.loads(line) for line in lines]
    texts = [piece.decode("utf-8", "backslashreplace") for piece in WORDS]
    held = is_held_out(np.arange(48))
    shown = {
        (texts[row[t + 1]], "".join(texts[i] for i in row[max(0, t + 1 - 40) : t + 1]))
        for row, is_held in zip(what.probe.ids_ST1.tolist(), held, strict=True)
        for t in range(32)
        if not is_held
    }
    for number, line in enumerate(found):
        assert line["cluster_id"] == number and line["clusters"] == clusters_digest(view)
        for side in ("members", "others"):
            assert 0 < len(line[side]) <= 4
            for place in line[side]:
                # broken characters may be whole where their halves meet
                if all(piece.isprintable() for piece in place["before"]):
                    assert (place["y"], place["before"]) in shown
        examples = line["prompt"].rpartition("\n")[2]
        assert json.loads(examples) == {side: line[side] for side in ("members", "others")}
    answers = [json.dumps({"cluster_id": line["cluster_id"], "clusters": line["clusters"],
                           "name": f"set {line['cluster_id']}"}) for line in found]  # fmt: skip
    assert [name.name for name in read_given(answers, view).values()] == [
        f"set {k}" for k in range(6)
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "expected JSON, found '{'"),
        ("[1]", r"expected an object, found '\[1\]'"),
        ('{"cluster_id": "1", "name": "a"}', "cluster_id must be a number, found '1'"),
        ('{"cluster_id": true, "name": "a"}', "cluster_id must be a number, found True"),
        ('{"cluster_id": 6, "name": "a"}', "there is no cluster 6: expected 0 to 5"),
        ('{"cluster_id": -1, "name": "a"}', "there is no cluster -1"),
        ('{"cluster_id": 1, "name": " "}', "expected a name of 1 to 120 characters"),
        ('{"cluster_id": 1, "name": 3}', "expected a name of 1 to 120 characters"),
        ('{"cluster_id": 1, "name": "%s"}' % ("a" * 121), "expected a name of 1 to 120"),
        ('{"cluster_id": 0, "name": "a"}', "cluster 0 is named twice"),
        ('{"cluster_id": 1, "name": "a", "clusters": "0"}', "expected names of the clusters"),
        ("[" * 100_000, "expected JSON"),
    ],
)
def test_what_names_nothing_is_refused_in_one_line(view: RunView, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_given(['{"cluster_id": 0, "name": null}', line], view)
    assert str(error.value).startswith("names, line 2: ") and "\n" not in str(error.value)


def test_rules_hold_on_the_tokens_that_they_name(view: RunView, what) -> None:
    """A stored rule, read again, has the stored recall and precision on the held-out half."""
    table = made_names(view, KNOWN).table.to_pylist()
    lexicon = Lexicon.of(WORDS, view.subset_names)
    columns = token_features(
        lexicon,
        SequenceBlock(first_sequence=0, ids_ST1=what.probe.ids_ST1, subset_S=what.probe.subset_S),
    )
    held = np.repeat(is_held_out(np.arange(48)), 32)
    for row in table:
        matches = Rule.from_dict(json.loads(row["rule"]), lexicon).matches(columns, lexicon)
        own = (what.label_N == row["cluster_id"]) & held
        assert row["recall"] == pytest.approx(matches[own].mean(), abs=1e-6)
        assert row["precision"] == pytest.approx(own[held & matches].mean(), abs=1e-6)
