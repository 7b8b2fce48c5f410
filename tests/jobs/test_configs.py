"""Every shipped YAML composes and validates; the derived schemas say what the originals say."""

from __future__ import annotations

import dataclasses
import importlib
import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from jobs.cli import COMMANDS as COMMAND_NAMES
from jobs.command import Command
from jobs.help import CONF, help_text
from jobs.hydra_run import register
from jobs.schema import build, twin, validated
from jobs.settings import settings_of
from jobs.stored import stored_config
from spectro.clustering.config import ClusterConfig, Preprocess
from spectro.config import PipelineConfig, to_dict
from spectro.formats import run_dir
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Exponential, Gaussian, Psgld
from spectro.storage.store import Store
from spectro.tokens.config import MoreConfig, Source, SourceKind

COMMANDS: dict[str, Command[Any]] = {
    name: importlib.import_module(f"jobs.{name}").COMMAND
    for name in COMMAND_NAMES
    if name != "leave"
}
ROOTS = {command.root: command.config for command in COMMANDS.values() if command.root}
PRETRAIN = {"pretrain": ROOTS.pop("pretrain")}  # work_dir has no default
READING = [command for command in COMMANDS.values() if not command.root]
PRETRAINING = [path.stem for path in sorted((CONF / "pretraining").glob("*.yaml"))]
OTHER_ROOTS = {"hydra_quiet", "measurement", "pretrain"}
GROUPS = ("model", "tokens", "sampler", "cluster", "experiment")
SHIPPED = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
FILL = {  # what a file leaves to the user
    ("tokens", "pythia_pretokenised"): ["tokens.subsets.pile.path=/data/document"],
    ("tokens", "jsonl"): ["tokens.subsets.text.path=/data/a.jsonl"],
    ("tokens", "parquet"): ["tokens.subsets.text.path=/data/a.parquet"],
    ("tokens", "text_folder"): ["tokens.subsets.text.path=/data"],
    ("tokens", "hub"): ["tokens.subsets.text.name=owner/dataset"],
    ("tokens", "more"): ["more.num_probe_sequences=4"],
}


def composed(root: str, *overrides: str) -> Any:
    config = (ROOTS | PRETRAIN)[root]
    register(root, config)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return validated(config, compose(root, list(overrides)))


@pytest.mark.parametrize(("group", "name"), SHIPPED)
def test_every_shipped_file_composes(group: str, name: str) -> None:
    config = composed("pipeline", f"{group}={name}", *FILL.get((group, name), []))
    assert isinstance(config, PipelineConfig)


@pytest.mark.parametrize("name", PRETRAINING)
def test_every_pretraining_composes(name: str) -> None:
    found = composed("pretrain", f"pretraining={name}", "work_dir=/tmp/work")
    assert isinstance(found, PRETRAIN["pretrain"])
    assert found.out_dir.startswith("spectro/assets/")


@pytest.mark.parametrize("root", ROOTS)
def test_every_root_composes(root: str) -> None:
    assert isinstance(composed(root), ROOTS[root])


@pytest.mark.parametrize("command", READING, ids=lambda command: command.name)
def test_defaults_of_commands_that_read_are_valid(command: Command[Any]) -> None:
    assert isinstance(validated(command.config, {}), command.config)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_help_describes_every_setting(command: Command[Any]) -> None:
    found = list(settings_of(command.config))
    lines = help_text(command)
    assert all(setting.doc for setting in found), [s.key for s in found if not s.doc]
    names = {long: short for short, long in command.short.items()}
    assert all(f"\n  {names.get(s.key, s.key)} " in lines for s in found)
    assert lines.startswith(f"usage: spectro {command.name} ")


def test_help_shows_the_defaults_of_conf() -> None:
    lines = help_text(COMMANDS["pipeline"])
    composed_config = composed("pipeline")
    for name, value in {
        "run.uri": "runs/demo",
        "chain.num_chains": composed_config.chain.num_chains,
        "sampler.gamma": f"{composed_config.sampler.gamma:g}",
        "cluster.num_neighbours": composed_config.cluster.num_neighbours,
    }.items():
        assert re.search(rf"^  {name} .* {value} ", lines, re.MULTILINE), name


