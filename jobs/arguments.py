"""What a job makes of its arguments before Hydra parses them.

The rule, the same for every job and for `spectro <job>` as for `python -m jobs.<job>`:

- `key=value` is a setting if the job has a setting of that name. Text (paths, names, SQL, tokens)
  is taken as it was typed: `#`, `=`, commas, quotes, brackets, `$`, spaces, numbers mean nothing.
  `null` is no value where a setting may have none (`./null` is a folder). Text between two quotes
  of one kind is what is between them, as Hydra reads it, with references (`'"runs/${seed}"'`);
  SQL and tokens keep their quotes.
- What is not text (numbers, lists in [ ], dictionaries in { }, files of a group) is Hydra's.
- With `-m` a comma separates the values of a setting, unless it is between quotes or brackets:
  `tokens.subsets.text.path=a,b` are two, `'"a,b"',c` are `a,b` and `c`. Settings in `NEVER_SWEPT`
  (`run.*`, files that are written, SQL) are taken whole.
- Other arguments are places, in the job's order (`PLACES`): a run, then perhaps SQL or a file. An
  argument like `lr=3` is a place if the job has no setting `lr`, or if it is the first one, no
  other names the run, and a folder `lr=3` is there. It must be there; `./lr=3` always is a place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from jobs.known import Leaf, leaf_of, near
from jobs.quoting import is_quoted, plain, split, within_quotes

PLACES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("status", "verify", "resume", "cluster", "report", "assign"), ("run.uri",)),
    **dict.fromkeys(("map", "matrix", "figure", "diagnose"), ("run.uri",)),
    "runs": ("runs.root",),
    "query": ("run.uri", "query.sql"),
    "text": ("run.uri", "file"),
    "upsample": ("run.uri", "upsample.uri"),
    "compare": ("compare.places",),
    "across": ("runs",),
}
"""Settings that arguments without a name stand for, in their order, by job."""
MANY = ("compare.places", "runs")
"""Of these any number of arguments."""
SHORT = {
    "query": {
        name: f"query.{name}"
        for name in ("sql", "near", "k", "show", "cluster", "find", "format", "out", "limit")
    },
    "diagnose": {
        name: f"diagnose.{name}" for name in ("components", "format", "out", "panels", "theme")
    },
    "assign": {"from": "source"},  # `from` is a word of Python's
    "figure": {"cluster": "cluster_id"},  # `cluster` is a group of Hydra's
}
"""Other names of settings, by job."""
AS_TYPED = ("query.sql", "query.find", "token")
"""Text whose quotes are its own."""
NEVER_SWEPT = (
    r"run\..*|(.*\.)?(sql|find|token|title|out|rates_out|out_dir|work_dir|file|export|source|"
    r"scratch)"
)
LISTS = ("diagnose.components",)
"""Lists that may be given without brackets."""
FLAGS_WITH_VALUE = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd", "--info", "-i", "--experimental-rerun",
)  # fmt: skip
SETTING = re.compile(
    r"(?P<sign>\+{0,2}|~)(?P<key>[A-Za-z_$][\w$.-]*(?:/[\w-]+)*(?:@[\w.$:-]*)?)=", re.ASCII
)


def hydra_arguments(job: str, original: type, given: Sequence[str]) -> list[str]:
    """The arguments in Hydra's words: settings, then flags (between them it reads no settings).

    Args:
        job: its name.
        original: dataclass of its whole configuration.
        given: what was typed after the job's name.

    Raises ValueError, in one line that names the argument, for one that is not understood.
    """
    flags, rest = _flags(given)
    in_sweep = any(re.fullmatch(r"-m|--mu\w*", text) for text in flags)
    named = [_renamed(job, text) for text in rest]
    keys = {found["key"] for text in named if (found := SETTING.match(text))}
    settings: list[str] = []
    places: list[str] = []
    for typed, text in zip(rest, named, strict=True):
        names_no_run = typed is not rest[0] or bool(keys & set(PLACES.get(job, ())))
        if _is_setting(job, original, text, typed, surely=names_no_run):
            settings.append(_setting(original, text, in_sweep=in_sweep))
        else:
            places.append(typed)
    return [*_placed(job, places, keys), *settings, *flags]


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


def _renamed(job: str, text: str) -> str:
    """With the whole name of the setting, where the argument has a short one."""
    key, equals, value = text.partition("=")
    return f"{SHORT.get(job, {}).get(key, key)}{equals}{value}"


def _is_setting(job: str, original: type, text: str, typed: str, *, surely: bool) -> bool:
    """Whether an argument is a setting, not a place; ValueError if it can be neither.

    Args:
        job: its name.
        original: dataclass of its configuration.
        text: the argument with the whole name of its setting.
        typed: the argument.
        surely: one of a known name is a setting whatever folder is there.
    """
    found = SETTING.match(text)
    if found is None:
        return job not in PLACES and re.fullmatch(r"~[\w.@/-]+", text) is not None
    if found["sign"] or job not in PLACES:
        return True
    is_there = os.path.exists(typed)
    if leaf_of(original, found["key"]) is not Leaf.UNKNOWN:
        return surely or not is_there
    if not is_there:
        raise ValueError(
            f"{typed!r}: {job} has no setting {found['key']!r}{near(original, found['key'])}, and "
            "no folder of that name is here"
        )
    return False


def _placed(job: str, places: Sequence[str], keys: set[str]) -> list[str]:
    """Places under the names of their settings; ValueError if there are more than the job takes."""
    slots = [slot for slot in PLACES.get(job, ()) if slot not in keys]
    if places and slots and slots[0] in MANY:
        return [f"{slots[0]}=[{','.join(within_quotes(text) for text in places)}]"]
    if len(places) > len(slots):
        text = places[len(slots)]
        raise ValueError(
            f"{text!r} is not understood: expected settings as key=value"
            + (f" after {' and '.join(slots)}" if slots else "")
        )
    return [f"{slot}={plain(slot, text)}" for slot, text in zip(slots, places, strict=False)]


def _setting(original: type, text: str, *, in_sweep: bool) -> str:
    """A setting in Hydra's grammar."""
    found = SETTING.match(text)
    if found is None:  # `~key`
        return _parsed(text)
    key, value = found["key"], text[found.end() :]
    leaf = leaf_of(original, key)
    if key in LISTS and not value.startswith("["):
        value = f"[{','.join(within_quotes(each) for each in value.split(','))}]"
    elif leaf in (Leaf.TEXT, Leaf.TEXT_OR_NONE):
        whole = not in_sweep or re.fullmatch(NEVER_SWEPT, key) is not None
        pieces = [value] if whole else split(value)
        value = ",".join(_text(key, piece, leaf) for piece in pieces)
    elif leaf is Leaf.UNKNOWN and not found["sign"]:
        value = plain(key, value)  # so that the name is what is wrong with it
    return _parsed(f"{text[: found.end()]}{value}")


def _text(key: str, value: str, leaf: Leaf) -> str:
    if leaf is Leaf.TEXT_OR_NONE and value == "null":
        return value
    if key not in AS_TYPED and is_quoted(value):
        return value
    return plain(key, value)


def _parsed(text: str) -> str:
    """The same text, which Hydra can parse; ValueError, naming it, otherwise."""
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        raise ValueError(
            f"{text!r} is not understood: expected key=value with a number, a text, a list [a,b] "
            "or {name: value}; a text in a list with , : = [ ] { } ( ) # or quotes needs quotes "
            "inside those of the shell, as in 'key=[\"a,b\",c]'"
        ) from None
    return text
