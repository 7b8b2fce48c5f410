"""Whatever is wrong with the input: one line, a status that is not 0, nothing overwritten."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPTNeoXForCausalLM

Job = Callable[..., int]
ROOT = Path(__file__).parent.parent.parent

# (arguments, what the line must say)
WRONG_CONFIG: list[tuple[list[str], str]] = [
    (["sampler.gama=3"], "sampler.gama: unknown key; did you mean gamma?"),
    (["nonsense=1"], "nonsense: unknown key"),
    (["chain.num_darws=3"], "did you mean num_draws?"),
    (["tokens.subsets.python.kindd=x"], "unknown key; did you mean kind?"),
    (["run.workers=3"], "run.workers: unknown key"),
    (["sampler=gaussian", "sampler.nbeta=3"], "sampler.nbeta: unknown key"),
    (["sampler=adam"], "sampler: no option 'adam'; conf/sampler has embedded, exponential"),
    (["model=gpt2"], "model: no option 'gpt2'"),
    (["experiment=pythia_99b"], "experiment: no option 'pythia_99b'"),
    (["chain.num_draws=many"], "chain.num_draws: Value 'many'"),
    (["chain.batch_size=1.5"], "chain.batch_size: Value '1.5'"),
    (["control=maybe"], "control must be one of shared, independent, none, default; found 'maybe'"),
    (["sampler.gamma=[1]"], "sampler.gamma"),
    (["chain=3"], "chain: "),
    (
        ["sampler=psgld", "chain.batch_size=129"],
        "is 129, but the sampling set has 128 sequences",
    ),
    (["components=embed"], "components must be a list, as in components=[embed]; found 'embed'"),
    (
        ["run.uri=memory://x"],
        "run.uri 'memory://x' is a memory:// URI, which is not durable storage",
    ),
    (
        ["run.uri=null", "run.root=http://host/x"],
        "run.root 'http://host/x' is a http:// URI",
    ),
    (["components=[]"], "components is empty"),
    (["observables.q.tokns=[3]"], "observables.q.tokns: unknown key; did you mean tokens?"),
    (["observables.q.tokens=[-3]"], "observables.q: tokens must be whole numbers from 0 on"),
    (["observables.q.split=training"], "observables.q.split must be one of evaluation, probe"),
    (["observables={q: {split: probe}}"], "observables.q: split probe needs tokens or sequences"),
    (["observables.q.function=f"], "observables.q: function must be an import path"),
    (["observables.Q.tokens=[3]"], "a name must be lower-case letters, digits and _"),
    (["chain.num_draws=0"], "chain.num_draws must be at least 1, found 0"),
    (["chain.num_chains=-1"], "chain.num_chains must be at least 1, found -1"),
    (["chain.steps_between_draws=0"], "chain.steps_between_draws must be at least 1"),
    (["chain.num_burnin_steps=-1"], "chain.num_burnin_steps must be at least 0"),
    (["sampler.gamma=0"], "sampler.gamma must be a finite number > 0"),
    (["sampler.nbeta=-1"], "sampler.nbeta must be a finite number ≥ 0"),
    (["sampler.nbeta=nan"], "sampler.nbeta must be a finite number"),
    (["sampler=psgld", "sampler.step_size=inf"], "sampler.step_size must be a finite number"),
    (["sampler=psgld", "sampler.alpha=1"], "sampler.alpha must be in [0, 1)"),
    (["sampler=psgld", "sampler.step_size=1"], "the Euler step diverges"),
    (["estimator.kind=three_chain"], "estimator.kind must be one of two_chain, one_chain"),
    (["sampler=gaussian", "chain.batch_size=4"], "chain.batch_size has no effect with the gaus"),
    (["chain.steps_between_draws=2", "chain.max_draw_correlation=0.3"], "has no effect where"),
    (["estimator.num_baseline_batches=4"], "has no effect with estimator.baseline paired"),
    (["scoring.shortlist_size=0", "scoring.max_shortlist_error=0.2"], "has no effect where"),
    (["cluster.whiten_variance=0.5"], "has no effect with cluster.preprocess restricted"),
    (
        ["cluster.overlap=false", "cluster.same_jaccard=0.9"],
        "has no effect with cluster.overlap false",
    ),
    (["cluster.tolerance=1e-3"], "has no effect with cluster.tolerance_kind reach"),
    (["tokens.subsets.python.hub_split=test"], "hub_split is 'test', but it has no effect on a"),
    (["tokens.subsets.python.items=documents"], "items is 'documents', but it has no effect on"),
    (["components=[embed,EMBED]"], "component 'embed' is given twice"),
    (["cluster.num_neighbours=100000"], "needs more than 100000 tokens, found 16384"),
    (["tokens.context=0"], "tokens.context must be at least 1"),
    (["tokens.num_probe_sequences=0"], "tokens.num_probe_sequences must be at least 1"),
    (["tokens=jsonl"], "tokens.subsets.text: a source of kind jsonl needs a path"),
    (["tokens.subsets.python.kind=tape"], "tokens.subsets.python.kind must be one of"),
    (["cluster.num_neighbours=0"], "cluster.num_neighbours must be at least 1"),
    (["cluster.alpha=2"], "cluster.alpha must be in"),
    (["report.max_points=0"], "report.max_points must be at least 1"),
    (["run.uri="], "run.uri is empty"),
    (["run.uri=s3:/bucket/run"], "has one slash after its scheme: expected two"),
    (["run.num_workers=-1"], "run.num_workers must be at least 0"),
    (["run.threads_per_worker=0"], "run.threads_per_worker must be at least 1"),
    (['run.uri="${nowhere}"'], "nowhere"),
    (["model.dtype=float8"], "model.dtype must be one of"),
    (["model.device=tpu"], "model.device must be auto, cpu or cuda"),
    (["seed=-1"], "seed must be in"),
    (["run.uri=nosuchprotocol://x"], "which is not durable storage"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), WRONG_CONFIG, ids=[a[-1] for a, _ in WRONG_CONFIG]
)
def test_wrong_configurations(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    status = job("pipeline", "run.num_workers=0", *arguments)
    line = one_line(capsys)
    assert status == 2
    assert message in line
    assert list(tmp_path.iterdir()) == []


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line on stderr."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    return lines[0]


@pytest.fixture
def arguments(tiny_model_dir: Path, text_dir: Path, tmp_path: Path) -> list[str]:
    """Of a run of a few seconds."""
    return [
        f"run.uri={tmp_path / 'run'}",
        "run.num_workers=0",
        f"model.name_or_path={tiny_model_dir}",
        "tokens=text_folder",
        f"tokens.subsets.text.path={text_dir / 'code'}",
        "tokens.context=8",
        "tokens.num_probe_sequences=6",
        "tokens.num_sampling_sequences=8",
        "tokens.num_evaluation_sequences=2",
        "chain.num_chains=2",
        "chain.num_draws=2",
        "chain.num_burnin_steps=0",
        "chain.steps_between_draws=1",
        "components=[l0h1,unembed]",
        "cluster.num_neighbours=5",
        "cluster.min_size=4",
        "control=false",
    ]


def refused(
    job: Job, capsys: pytest.CaptureFixture[str], name: str, *args: str, status: int = 2
) -> str:
    """The line that a job says; checks its status."""
    found = job(name, *args)
    line = one_line(capsys)
    assert found == status, line
    assert line.startswith(f"{name}: ")
    return line


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, logs aside."""
    files = [p for p in folder.rglob("*") if p.is_file() and "logs" not in p.parts]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["model.name_or_path=/no/such/folder"], "does not exist"),
        (["model.name_or_path=."], "has no config.json"),
        (["components=[l9h9]"], "component 'l9h9' selects nothing"),
        (["observables.q.tokens=[16]"], "observables.q: tokens has 16, but the evaluation set has"),
        (["observables.q.subset=code"], "observables.q: subset 'code' has no sequence in the eval"),
        (["observables.q.function=no.such:f"], "observables.q: function 'no.such:f' cannot be imp"),
        (["tokens.context=4096"], "the model was built for contexts of at most 32"),
        (["tokens.subsets.text.path=/no/such/folder"], "/no/such/folder"),
        (["model.revision=step1000"], "has no revisions to choose from"),
        (["model.device=cuda:97"], "torch sees"),
        (["scoring.shortlist_size=32"], "scoring.shortlist_size is 32, but it has no effect on"),
    ],
)
def test_impossible_runs_write_nothing(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    extra: list[str],
    message: str,
) -> None:
    assert message in refused(job, capsys, "sample", *arguments, *extra)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["tokens.num_probe_sequences=100000"], "text"),
        (
            ["sampler=sgld", "sampler.gamma=1e-3", "sampler.nbeta=1e30", "sampler.step_size=1e3"],
            "the loss ",
        ),
    ],
)
def test_failures_of_work_are_one_line_and_reach_no_product(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    extra: list[str],
    message: str,
) -> None:
    line = refused(job, capsys, "sample", *arguments, *extra, status=1)
    assert message in line
    assert not (tmp_path / "run" / "susceptibilities").exists()
    logs = "".join(p.read_text() for p in (tmp_path / "run" / "logs").iterdir())
    assert "Traceback" in logs


