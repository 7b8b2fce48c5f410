"""Command-line arguments: settings `key=value`, positional arguments, flags.

The rule, the same for every command:

- `key=value` is a setting if the command has a setting of that name. Text (paths, names, SQL,
  tokens) is taken as typed: `#`, `=`, commas, quotes, brackets, `$`, spaces and numbers mean
  nothing. `null` is no value where a setting may have none (`./null` is a folder). Text between two
  quotes of one kind is what is between them, with references (`'"runs/${seed}"'`); SQL and tokens
  keep their quotes.
- Numbers, lists in [ ], dictionaries in { } and files of a group are parsed (by Hydra where a
  command composes conf/, else as YAML).
- With `-m`, where a command composes conf/, a comma separates the values of a setting, unless it
  is between quotes or brackets: `tokens.subsets.text.path=a,b` are two, `'"a,b"',c` are `a,b` and
  `c`. Settings in `NEVER_SWEPT` (`run.*`, files that are written) are taken whole.
- Other arguments are positional, in the command's order: a run, then perhaps SQL or a file. An
  argument like `lr=3` is positional if the command has no setting `lr`, or if it is the first one,
  no other names the run, and a folder `lr=3` exists. It must exist; `./lr=3` always is positional.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from .quoting import hydra_text, is_quoted, parsed_by_hydra, split, unquoted, within_quotes
from .settings import Leaf, leaf_of, near, within_free_names

if TYPE_CHECKING:
    from .command import Command

NEVER_SWEPT = r"run\..*|(.*\.)?(title|out|rates_out|out_dir|work_dir|scratch)"
"""Settings that a comma does not separate in a sweep."""
FLAGS_WITH_VALUE = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd", "--info", "-i", "--experimental-rerun",
)  # fmt: skip
SETTING = re.compile(
    r"(?P<sign>\+{0,2}|~)(?P<key>[A-Za-z_$][\w$.-]*(?:/[\w-]+)*(?:@[\w.$:-]*)?)=", re.ASCII
)
NOT_UNDERSTOOD = (
    "is not understood: expected key=value with a number, a text, a list [a,b] or {name: value}; a "
    "text in a list with , : = [ ] { } ( ) # or quotes needs quotes inside those of the shell, as "
    "in 'key=[\"a,b\",c]'"
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A command line, sorted."""

    positional: tuple[str, ...]
    """As typed, without those that are settings."""
    settings: tuple[str, ...]
    """`key=value` with whole names; `~key` too where conf/ is composed."""
    flags: tuple[str, ...]
    """With their values."""

    @property
    def keys(self) -> list[str]:
        """Names of the settings that are given."""
        return [text.partition("=")[0].lstrip("+~") for text in self.settings]


def sorted_arguments(command: Command[Any], typed: Sequence[str]) -> Arguments:
    """Settings, positional arguments and flags.

    Raises ValueError, in one line that names the argument, for one that is not understood.
    """
    flags, rest = _flags(typed)
    named = [_whole_name(command, text) for text in rest]
    keys = {found["key"] for text in named if (found := SETTING.match(text))}
    settings: list[str] = []
    positional: list[str] = []
    for text, short in zip(named, rest, strict=True):
        names_no_run = short is not rest[0] or bool(keys & set(command.positional))
        is_setting = _is_setting(command, text, short, surely=names_no_run)
        (settings if is_setting else positional).append(text if is_setting else short)
    free = [name for name in command.positional if name not in keys]
    if len(positional) > len(free) and not (free and command.any_number):
        raise ValueError(
            f"{positional[len(free)]!r} is not understood: expected settings as key=value"
            + (f" after {' and '.join(free)}" if free else "")
        )
    return Arguments(positional=tuple(positional), settings=tuple(settings), flags=tuple(flags))


def placed(command: Command[Any], given: Arguments) -> dict[str, str | list[str]]:
    """Positional arguments under the names of their settings; a list where any number may come."""
    free = [name for name in command.positional if name not in given.keys]
    if command.any_number:
        return {free[0]: list(given.positional)} if given.positional else {}
    return dict(zip(free, given.positional, strict=False))


def hydra_arguments(command: Command[Any], typed: Sequence[str]) -> list[str]:
    """The arguments in Hydra's grammar: settings, then flags (it reads none between them)."""
    given = sorted_arguments(command, typed)
    in_sweep = any(re.fullmatch(r"-m|--mu\w*", text) for text in given.flags)
    first = [f"{key}={hydra_text(key, str(text))}" for key, text in placed(command, given).items()]
    rest = [_hydra_setting(command.config, text, in_sweep=in_sweep) for text in given.settings]
    return [*first, *rest, *given.flags]


