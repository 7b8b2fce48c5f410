"""Verification of a real tiny run: whole it is whole, every kind of damage and loss is named."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spectro.config import PipelineConfig
from spectro.formats.object_kinds import kind_of
from spectro.formats.shard_file import lists, to_bytes
from spectro.inspect.verify import DAMAGED, MISSING, UNKNOWN, Verification, verify_run
from spectro.pipeline.run import Goal, run_pipeline
from spectro.pipeline.stages import STAGES
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import DamagedObjectError, ObjectInfo, Store
from spectro.work.progress import Progress

MakeCopy = Callable[[], tuple[Store, PipelineConfig]]
MakeConfig = Callable[..., PipelineConfig]

# One object of every kind that a finished run has, and of its control; `*`: the first of these.
OBJECTS = [
    "tokens/tokens.json",
    "tokens/probe-00001.parquet",
    "tokens/sampling-00000.parquet",
    "chains/l1/pilot.json",
    "chains/full/1.json",
    "chains/l1/0/*.safetensors",
    "susceptibilities/part-00000.parquet",
    "assembly/part-00001.json",
    "halves/part-00001.parquet",
    "assembly/summary.json",
    "clusters/cluster.json",
    "clusters/clusters.parquet",
    "clusters/members.parquet",
    "clusters/half-0/cluster.json",
    "clusters/half-0/clusters.parquet",
    "clusters/half-1/members.parquet",
    "neighbours/*/transform.json",
    "neighbours/*/lists-0000.safetensors",
    "neighbours/*/recall.json",
    "report/index.html",
    "report/page.json",
    "control/run.yaml",
    "control/chains/embed/0.json",
    "control/susceptibilities/part-00001.parquet",
    "control/halves/part-00000.parquet",
    "control/clusters/members.parquet",
    "control/clusters/half-1/cluster.json",
    "control/neighbours/*/lists-0000.safetensors",
]
MAY_BE_LOST = ("report/", "neighbours/", "control/neighbours/")
"""Of a finished run: what is still to do then, and what nobody needs until clusters do."""


FOLDERS = ("clusters", "clusters-k30", "clusters/half-0", "clusters-k30/half-1")


def path_of(store: Store, pattern: str) -> Path:
    """The first file of a pattern."""
    return sorted(Path(store.root).glob(pattern))[0]


def named(found: Verification, what: str) -> set[str]:
    return {fault.name for fault in found.faults if fault.what == what}


def put_anew(store: Store, name: str, data: bytes) -> None:
    store.delete(name)
    store.put(name, data)


def test_a_whole_run_is_whole(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    seen: list[float] = []
    found = verify_run(store, config, lambda done, total: seen.append(done / total))
    assert found.faults == ()
    assert found.undone == ()
    assert found.leftovers == ()
    assert found.units is not None and found.units > 20
    assert sum(count.objects for count in found.kinds.values()) == len(store.list())
    assert sum(count.size_bytes for count in found.kinds.values()) == sum(store.list().values())
    assert set(found.kinds) == {
        "run", "binding", "tokens", "pilots", "chains", "draws", "rows", "halves", "moments",
        "summary", "lists", "clusters", "names", "page", "sessions",
    }  # fmt: skip
    assert seen[-1] == 1.0


@pytest.mark.parametrize("pattern", OBJECTS)
def test_a_flipped_bit_is_named(run_copy: MakeCopy, pattern: str) -> None:
    store, config = run_copy()
    path = path_of(store, pattern)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = verify_run(store, config)
    name = str(path.relative_to(store.root))
    assert name in named(found, DAMAGED)
    fault = next(fault for fault in found.faults if fault.name == name)
    assert fault.kind == kind_of(name.removeprefix("control/"))
    assert "\n" not in fault.message
    assert any(word in fault.message for word in ("delete", "restore"))
    assert found.kinds[fault.kind].damaged >= 1


@pytest.mark.parametrize("pattern", [o for o in OBJECTS if not o.startswith(MAY_BE_LOST)])
def test_a_lost_object_is_named(run_copy: MakeCopy, pattern: str) -> None:
    store, config = run_copy()
    path = path_of(store, pattern)
    path.unlink()
    name = str(path.relative_to(store.root))
    assert name in named(verify_run(store, config), MISSING)


@pytest.mark.parametrize("name", ["report/index.html", "report/page.json"])
def test_a_page_that_is_lost_is_still_to_do(run_copy: MakeCopy, name: str) -> None:
    store, config = run_copy()
    store.delete(name)
    assert verify_run(store, config).undone == ("report/index.html",)


def test_a_damaged_run_file_is_said_at_once(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    path = Path(store.root) / "run.yaml"
    path.write_text(path.read_text().replace("num_draws: 3", "num_draws: 4"))
    with pytest.raises(DamagedObjectError, match=r"run\.yaml is damaged"):
        verify_run(store, config)


def test_what_writers_that_died_have_left_is_no_fault(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    store.put("tiles/00000/l1.safetensors", b"of a shard that is assembled")
    store.put("control/chains/l1/state/0-0-000000007-0123456789abcdef.safetensors", b"done")
    found = verify_run(store, config)
    assert found.leftovers == (
        "tiles/00000/l1.safetensors",
        "control/chains/l1/state/0-0-000000007-0123456789abcdef.safetensors",
    )
    assert found.faults == ()


def test_objects_of_unfinished_chains_are_held_against_their_names(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    for kind in ("page", "clusters", "lists", "summary", "moments", "rows", "chains"):
        names = [n for n in store.list() if kind_of(n.removeprefix("control/")) == kind]
        store.delete_many(names)
    assert verify_run(store, config).faults == ()
    path = path_of(store, "chains/l1/0/*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    state = "chains/embed/state/0-0-000000007-0123456789abcdef.safetensors"
    store.put(state, b"x")
    block = str(path.relative_to(store.root))
    assert named(verify_run(store, config), DAMAGED) == {block, state}


def test_what_nobody_knows_is_named(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    store.put("thesis.tex", b"x")
    store.put("control/susceptibilities/part-x.parquet", b"x")
    found = verify_run(store, config)
    assert named(found, UNKNOWN) == {"thesis.tex", "control/susceptibilities/part-x.parquet"}
    assert {fault.kind for fault in found.faults} == {"unknown"}


@pytest.mark.parametrize("change", ["double", "lose", "swap", "nan", "token"])
def test_rows_are_held_against_their_sequences(run_copy: MakeCopy, change: str) -> None:
    """With checksums that agree: what a fault of ours, not of the disk, would leave."""
    store, config = run_copy()
    name, marker = "susceptibilities/part-00000.parquet", "assembly/part-00000.json"
    table = pq.read_table(io.BytesIO(store.read(name)))
    rows = np.arange(table.num_rows)
    if change in ("double", "lose", "swap"):
        order = {"double": np.r_[rows, rows[-1]], "lose": rows[:-1], "swap": np.r_[1, 0, rows[2:]]}
        table = table.take(order[change])
    elif change == "nan":
        loss = np.asarray(table["loss"]).copy()
        loss[0] = np.nan
        table = table.set_column(5, "loss", pa.array(loss))
    else:
        token = np.asarray(table["token"]).copy()
        token[0] += 1
        table = table.set_column(4, "token", pa.array(token))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    put_anew(store, name, sink.getvalue())
    info = dataclasses.asdict(ObjectInfo.of(sink.getvalue()))
    put_anew(store, marker, seal({**read_sealed(store, marker), "part": info}))
    found = verify_run(store, config)
    assert named(found, DAMAGED) == {name}
    if change in ("double", "lose"):
        words = {"double": "0 tokens lost and 1 doubled", "lose": "1 tokens lost and 0 doubled"}
        assert words[change] in found.faults[0].message


@pytest.mark.parametrize("change", ["double", "swap", "nan", "narrow", "foreign"])
def test_half_estimates_are_held_against_their_rows(run_copy: MakeCopy, change: str) -> None:
    """With checksums that agree, as above."""
    store, config = run_copy()
    name, marker = "halves/part-00000.parquet", "assembly/part-00000.json"
    table = pq.read_table(io.BytesIO(store.read(name)))
    rows = np.arange(table.num_rows)
    if change in ("double", "swap"):
        table = table.take(np.r_[rows, rows[-1]] if change == "double" else np.r_[1, 0, rows[2:]])
    elif change == "foreign":
        metadata = {**table.schema.metadata, b"spectro.fingerprint": b"of another"}
        table = table.replace_schema_metadata(metadata)
    else:
        second = np.array(table["chi_second"].to_pylist(), np.float32)
        second[3, 1] = np.nan if change == "nan" else 0
        second = second[:, :-1] if change == "narrow" else second
        table = table.set_column(2, "chi_second", lists(second))
    data = to_bytes(table)
    put_anew(store, name, data)
    info = dataclasses.asdict(ObjectInfo.of(data))
    put_anew(store, marker, seal({**read_sealed(store, marker), "halves": info}))
    found = verify_run(store, config)
    assert named(found, DAMAGED) == {name}
    words = {
        "double": "0 tokens lost and 1 doubled", "swap": "one for each token of its shard",
        "nan": "its chi_second has values that are not finite",
        "narrow": "its chi_second has", "foreign": "it is of other rows than its part",
    }  # fmt: skip
    assert words[change] in found.faults[0].message


def test_half_estimates_that_are_lost_are_made_again_as_verify_says(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    name, marker = "halves/part-00001.parquet", "assembly/part-00001.json"
    before = store.read(name)
    store.delete(name)
    (fault,) = verify_run(store, config).faults
    assert (fault.name, fault.what, fault.kind) == (name, MISSING, "halves")
    assert "delete the assembly/part-NNNNN.json that names it" in fault.message
    store.delete(marker)
    again = dataclasses.replace(config, run=dataclasses.replace(config.run, uri=store.uri))
    run_pipeline(again, Progress(), goal=Goal.REPORT)
    assert store.read(name) == before
    assert verify_run(store, config).faults == ()


def test_half_estimates_may_be_missing_but_not_unaccounted_for(run_copy: MakeCopy) -> None:
    """A shard whose JSON names none is whole; what lies beside it is then no object of the run."""
    store, config = run_copy()
    name, marker = "halves/part-00000.parquet", "assembly/part-00000.json"
    content = read_sealed(store, marker)
    del content["halves"]
    put_anew(store, marker, seal(content))
    assert named(verify_run(store, config), UNKNOWN) == {name}
    store.delete(name)
    assert verify_run(store, config).faults == ()


def test_clusters_are_held_against_the_rows(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    marker = "clusters/cluster.json"
    content = read_sealed(store, marker)
    put_anew(store, marker, seal({**content, "product_fingerprint": "of another run"}))
    assert named(verify_run(store, config), DAMAGED) == {marker}


def test_a_run_that_goes_on_is_incomplete_not_damaged(run_copy: MakeCopy) -> None:
    """Taken apart from its last object to its first: at every moment what is there is whole."""
    store, config = run_copy()
    undone = [0]
    for kind in ("page", "clusters", "lists", "summary", "moments", "halves", "rows", "chains",
                 "draws", "pilots"):  # fmt: skip
        names = [n for n in store.list() if kind_of(n.removeprefix("control/")) == kind]
        names.sort(key=_from_the_last)
        for part in (names[: len(names) // 2], names[len(names) // 2 :]):
            store.delete_many(part)
            found = verify_run(store, config)
            assert found.faults == (), kind
            undone.append(len(found.undone))
    assert undone == sorted(undone)
    assert undone[-1] == found.units - 1  # the tokens are there


def _from_the_last(name: str) -> tuple[bool, bool]:
    """What completes the others first; a transform is what its lists are made with."""
    return name.endswith("/transform.json"), not name.endswith(".json")


def test_before_there_are_tokens(make_config: MakeConfig) -> None:
    config = make_config()
    run_pipeline(config, Progress(), goal=Goal.TOKENS)
    store = Store(config.run.uri)
    store.delete_many(list(store.list("tokens")))
    found = verify_run(store, config)
    assert (found.units, found.undone, found.faults) == (None, ("tokens/tokens.json",), ())


def test_dropped_draws_are_whole(make_config: MakeConfig) -> None:
    config = make_config()
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, keep_draws=False))
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    found = verify_run(Store(config.run.uri), config)
    assert found.faults == ()
    assert {Path(u).parts[0] for u in found.undone} == {"neighbours", "clusters", "report"}


def test_every_kind_is_told_by_its_name() -> None:
    names = {
        "tokens/more-001.json": "tokens", "chains/l0/3.dropped.json": "chains",
        "chains/l0/state/0-3-100.safetensors": "checkpoints", "logs/a.log": "logs",
        "tiles/00000/l1.safetensors": "tiles", "sessions/s/000001.json": "sessions",
        "failures/u-1.json": "failures", "chains/l0/3": "unknown", "notes.txt": "unknown",
        **{f"{folder}/assigned-0123456789abcdef.json": "assigned" for folder in FOLDERS},
        **{f"{folder}/cluster.json": "clusters" for folder in FOLDERS},
        **{f"{folder}/state/rounds-000000001-0123456789abcdef.safetensors": "checkpoints"
           for folder in FOLDERS},
    }  # fmt: skip
    assert {name: kind_of(name) for name in names} == names
    assert {name: STAGES.kind_of(name).name for name in names} == names


def test_a_run_of_an_earlier_version(run_copy: MakeCopy) -> None:
    store, config = run_copy()
    path = Path(store.root) / "run.yaml"
    text = path.read_text()
    path.write_text(text[: text.index("facts:")] + text[text.index("versions:") :])
    lines = [line for line in path.read_text().splitlines() if not line.startswith("sha256:")]
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="does not describe the model"):
        verify_run(store, config)
    assert json.dumps(lines)