def copy_of(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def damage_truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def damage_garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not safetensors at all")


def damage_nan(folder: Path) -> None:
    model = GPTNeoXForCausalLM.from_pretrained(folder)
    model.gpt_neox.layers[1].mlp.dense_h_to_4h.weight.data[0, 0] = torch.nan
    model.save_pretrained(folder)


def damage_missing_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("gpt_neox.layers.0.attention.dense.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def damage_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def damage_other_architecture(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"gpt_neox"', '"llama"'))


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_truncated, "cannot be loaded"),
        (damage_garbage, "cannot be loaded"),
        (damage_nan, "not finite"),
        (damage_missing_weight, "missing keys"),
        (damage_no_weights, "cannot be loaded"),
        (damage_other_architecture, "keys in config.json that Llama does not have"),
        (damage_config, "cannot be opened"),
    ],
)
def test_damaged_models_write_nothing(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_model_dir: Path,
    arguments: list[str],
    damage: Callable[[Path], None],
    message: str,
) -> None:
    folder = copy_of(tiny_model_dir, tmp_path)
    damage(folder)
    capsys.readouterr()
    line = refused(job, capsys, "sample", *arguments, f"model.name_or_path={folder}")
    assert message in line
    assert not (tmp_path / "run").exists()


def test_a_model_without_tokenizer(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_model_dir: Path,
    arguments: list[str],
) -> None:
    folder = copy_of(tiny_model_dir, tmp_path)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    line = refused(job, capsys, "tokens", *arguments, f"model.name_or_path={folder}")
    assert "tokenizer" in line


