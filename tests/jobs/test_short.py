"""Arguments without their job's name, and text that arrives as it was typed."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from jobs.cli import _ordered
from jobs.launch import CONF, register, validated
from jobs.query import QueryJob
from jobs.short import quoted

SQL = "select \"a\", 'b'\nfrom tokens -- no\nwhere text = '=' and chi[1] in (1, 2)"
TEXTS = [
    SQL, "${oc.env:HOME}", r"x\${a}", r"\\${b}\\", "${", "a${", "\\", '"', '\\"', 'a\\"b\\', "\\'",
    " the ", "[1,2]", "{a: b}", "5", "null", "true", "a\tb\n", "=", "--help", "é\u202e", "$", "?",
]  # fmt: skip


@pytest.mark.parametrize(("key", "text"), [*(("sql", text) for text in TEXTS), ("find", SQL)])
def test_text_arrives_as_it_is(key: str, text: str) -> None:
    register("query_job", QueryJob)
    with initialize_config_dir(CONF, version_base="1.3"):
        job = validated(QueryJob, compose("query_job", [f"query.{key}={quoted(text)}"]))
    assert getattr(job.query, key) == text


@pytest.mark.parametrize(
    ("job", "given", "seen"),
    [
        ("query", ["runs/a", SQL], ["run.uri=runs/a", f"query.sql={quoted(SQL)}"]),
        ("query", ["runs/a", "near=17", "k=5"], ["run.uri=runs/a", "query.near=17", "query.k=5"]),
        (
            "query",
            ["runs/a", "find= a,b", "query.out=x=1.csv", "query.limits.threads=2"],
            [
                "run.uri=runs/a", 'query.find=" a,b"', 'query.out="x=1.csv"',
                "query.limits.threads=2",
            ],
        ),
        ("query", ["run.uri=a", "cluster=3"], ["run.uri=a", "query.cluster=3"]),
        ("query", ["s3://b/run", "select 1=1"], ["run.uri=s3://b/run", 'query.sql="select 1=1"']),
        ("query", ["run.uri=a", "sql=select 1"], ["run.uri=a", 'query.sql="select 1"']),
        ("query", ["run.uri=a", "select 1"], ["run.uri=a", 'query.sql="select 1"']),
        ("query", ["--help"], ["--help"]),
        (
            "diagnose",
            ["runs/a", "components=l0*,embed", "out=d.html", "diagnose.panels=3"],
            [
                "run.uri=runs/a", 'diagnose.components=["l0*","embed"]', 'diagnose.out="d.html"',
                "diagnose.panels=3",
            ],
        ),
        ("diagnose", ["a", "components=[l0h1]"], ["run.uri=a", "diagnose.components=[l0h1]"]),
    ],
)  # fmt: skip
def test_arguments_without_the_name_of_the_job(job: str, given: list[str], seen: list[str]) -> None:
    assert _ordered(job, given) == seen