def test_no_file_is_left_out() -> None:
    files = {path.relative_to(CONF) for path in CONF.rglob("*.yaml")}
    tested = {Path(f"{group}/{name}.yaml") for group, name in SHIPPED}
    tested |= {Path(f"pretraining/{name}.yaml") for name in PRETRAINING}
    tested |= {Path(f"{root}.yaml") for root in (*ROOTS, *OTHER_ROOTS)}
    assert files - tested == set()


def test_published_clustering_is_the_published_rule() -> None:
    assert composed("pipeline", "cluster=published").cluster == ClusterConfig.published()


def test_what_columns_share_is_taken_out_unless_the_published_order_is_asked() -> None:
    kinds = {"small": "restricted", "standard": "restricted", "published": "standardise"}
    kinds |= {"whitened_overlapping": "whiten"}
    for name, kind in kinds.items():
        assert composed("pipeline", f"cluster={name}").cluster.preprocess.value == kind
    assert composed("pipeline").cluster.preprocess is Preprocess.RESTRICTED


def test_published_settings() -> None:
    small, large = (
        composed("pipeline", "experiment=pythia_14m"),
        composed("pipeline", "experiment=pythia_1_4b"),
    )
    for config, nbeta, between in ((small, 3, 55), (large, 10, 160)):
        assert isinstance(config.sampler, Psgld)
        assert (config.sampler.gamma, config.sampler.nbeta) == (300, nbeta)
        assert (config.sampler.step_size, config.sampler.alpha) == (1e-5, 0.99)
        chain = config.chain
        assert (chain.num_chains, chain.num_draws, chain.batch_size) == (4, 100, 16)
        assert chain.steps_between_draws == between
        assert len(config.tokens.subsets) == 13
        assert config.tokens.subsets["github"].name == "timaeus/pile-github"
        assert config.cluster.num_neighbours == 45
        assert config.cluster.preprocess is Preprocess.STANDARDISE
    tokens = small.tokens
    assert 13 * tokens.num_probe_sequences * tokens.context == pytest.approx(780e3, rel=0.01)
    tokens = large.tokens
    assert 13 * tokens.num_probe_sequences * tokens.context == pytest.approx(4.25e6, rel=0.01)


def test_another_tokens_file_replaces_the_subsets() -> None:
    config = composed("pipeline", "tokens=jsonl", "tokens.subsets.text.path=/data/a.jsonl")
    assert list(config.tokens.subsets) == ["text"]


def test_further_subsets_are_given_on_the_command_line() -> None:
    """As conf/tokens/*.yaml say."""
    other = "{other: {kind: parquet, path: /data/b}}"
    own = ("tokens=jsonl", "tokens.subsets.text.path=/data/a.jsonl")
    assert list(composed("pipeline", *own, f"+tokens.subsets={other}").tokens.subsets) == [
        "text",
        "other",
    ]
    more = composed(
        "pipeline", "tokens=more", "more.num_probe_sequences=4", f"+more.subsets={other}"
    ).more
    assert more == MoreConfig(
        num_probe_sequences=4,
        subsets={"other": Source(kind=SourceKind.PARQUET, path="/data/b")},
    )


def test_run_yaml_gives_the_same_configuration_back(tmp_path: Path) -> None:
    for sampler in ("exponential", "psgld", "sgld", "gaussian"):
        config = composed("pipeline", f"sampler={sampler}")
        store = Store(str(tmp_path / sampler))
        run_dir.start(store, to_dict(config), config.inputs())
        assert stored_config(store.uri) == config
        assert yaml.safe_load(store.read("run.yaml"))["config"]["sampler"]["kind"] == sampler