def plain_values(command: Command[Any], given: Arguments) -> dict[str, Any]:
    """Values by dotted name, as OmegaConf takes them; text is escaped against its references."""
    values: dict[str, Any] = {}
    for key, text in placed(command, given).items():
        values[key] = _escaped(text) if isinstance(text, str) else [_escaped(each) for each in text]
    for setting in given.settings:
        key, _, text = setting.partition("=")
        values[key] = _plain_value(command, key, text)
    return values


def _flags(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values, and the rest."""
    flags: list[str] = []
    rest: list[str] = []
    awaits_value = False
    for text in given:
        is_flag = text.startswith("-")
        (flags if is_flag or awaits_value else rest).append(text)
        awaits_value = is_flag and text in FLAGS_WITH_VALUE
    return flags, rest


def _whole_name(command: Command[Any], text: str) -> str:
    """With the whole name of the setting, where the argument has a short one."""
    key, equals, value = text.partition("=")
    return f"{command.short.get(key, key)}{equals}{value}"


def _is_setting(command: Command[Any], text: str, typed: str, *, surely: bool) -> bool:
    """Whether an argument is a setting, not positional; ValueError if it can be neither.

    Args:
        command: it is an argument of.
        text: the argument with the whole name of its setting.
        typed: the argument.
        surely: one of a known name is a setting whatever folder exists.
    """
    found = SETTING.match(text)
    if found is None:
        return not command.positional and re.fullmatch(r"~[\w.@/-]+", text) is not None
    if command.root and (found["sign"] or not command.positional):
        return True
    exists = os.path.exists(typed)
    if leaf_of(command.config, found["key"]) is not Leaf.UNKNOWN and not found["sign"]:
        return surely or not exists
    if not exists:
        raise ValueError(
            f"{typed!r}: {command.name} has no setting {found['key']!r}"
            f"{near(command.config, found['key'])}, and no folder of that name is here"
        )
    return False


def _hydra_setting(original: type, text: str, *, in_sweep: bool) -> str:
    """A setting in Hydra's grammar."""
    found = SETTING.match(text)
    if found is None:  # `~key`
        return parsed_by_hydra(text, NOT_UNDERSTOOD)
    key, value = found["key"], text[found.end() :]
    leaf = leaf_of(original, key)
    named = None if found["sign"] else within_free_names(original, key)
    if named is not None and (value or named[1]):
        return _added_entry(*named, value, leaf)
    if leaf in (Leaf.TEXT, Leaf.TEXT_OR_NONE):
        whole = not in_sweep or re.fullmatch(NEVER_SWEPT, key) is not None
        pieces = [value] if whole else split(value)
        value = ",".join(_hydra_piece(key, piece, leaf) for piece in pieces)
    elif leaf is Leaf.UNKNOWN and not found["sign"]:
        value = hydra_text(key, value)  # so that the name is what is wrong with it
    return parsed_by_hydra(f"{text[: found.end()]}{value}", NOT_UNDERSTOOD)


def _added_entry(dictionary: str, names: Sequence[str], value: str, leaf: Leaf) -> str:
    """Entries of a dictionary of settings, which Hydra merges with those that are there."""
    is_text = leaf in (Leaf.TEXT, Leaf.TEXT_OR_NONE)
    if is_text and not is_quoted(value) and (leaf is Leaf.TEXT or value != "null"):
        value = within_quotes(value)
    for name in reversed(names):
        value = f"{{{name}: {value}}}"
    return parsed_by_hydra(f"+{dictionary}={value}", NOT_UNDERSTOOD)


def _hydra_piece(key: str, value: str, leaf: Leaf) -> str:
    if (leaf is Leaf.TEXT_OR_NONE and value == "null") or is_quoted(value):
        return value
    return hydra_text(key, value)


def _plain_value(command: Command[Any], key: str, text: str) -> Any:
    """A setting's value by its type."""
    leaf = leaf_of(command.config, key)
    if leaf is Leaf.TEXT_OR_NONE and text == "null":
        return None
    if leaf in (Leaf.TEXT, Leaf.TEXT_OR_NONE):
        as_typed = key in command.as_typed or not is_quoted(text)
        return _escaped(text) if as_typed else unquoted(text)
    if leaf is Leaf.TEXTS and (key in command.lists or text.startswith("[")):
        inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        pieces = [piece for piece in split(inner) if piece]
        return [unquoted(piece) if is_quoted(piece) else _escaped(piece) for piece in pieces]
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"{f'{key}={text}'!r} {NOT_UNDERSTOOD}") from None


def _escaped(text: str) -> str:
    """A text that OmegaConf's references leave as it is (see quoting.py)."""
    return within_quotes(text, quotes=False)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as dictionaries within dictionaries."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        node = result
        for name in path:
            node = node.setdefault(name, {})
        node[last] = value
    return result
