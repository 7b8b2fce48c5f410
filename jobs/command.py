"""How a command is declared, and what all have in common: arguments, configuration, exit status.

A command is a dataclass of its settings and a function that takes it. Commands that run something
name a file of `conf/` (`root`), which Hydra composes with its groups and sweeps (hydra_run.py);
commands that only read take the dataclasses' defaults and start without Hydra. The function
imports what it needs itself, so that `--help` and wrong arguments do not wait for torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .arguments import Arguments, nested, plain_values, sorted_arguments
from .errors import INTERRUPTED, report
from .help import help_text
from .schema import validated

T = TypeVar("T")
_given: ContextVar[tuple[str, ...]] = ContextVar("given", default=())
_trusted: ContextVar[bool] = ContextVar("trusted", default=False)
TRUST = ("--trust", "trust=true")


@dataclass(frozen=True, kw_only=True)
class Command(Generic[T]):
    """One command of `spectro`."""

    name: str
    """As typed."""
    config: type[T]
    """Dataclass of its settings; their docstrings are its help."""
    run: Callable[[T], object]
    """Does the work; the docstring of its module is the description that `--help` shows."""
    root: str = ""
    """File of `conf/` that Hydra composes; empty: the dataclasses' defaults."""
    usage: str = "[key=value ...]"
    """Arguments, for help."""
    positional: tuple[str, ...] = ()
    """Settings that arguments without a name stand for, in their order."""
    any_number: bool = False
    """Whether the one positional setting takes all arguments without a name."""
    short: Mapping[str, str] = field(default_factory=dict)
    """Short name of a setting → whole name."""
    as_typed: tuple[str, ...] = ()
    """Texts whose quotes are their own."""
    lists: tuple[str, ...] = ()
    """Lists that may be given without brackets."""
    may_trust: bool = False
    """Whether `--trust` lets it read files that a run of somebody else names (trust.py)."""

    def main(self) -> int:
        """Parse `sys.argv`, build the configuration, run; returns the exit status."""
        typed = sys.argv[1:]
        if {"-h", "--help"} & set(typed):
            print(help_text(self))
            return 0
        trusted = self.may_trust and any(text in TRUST for text in typed)
        if trusted:
            typed = [text for text in typed if text not in TRUST]
        show_trace = any(text.endswith("debug=true") for text in typed)
        try:
            given = sorted_arguments(self, typed)
            keys = [*given.keys, *self.positional[: len(given.positional)]]
            with given_settings(keys, trusted=trusted):
                if self.root:
                    from .hydra_run import run_composed  # Hydra, for commands that compose conf/

                    return run_composed(self, typed)
                return self._run_plain(given)
        except KeyboardInterrupt:
            sys.stderr.write(f"{self.name}: interrupted; the same command resumes\n")
            return INTERRUPTED
        except Exception as error:
            return report(self.name, error, show_trace=show_trace)

    def _run_plain(self, given: Arguments) -> int:
        if unknown := [flag for flag in given.flags if flag not in ("--cfg", "-c", "job")]:
            raise ValueError(f"{unknown[0]!r}: {self.name} has the options --help and --cfg job")
        raw = nested(plain_values(self, given))
        if given.flags:
            from .schema import as_yaml

            print(as_yaml(self.config, raw), end="")
            return 0
        self.run(validated(self.config, raw))
        return 0


@contextmanager
def given_settings(keys: Sequence[str], *, trusted: bool = False) -> Iterator[None]:
    """Names of the settings on the command line, for `is_given`, and whether it has `--trust`,
    while the block lasts."""
    tokens = _given.set(tuple(keys)), _trusted.set(trusted)
    try:
        yield
    finally:
        _given.reset(tokens[0])
        _trusted.reset(tokens[1])


def is_trusted() -> bool:
    """Whether the command line has `--trust`."""
    return _trusted.get()


def settings_given() -> tuple[str, ...]:
    """Names of the settings on the command line: `run.uri`, `cluster`; none outside a command."""
    return _given.get()


def is_given(group: str, *, but: Sequence[str] = ()) -> bool:
    """Whether the command line has a setting of a group, other than those in `but`."""
    return any(key.split(".")[0] == group and key not in but for key in settings_given())
