"""Commands that compose `conf/`: Hydra, and sweeps over its configurations.

`spectro pipeline -m seed=1,2,3 sampler=psgld,reweighted run.root=<folder>`: the runs of a sweep go
one after another in this process, each with all the workers, each in a run directory named by its
settings (ADR 051). So the same command resumes the whole; finished runs cost a listing. If the
first run that does any work fails, the others would most likely fail the same way and nothing
more is started. Later failures are kept, and named at the end.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from spectro.work.config import BY_FINGERPRINT
from spectro.work.errors import StoppedError

from .arguments import hydra_arguments
from .errors import FAILED, STOPPED, ConfigError, report
from .help import CONF
from .schema import choices, twin, validated

if TYPE_CHECKING:
    from .command import Command

T = TypeVar("T")
URI = "run.uri"


def run_composed(command: Command[T], typed: Sequence[str]) -> int:
    """Compose `conf/<root>.yaml` with the arguments, build and run each configuration.

    Returns: the exit status. Raises what is wrong with the arguments.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, instead of a report and status 1
    arguments = hydra_arguments(command, typed)
    _require_tokens_more(arguments)
    register(command.root, command.config)
    sweep, before, folder = Sweep(), sys.argv, os.getcwd()

    def composed(raw: DictConfig) -> None:
        if sweep.stopped:
            return
        os.chdir(folder)  # paths are those of the shell, whatever hydra.job.chdir is
        sweep.show_trace = bool(OmegaConf.select(raw, "run.debug", default=False))
        try:
            sweep.begin(raw)
            sweep.done(command.run(validated(command.config, raw)))
        except Exception as failure:  # reported below: Hydra would print a report of its own
            sweep.failed(failure)

    try:
        sys.argv = [before[0], *arguments]
        with tempfile.TemporaryDirectory(prefix="spectro-") as scratch:
            # Hydra writes a file into every sweep's folder, and numbers its members (hydra#3328).
            OmegaConf.register_new_resolver("spectro_scratch", lambda: scratch, replace=True)
            main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=command.root)
            main(composed)()
    except SystemExit as leave:  # --cfg, a malformed flag
        return leave.code if isinstance(leave.code, int) else 0
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
    return sweep.status(command.name)


def _require_tokens_more(arguments: Sequence[str]) -> None:
    """Raise ConfigError for settings of an addition without an addition."""
    more = [text for text in arguments if text.lstrip("+").startswith("more.")]
    if more and "tokens=more" not in arguments:
        raise ConfigError(f"{more[0]} says how many tokens are added: give tokens=more with it")


def register(name: str, original: type) -> None:
    """Put the schemas of a root config and of its choices into Hydra's ConfigStore."""
    store = ConfigStore.instance()
    store.store(name=f"{name}_schema", node=twin(original))
    hints = get_type_hints(original)
    for field in dataclasses.fields(original):
        for kind, member in choices(hints[field.name]).items():
            store.store(group=field.name, name=f"{kind}_schema", node=twin(member, kind))


class Sweep:
    """The runs of one invocation and their failures; a single run is a sweep of one."""

    def __init__(self) -> None:
        self.is_sweep = False
        self.stopped = False
        self.show_trace = False
        self.failures: list[tuple[str, Exception]] = []
        self._member = ""
        self._num_begun = 0
        self._any_done = False
        self._was_stopped = False

    def begin(self, raw: DictConfig) -> None:
        """Take a run's composed configuration; in a sweep it loses its `run.uri`.

        Raises ValueError if the command line gives all runs one place.
        """
        config = HydraConfig.get()
        self.is_sweep = config.mode == RunMode.MULTIRUN
        self._num_begun += 1
        if not self.is_sweep:
            return
        overrides = list(config.overrides.task)
        self._member = f"[{', '.join(o for o in overrides if not o.startswith('run.'))}]"
        if OmegaConf.select(raw, "run") is None:
            return
        for override in overrides:
            key, _, value = override.lstrip("+").partition("=")
            if key == URI and value not in ("null", BY_FINGERPRINT):
                raise ValueError(
                    f"{URI}={value} would be the place of every run of the sweep: give "
                    f"run.root={value} instead, each run has its own folder below it"
                )
        with open_dict(raw):
            raw.run.uri = None

    def done(self, result: Any) -> None:
        """A run ended well; `num_units` of its result counts the work it did."""
        if getattr(result, "num_units", 0) > 0:
            self._any_done = True

    def failed(self, error: Exception) -> None:
        """A run failed, or was stopped: that is meant for the whole sweep."""
        self.failures.append((self._member, error))
        self._was_stopped = isinstance(error, StoppedError)
        self.stopped = self._was_stopped or not self._any_done

    def status(self, name: str) -> int:
        """Report each failure, and for a sweep how many there are; the exit status."""
        statuses = [
            report(f"{name} {member}".strip(), error, show_trace=self.show_trace)
            for member, error in self.failures
        ]
        if not statuses:
            return 0
        if not self.is_sweep:
            return statuses[0]
        sys.stderr.write(f"{name}: {self._verdict()}\n")
        if STOPPED in statuses:
            return STOPPED
        return statuses[0] if self.stopped else FAILED

    def _verdict(self) -> str:
        count = f"{len(self.failures)} of {self._num_begun} runs failed"
        if self._was_stopped:
            return "stopped; the same command resumes"
        if self.stopped:
            return f"{count}, before any had done its work: the sweep was stopped"
        return f"{count}, the others are done; the same command tries the failed ones again"