def test_a_run_of_another_configuration(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    assert job("cluster", f"run.uri={tmp_path / 'run'}") == 2
    assert "is not the folder of a run" in one_line(capsys)
    assert job("pipeline", *arguments) == 0
    capsys.readouterr()
    before = contents(tmp_path / "run")
    line = refused(job, capsys, "pipeline", *arguments, "seed=1", "sampler.nbeta=3")
    assert "seed: 0 → 1" in line
    assert "sampler.nbeta: 10.0 → 3.0" in line
    line = refused(job, capsys, "pipeline", *arguments, "cluster.min_size=5")
    assert "cluster.min_size: 4 → 5" in line
    assert contents(tmp_path / "run") == before
    # the same run, from its own run.yaml
    assert job("resume", f"run.uri={tmp_path / 'run'}", "run.num_workers=0") == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert contents(tmp_path / "run") == before
    # another page of the same run
    renewed = [f"run.uri={tmp_path / 'run'}", "run.num_workers=0", "report.title=Other"]
    assert job("report", *renewed) == 0
    assert b"Other" in contents(tmp_path / "run")["report/index.html"]


def test_damage_within_a_run(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    stepped = [*arguments, "run.keep_draws=true", "sampler=psgld"]
    assert job("sample", *stepped) == 0
    capsys.readouterr()
    run = tmp_path / "run"
    (run / "susceptibilities" / "part-00000.parquet").unlink()
    draws = next((run / "chains").rglob("*.safetensors"))
    data = bytearray(draws.read_bytes())
    data[-1] ^= 1
    draws.write_bytes(data)
    line = refused(job, capsys, "sample", *stepped, status=1)
    assert "is damaged" in line
    assert str(draws.relative_to(run)) in line


def test_a_folder_of_something_else(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    assert "files but no run.yaml" in refused(job, capsys, "pipeline", *arguments)
    assert contents(tmp_path / "run") == {"thesis.tex": b"x"}


def test_the_real_command_line(tmp_path: Path) -> None:
    """One line in a process of its own too, where nothing that is imported may warn."""
    command = [sys.executable, "-m", "jobs.cli", "pipeline", f"run.uri={tmp_path / 'run'}"]
    command += ["run.ray_address=127.0.0.1:1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "run").exists()