def test_several_nbeta_are_a_list_in_commands_and_files(tmp_path: Path) -> None:
    config = composed("pipeline", "sampler=reweighted", "sampler.nbeta=[10,3,0]")
    assert isinstance(config.sampler, Reweighted)
    assert (config.sampler.nbeta, config.sampler.also_nbeta) == (10.0, (3.0, 0.0))
    assert list(config.parts) == ["", "control", "nbeta-3"] and config.control.value == "shared"
    one = composed("pipeline", "sampler=reweighted", "sampler.nbeta=[10]", "control=false")
    assert one.sampler == composed("pipeline", "sampler=reweighted").sampler
    assert list(one.parts) == [""] and one.own_name() == config.own_name()
    store = Store(str(tmp_path))
    run_dir.start(store, to_dict(config), config.inputs())
    assert stored_config(store.uri) == config
    told = yaml.safe_load(store.read("run.yaml"))
    sampler = told["inputs"]["sampler"]
    assert told["config"]["control"] == "shared"
    assert sampler["nbeta"] == 10.0 and "also_nbeta" not in sampler


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampler.nbeta=ten", "sampler.nbeta must be a number or a list of numbers, found 'ten'"),
        ("sampler.nbeta=[10,x]", "sampler.nbeta must be a number or a list of numbers"),
        ("sampler.nbeta=[]", "sampler.nbeta must be a number or a list of numbers"),
        ("sampler.nbeta=[3,3]", "must name each nbeta once, found 3, 3"),
        ("control=both", "control must be one of shared, independent, none, default; found 'both'"),
    ],
)
def test_no_list_of_nbeta(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        composed("pipeline", "sampler=reweighted", override)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    size: int
    colour: Colour = Colour.RED

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size must be ≥ 0, found {self.size}")


@dataclass(frozen=True, kw_only=True)
class Tree:
    sampler: Psgld | Gaussian
    leaves: dict[str, Leaf] = field(default_factory=lambda: {"a": Leaf(size=1)})
    row: list[Leaf] = field(default_factory=list)
    pair: tuple[int, ...] = (1, 2)
    extra: Leaf | None = None
    name: str | None = None


def from_yaml(text: str) -> Tree:
    node = OmegaConf.merge(OmegaConf.structured(twin(Tree)), OmegaConf.create(text))
    return build(Tree, node)


def test_nested_schemas_round_trip() -> None:
    tree = from_yaml(
        "{sampler: {kind: gaussian, gamma: 5}, leaves: {b: {size: 2, colour: blue}},"
        " row: [{size: 3}], pair: [4], extra: {size: 6}}"
    )
    assert tree == Tree(
        sampler=Gaussian(gamma=5.0),
        leaves={"b": Leaf(size=2, colour=Colour.BLUE)},
        row=[Leaf(size=3)],
        pair=(4,),
        extra=Leaf(size=6),
    )
    assert from_yaml("sampler: {kind: psgld}") == Tree(sampler=Psgld())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "sampler has no value"),
        ("sampler: {kind: adam}", "sampler must be one of psgld, gaussian; found 'adam'"),
        ("sampler: {gamma: 1}", "sampler must be one of"),
        ("{sampler: {kind: gaussian}, leaves: {b: {}}}", "leaves.b.size has no value"),
        ("{sampler: {kind: gaussian}, leaves: {b: {size: -1}}}", "leaves.b: size must be ≥ 0"),
        (
            "{sampler: {kind: gaussian}, row: [{size: 1, colour: green}]}",
            r"row\[0\].colour must be one of red, blue; found 'green'",
        ),
    ],
)
def test_schemas_refuse_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        from_yaml(text)
    assert "\n" not in str(error.value)


def test_defaults_of_the_schemas_are_those_of_the_originals() -> None:
    for kind in (Psgld, Exponential, Gaussian):
        built = build(kind, OmegaConf.structured(twin(kind)))
        assert built == kind()
        assert dataclasses.is_dataclass(twin(kind))
