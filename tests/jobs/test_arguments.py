"""What is typed is what arrives: through Hydra's own parser, and OmegaConf's references."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs import across, assign, compare, diagnose, figure, query, runs, sample, text
from jobs.arguments import hydra_arguments, plain_values, sorted_arguments
from jobs.command import Command
from spectro.sampling.config import ObservableConfig

SQL = "select \"a\", 'b'\nfrom tokens -- no\nwhere text = '=' and chi[1] in (1, 2)"
HOSTILE = [
    SQL, "rdé", "rde\u0301", "rd#1", "rd it's", "rd(1)", "rd=1", "run::1", "a,b", "[1,2]", "{a: b}",
    "${oc.env:HOME}", r"x\${a}", r"\\${b}\\", "${", "a${", "\\", '"', '\\"', 'a\\"b\\', "\\'",
    " the ", "5", "123", "1e3", "0x1f", "1_000", "0123", "true", "False", "nan", "inf", "a\tb\n",
    "=", "--help", "-m", "~/x", "*.{md,txt}", "50%", "a?b", "$HOME", "a\\,b", ":", "a: b", "@x",
    "\u202e", "'", "a'b\"c", "file:///a%20b", "s3://bucket/key#1", "choice(a,b)", "a//b/", ".",
    "", "+",
]  # fmt: skip
COMMANDS: dict[str, Command[Any]] = {
    module.COMMAND.name: module.COMMAND
    for module in (query, figure, assign, text, runs, compare, across, diagnose, sample)
}
PILE = ("wikipedia_en", "arxiv", "github", "pile-cc", "dm_mathematics", "enron_emails", "freelaw",
        "hackernews", "nih_exporter", "pubmed_abstracts", "pubmed_central", "stackexchange",
        "uspto_backgrounds")  # fmt: skip
typed = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
grammar = st.text(st.sampled_from("ab1 ,=:[]{}()'\"\\$#%~*?.-+@/\n\té"), max_size=12)


def received(name: str, *arguments: str) -> list[Any]:
    """The configurations that a command gets of a command line, one for each run of a sweep."""
    found: list[Any] = []
    command = dataclasses.replace(COMMANDS[name], run=found.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        assert command.main() == 0
    return found


def made(name: str, *arguments: str) -> list[str]:
    """In Hydra's words where Hydra composes; else name and value of every setting."""
    command = COMMANDS[name]
    if command.root:
        return hydra_arguments(command, arguments)
    values = plain_values(command, sorted_arguments(command, arguments))
    return [f"{key}={value}" for key, value in values.items()]


@settings(max_examples=5)
@given(texts=st.lists(typed | grammar, min_size=20, max_size=40))
@example(texts=HOSTILE)
def test_text_arrives_as_typed(texts: list[str]) -> None:
    """As texts below a dictionary's names, and as places without a name."""
    fields = [(name, field) for name in PILE for field in ("hub_config", "hub_split", "field")]
    arguments = [
        f"tokens.subsets.{name}.{field}=p{text}"
        for (name, field), text in zip(fields, texts, strict=False)
    ]
    (config,) = received("sample", "tokens=pile", *arguments)
    found = [getattr(config.tokens.subsets[name], field) for name, field in fields]
    assert found[: len(texts)] == [f"p{text}" for text in texts[: len(fields)]]
    places = tuple(f"./{text}" for text in texts)
    (job,) = received("compare", *places, "compare.seed=1")
    assert job.compare.places == places


@pytest.mark.parametrize("text", [SQL, "${oc.env:HOME}", '"a"', "a,b", "1e3", "lr=3", "[", " x "])
def test_sql_and_the_run_arrive_as_typed(text: str) -> None:
    (query,) = received("query", f"./{text}", f"sql={text}")
    assert (query.run.uri, query.query.sql) == (f"./{text}", text)


def test_a_sweep_splits_at_commas_but_not_where_the_run_lies() -> None:
    text = "a,b=${c}'\"[ #\\"
    members = received(
        "sample", "-m", "model.revision=step1,step1000",
        f"run.root=./{text}", f"run.scratch={text}x", f"report.title=t{text}",
    )  # fmt: skip
    assert [m.model.revision for m in members] == ["step1", "step1000"]
    assert {m.run.scratch for m in members} == {f"{text}x"}
    assert {m.report.title for m in members} == {f"t{text}"}
    assert {Path(m.run.uri).parent for m in members} == {Path.cwd() / text}


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("a,b", ["a", "b"]),
        ("a#1, b=2", ["a#1", "b=2"]),
        ("'a,b',c", ["a,b", "c"]),
        ("*.{md,txt}", ["*.{md,txt}"]),
        ("rd(1,2),b", ["rd(1,2)", "b"]),
        ("a(,b", ["a(", "b"]),
        ("it's,b", ["it's", "b"]),
    ],
)
def test_values_of_a_sweep(value: str, paths: list[str]) -> None:
    members = received("sample", "-m", "tokens=jsonl",
                       f"tokens.subsets.text.path={value}")  # fmt: skip
    assert [m.tokens.subsets["text"].path for m in members] == paths


def test_null_quotes_and_references_of_hydra() -> None:
    (config,) = received("sample", "model.revision=null", "run.uri='a b'",
                         'run.scratch="s/${seed}"', "seed=7")  # fmt: skip
    assert (config.model.revision, config.run.uri, config.run.scratch) == (None, "a b", "s/7")
    (config,) = received("sample", "run.uri=null", "run.root=null")
    assert config.run.uri.startswith(f"{Path.cwd()}/null/embedded-")
    (query,) = received("query", "run.uri=null", 'find="a"')
    assert (query.run.uri, query.query.find) == ("null", '"a"')


