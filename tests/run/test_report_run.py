"""The page of a real tiny run: its records, its clusterings, and what is not at hand any more."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import shutil
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spectro.config import PipelineConfig
from spectro.formats.object_kinds import page_names
from spectro.formats.tokens import read_info
from spectro.inspect.verify import DAMAGED, verify_run
from spectro.models.size import ModelSize
from spectro.pipeline.run import Goal, run_pipeline
from spectro.pipeline.stages import STAGES
from spectro.planning.bill import make_bill, recorded_work
from spectro.planning.config import Assumptions
from spectro.planning.device_costs import Device
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.planning.plan import make_plan
from spectro.planning.rates import Rate, Rates
from spectro.storage.store import Store
from spectro.views.page.write import write_page
from spectro.work.progress import Progress

RunCopy = tuple[Store, PipelineConfig]
MakeCopy = Callable[[], RunCopy]


@pytest.fixture
def own(run_copy: MakeCopy) -> RunCopy:
    """A copy of the whole run, and its configuration there."""
    store, config = run_copy()
    run = dataclasses.replace(config.run, uri=store.uri)
    return store, dataclasses.replace(config, run=run)


def data_of(page: bytes) -> dict[str, Any]:
    """The objects of the page that are JSON, by name."""
    found = re.search(r'id="objects">(.*?)</script>', page.decode())
    assert found is not None
    packed = {name: text for name, text in json.loads(found[1]).items() if name.endswith(".json")}
    return {name: json.loads(gzip.decompress(b64decode(text))) for name, text in packed.items()}


def written(store: Store, config: PipelineConfig) -> dict[str, Any]:
    """The page, made anew, as data."""
    write_page(store, config, read_info(store).probe_sha256, lambda done, total: None)
    return data_of(store.read(page_names(config.run.clusters)[0]))


def missing_of(data: dict[str, Any]) -> str:
    return " ".join(data["report.json"]["ledger"]["missing"])


def test_the_page_is_that_of_the_pipeline_and_tells_the_records(own: RunCopy) -> None:
    store, config = own
    first = store.read("report/index.html")
    data = written(store, config)
    facts = dict(map(tuple, data["report.json"]["ledger"]["facts"]))
    assert data["report.json"]["ledger"]["missing"] == []
    assert "torch" in facts["Versions"] and facts["Seeds"].startswith("run 0, tokens 0")
    assert facts["GPU hours"] == "0, measured on CPUs" and "1 session" in facts["Worker hours"]
    assert facts["Fingerprint"].startswith(
        dict(map(tuple, data["map.json"]["facts"]))["Fingerprint"]
    )
    again = store.read("report/index.html")
    written(store, config)
    assert store.read("report/index.html") == again, "the same run, the same bytes"
    before = data_of(first)
    for each in (before, data):
        each["report.json"].pop("ledger")  # the command adds a session
        for name in ("map.json", "control/map.json"):
            each[name].pop("title")  # the place of the run
    assert before == data
    assert verify_run(store, config).faults == ()


def test_stages_are_those_of_the_bill(own: RunCopy) -> None:
    store, config = own
    size = size_of_checkpoint(config.model)
    found = {(s.part, s.stage): s for s in recorded_work(config, size).stages}
    lines = make_bill(plan_of(config, size), config)
    assert {(line.part, line.stage) for line in lines} == set(found)
    for line in lines:
        stage = found[line.part, line.stage]
        assert stage.done.flops == line.done.flops and stage.seconds == line.seconds
        assert stage.planned.flops == line.planned.flops  # the same was assumed
    told = written(store, config)["report.json"]["ledger"]["stages"]
    assert [(part, stage, done) for part, stage, _, _, done, _ in told] == [
        (part, stage, one.done.flops) for (part, stage), one in found.items()
    ]


def plan_of(config: PipelineConfig, size: ModelSize) -> Any:
    rate = Rate(hidden_size=16, precision="float32", scoring_tflops=1.0, stepping_tflops=1.0)
    rates = Rates(
        device="made up", measured=True, rates=(rate,), read_bytes_per_second=1e9,
        written_bytes_per_second=1e9,
    )  # fmt: skip
    device = Device(rates=rates, precision="float32", num_devices=1)
    return make_plan(config, size, device, Assumptions())


def test_every_draw_of_every_component_scores_every_token(own: RunCopy) -> None:
    _, config = own
    work = recorded_work(config, size_of_checkpoint(config.model))
    chain, num_tokens = config.chain, 6 * 16
    components = 2 + 1 + 1 + 1  # two heads, an MLP, embed and full; twice: there is a control
    draws = chain.num_chains * chain.num_draws * components
    assert work.num_forward_tokens == 2 * draws * num_tokens


def test_a_run_whose_draws_were_dropped_has_the_same_bill(own: RunCopy) -> None:
    store, config = own
    before = written(store, config)["report.json"]["ledger"]["stages"]
    run = dataclasses.replace(config.run, keep_draws=False)
    run_pipeline(dataclasses.replace(config, run=run), Progress(), goal=Goal.REPORT)
    assert written(store, config)["report.json"]["ledger"]["stages"] == before


def test_records_that_are_gone_are_said_and_nothing_is_made_up(own: RunCopy) -> None:
    store, config = own
    for folder in ("chains", "control/chains", "sessions"):
        shutil.rmtree(Path(store.root) / folder)
    data = written(store, config)
    assert data["report.json"]["ledger"]["stages"] == []
    assert "Work is not known stage by stage" in missing_of(data)
    assert "Hours of workers are not known: no session" in missing_of(data)
    assert "\n" not in missing_of(data)
    assert data["report.json"]["summary"]["clusters"] == data["map.json"]["clusters"]["count"]


def test_a_model_that_is_gone_leaves_ids(own: RunCopy, tmp_path: Path) -> None:
    store, config = own
    model = dataclasses.replace(config.model, name_or_path=str(tmp_path / "nowhere"))
    data = written(store, dataclasses.replace(config, model=model))
    shown = data["vocabulary.json"]
    assert shown == [f"\ue000#{token}\ue001" for token in range(len(shown))]
    assert "Work is not known stage by stage" in missing_of(data)


def test_another_clustering_has_a_page_of_its_own(own: RunCopy) -> None:
    store, config = own
    first = store.read("report/index.html")
    run = dataclasses.replace(config.run, clusters="clusters-k6")
    cluster = dataclasses.replace(config.cluster, num_neighbours=6)
    other = dataclasses.replace(config, run=run, cluster=cluster)
    run_pipeline(other, Progress(), goal=Goal.REPORT)
    assert store.read("report/index.html") == first
    data = data_of(store.read("report-k6/index.html"))
    assert data["map.json"]["title"] == "copy / clusters-k6"
    assert data["report.json"]["control"] is not None
    found = verify_run(store, config)
    assert found.faults == () and found.kinds["page"].objects == 4
    path = Path(store.root) / "report-k6/index.html"
    path.write_bytes(path.read_bytes()[::-1])
    assert [(f.name, f.what) for f in verify_run(store, config).faults] == [
        ("report-k6/index.html", DAMAGED)
    ]
    gone = STAGES.remove_stale(store, store.list(), "of other tokens", keep_clusters=True)
    assert {"report/index.html", "report-k6/index.html", "report-k6/page.json"} <= gone


def test_the_command_takes_a_folder_of_clusters(
    own: RunCopy, job: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    store, _ = own
    uri = Path(store.root).resolve()
    arguments = ["run.num_workers=0", "cluster.num_neighbours=6"]
    assert job("cluster", f"run.uri={uri}", "name=k6", *arguments) == 0
    assert job("report", f"run.uri={uri}/clusters-k6", "run.num_workers=0") == 0
    assert "report-k6/index.html" in capsys.readouterr().out
    assert data_of(store.read("report-k6/index.html"))["map.json"]["title"] == "copy / clusters-k6"
