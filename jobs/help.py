"""`--help` of a command: its module's docstring, and its settings from the dataclasses' docstrings.

Read from the sources alone. Defaults of commands that compose `conf/` are those of its files.
"""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .settings import DeclaredSetting, settings_of, shown

if TYPE_CHECKING:
    from .command import Command

CONF = Path(__file__).parent.parent / "conf"
"""Beside this package: at the top of the repository, within `spectro` in an installation."""
GROUPS = ("model", "tokens", "sampler", "cluster", "experiment")
MAX_WIDTH = 110


def help_text(command: Command[Any]) -> str:
    """Usage, description, settings."""
    module = inspect.getmodule(command.run)
    description = ((module and module.__doc__) or "").strip()
    lines = [f"usage: spectro {command.name} {command.usage}", "", description, ""]
    lines += ["Settings, as key=value:", "", *_table(list(_settings(command)))]
    if command.may_trust:
        lines += ["", "--trust reads files that the run.yaml of somebody else's run names."]
    if command.root:
        lines += ["", *_groups(command), "", "--cfg job prints the configuration as composed."]
        lines += ["-m runs one after another for values separated by commas."]
    return "\n".join(lines)


def _settings(command: Command[Any]) -> Iterator[DeclaredSetting]:
    """The settings with their defaults: the dataclasses', and over them those of conf/."""
    composed = dict(_flat(_defaults(command.root))) if command.root else {}
    names = {long: short for short, long in command.short.items()}
    for setting in settings_of(command.config):
        default = shown(composed[setting.key]) if setting.key in composed else setting.default
        key = names.get(setting.key, setting.key)
        yield DeclaredSetting(key=key, type=setting.type, default=default, doc=setting.doc)


def _table(settings: list[DeclaredSetting]) -> list[str]:
    """Name, type, default and doc, in columns; the doc below where the first three are wide."""
    width = min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns)
    heads = [f"  {s.key:<28} {_cut(s.type):<18} {_cut(s.default):<14} " for s in settings]
    column = 2 + 28 + 1 + 18 + 1 + 14 + 1
    lines: list[str] = []
    for setting, head in zip(settings, heads, strict=True):
        doc = textwrap.wrap(setting.doc, max(30, width - column)) or [""]
        fits = len(head) <= column
        first = [f"{head}{doc[0]}".rstrip()] if fits else [head.rstrip(), " " * column + doc[0]]
        lines += [*first, *(" " * column + line for line in doc[1:])]
    return lines


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _groups(command: Command[Any]) -> list[str]:
    """Groups of the root's configuration, and the files that may be chosen."""
    fields = set(getattr(command.config, "__dataclass_fields__", {}))
    names = [group for group in GROUPS if group in fields or group == "experiment"]
    if not {"model", "sampler"} & fields:
        names = [group for group in names if group == "cluster"]
    return [
        f"  {group}=" + "|".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
        for group in names
    ]


def _defaults(name: str) -> dict[str, Any]:
    """What a file of conf/ sets, with the files that its defaults list names; no overrides."""
    path = CONF / f"{name}.yaml"
    plain: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    result: dict[str, Any] = {}
    for entry in [*plain.pop("defaults", []), "_self_"]:
        if entry == "_self_":
            _merge(result, {key: value for key, value in plain.items() if key != "hydra"})
        elif isinstance(entry, str) and not entry.endswith("_schema") and entry != "hydra_quiet":
            _merge(result, _defaults(str(Path(name).parent / entry)))
        elif isinstance(entry, Mapping):
            for group, option in entry.items():
                if option is not None and " " not in group and (CONF / group).is_dir():
                    _merge(result, {group: _defaults(f"{group}/{option}")})
    return result


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _flat(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