@pytest.mark.parametrize(
    ("job", "given_", "seen"),
    [
        ("query", ["runs/a", SQL], ["run.uri=runs/a", "query.sql="]),
        ("query", ["runs/a", "near=17", "k=5"], ["run.uri=runs/a", "query.near=17", "query.k=5"]),
        ("query", ["near=17", "runs/a"], ["run.uri=runs/a", "query.near=17"]),
        ("query", ["run.uri=a", "select 1"], ["query.sql=select 1", "run.uri=a"]),
        ("query", ["s3://b/lr=3", "select 1=1"], ["run.uri=s3://b/lr=3", "query.sql="]),
        ("query", ["/data/lr=3"], ["run.uri=/data/lr=3"]),
        ("query", ["./lr=3"], ["run.uri=./lr=3"]),
        ("query", ["~/runs"], ["run.uri=~/runs"]),
        ("query", ["null"], ["run.uri=null"]),
        ("query", ["--cfg", "job", "runs/a"], ["run.uri=runs/a"]),
        ("diagnose", ["a", "components=l0*,embed"],
         ["run.uri=a", "diagnose.components=['l0*', 'embed']"]),
        ("diagnose", ["a", "components=[l0h1]"], ["run.uri=a", "diagnose.components=['l0h1']"]),
        ("figure", ["a", "cluster=3"], ["run.uri=a", "cluster_id=3"]),
        ("assign", ["a", "from=b=1"], ["run.uri=a", "source=b=1"]),
        ("runs", ["s"], ["runs.root=s"]),
        ("text", ["a", "a #b.txt", "out=o.svg"], ["run.uri=a", "file=a #b.txt", "out=o.svg"]),
        ("compare", ["r/s=1", "s3://b/c", "compare.out=o.csv"], None),
        ("across", ["./s=1", "b", "token=a,{'=$\\", "seed=2"],
         ["runs=['./s=1', 'b']", "token=a,{'=$\\", "seed=2"]),
        ("sample", ["seed=1", "-m", "run.root=a"], ["seed=1", "run.root=a", "-m"]),
        ("sample", ["components=[l0h1,\"l*mlp\",embed]", "sampler=psgld", "~tokens.subsets.text"],
         ["components=[l0h1,\"l*mlp\",embed]", "sampler=psgld", "~tokens.subsets.text"]),
        ("sample", ["+more.subsets={books: {kind: jsonl, path: b.jsonl}}"],
         ["+more.subsets={books: {kind: jsonl, path: b.jsonl}}"]),
    ],
)  # fmt: skip
def test_arguments(job: str, given_: Sequence[str], seen: list[str] | None) -> None:
    if seen is None:
        with pytest.raises(ValueError, match="no setting 'r/s'"):
            made(job, *given_)
        return
    found = made(job, *given_)
    assert len(found) == len(seen)
    assert all(own == want or (want == "query.sql=" and own.startswith(want))
               for own, want in zip(found, seen, strict=True)), found  # fmt: skip


def test_a_folder_with_an_equals_sign_is_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("lr=3", "k=5", "runs/seed=1", "sampler=psgld"):
        (tmp_path / name).mkdir(parents=True)
    assert made("query", "lr=3", "select 1") == ["run.uri=lr=3", "query.sql=select 1"]
    assert made("query", "k=5", "near=1") == ["run.uri=k=5", "query.near=1"]
    assert made("query", "lr=3", "k=5") == ["run.uri=lr=3", "query.k=5"]
    assert made("query", "k=5", "run.uri=a") == ["query.k=5", "run.uri=a"]
    assert made("compare", "lr=3", "runs/seed=1") == ["compare.places=['lr=3', 'runs/seed=1']"]
    assert made("sample", "sampler=psgld") == ["sampler=psgld"]  # takes no place


@pytest.mark.parametrize(
    ("job", "given_", "words"),
    [
        ("query", ["a=b", "select 1"], ["'a=b'", "no setting 'a'", "no folder of that name"]),
        ("figure", ["runs/a", "knid=matrix"], ["'knid=matrix'", "did you mean kind?"]),
        ("figure", ["a", "b"], ["'b' is not understood"]),
        ("sample", ["a/b"], ["'a/b' is not understood", "key=value"]),
        ("sample", ["seed=3("], ["'seed=3('", "quotes"]),
        ("sample", ["components=[l0h1,l#]"], ["'components=[l0h1,l#]'", "quotes"]),
        ("sample", ["tokens.subsets.my text.path=a"], ["'tokens.subsets.my text.path=a'"]),
    ],
)
def test_an_error_names_the_argument(job: str, given_: Sequence[str], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        made(job, *given_)
    line = str(caught.value)
    assert all(word in line for word in words), line
    assert "\n" not in line and "Lexer" not in line and "token recognition" not in line


def test_what_is_given_again_in_hydras_words_stays_the_same() -> None:
    """`spectro render` writes the quoted arguments into a command of `spectro` itself."""
    paths = [f"tokens.subsets.text.path=x{text}" for text in HOSTILE]
    once = made("sample", *paths)
    assert made("sample", *once) == once


def test_entries_of_a_dictionary_that_begins_empty() -> None:
    """By dotted names, and as a whole; together they are one dictionary."""
    (found,) = received(
        "sample",
        "observables.q.tokens=[3]",
        "observables.q.split=probe",
        "observables.f.function=a.b:c",
        "observables={r: {subset: python}}",
    )
    assert found.observables == {
        "q": ObservableConfig(tokens=(3,), split="probe"),
        "f": ObservableConfig(function="a.b:c"),
        "r": ObservableConfig(subset="python"),
    }
    once = made("sample", "observables.q.subset=a,b")
    assert made("sample", *once) == once
