"""What every job has in common: compose, validate, run, one line on error, exit status.

Status 0: done. 1: work failed. 2: the user's input is wrong, said before anything is started
or written. 75: stopped in order (SIGTERM, deadline), to be gone on with. 130: interrupted. The
traceback goes to the run's log, to the terminal only with run.debug=true. Of a sweep (-m) see
jobs/sweep.py.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jobs.arguments import hydra_arguments
from jobs.schema import build, choices, twin
from jobs.sweep import Sweep
from spectro.storage.retry import StorageUnavailableError
from spectro.work.errors import StoppedError, UnitError, one_line

T = TypeVar("T")
CONF = str(Path(__file__).parent.parent / "conf")
FAILED, WRONG_INPUT, STOPPED, INTERRUPTED = 1, 2, 75, 130


class ConfigError(ValueError):
    """The configuration is wrong; the message is one line."""


def launch(name: str, root: str, original: type[T], task: Callable[[T], object]) -> int:
    """Compose `conf/<root>.yaml` with the command line, build it, do the task.

    Args:
        name: of the job, for messages.
        root: name of its root config.
        original: the frozen dataclass of the whole configuration.
        task: what to do with it; gives `Finished` where it did the work of a run.

    Returns: the exit status.
    """
    # Makes Hydra raise instead of printing its own report and leaving with status 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    os.environ["HYDRA_MAIN_MODULE"] = f"jobs.{name}"  # what --help calls this job
    show_trace, folder = False, ""
    sweep = Sweep()

    def composed(raw: DictConfig) -> None:
        nonlocal show_trace
        if sweep.stopped:
            return
        os.chdir(folder)  # paths are those of the shell, whatever hydra.job.chdir is
        show_trace = bool(OmegaConf.select(raw, "run.debug", default=False))
        try:
            sweep.open_member(raw)
            sweep.done(task(validated(original, raw)))
        except Exception as failure:  # told below: Hydra would print a report of its own
            sweep.failed(failure)

    typed = sys.argv
    try:
        folder = os.getcwd()
        sys.argv = [typed[0], *hydra_arguments(name, original, typed[1:])]
        _require_tokens_more(sys.argv[1:])
        register(root, original)
        with tempfile.TemporaryDirectory(prefix="spectro-") as scratch:
            # Hydra writes a file into every sweep's folder, and numbers its members (hydra#3328).
            OmegaConf.register_new_resolver("spectro_scratch", lambda: scratch, replace=True)
            hydra.main(version_base="1.3", config_path=CONF, config_name=root)(composed)()
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted; the same command goes on where this stopped\n")
        return INTERRUPTED
    except SystemExit as leave:  # --help, --cfg, a malformed flag
        return leave.code if isinstance(leave.code, int) else 0
    except Exception as error:
        return _report(name, error, show_trace=show_trace)
    finally:
        sys.argv = typed
        GlobalHydra.instance().clear()
    return _tell_failures(name, sweep, show_trace=show_trace)


def _require_tokens_more(arguments: Sequence[str]) -> None:
    """Raise ConfigError for settings of an addition without an addition."""
    more = [text for text in arguments if text.lstrip("+").startswith("more.")]
    if more and "tokens=more" not in arguments:
        raise ConfigError(f"{more[0]} says how many tokens are added: give tokens=more with it")


def _tell_failures(name: str, sweep: Sweep, *, show_trace: bool) -> int:
    """A line for each failure, for a sweep one more that counts them; the exit status."""
    statuses = [
        _report(f"{name} {member}".strip(), error, show_trace=show_trace)
        for member, error in sweep.failures
    ]
    if not statuses:
        return 0
    if not sweep.is_sweep:
        return statuses[0]
    sys.stderr.write(f"{name}: {sweep.verdict()}\n")
    if STOPPED in statuses:
        return STOPPED
    return statuses[0] if sweep.stopped else FAILED


def register(name: str, original: type) -> None:
    """Put the schemas of a root config and of its choices into Hydra's ConfigStore."""
    store = ConfigStore.instance()
    store.store(name=f"{name}_schema", node=twin(original))
    hints = get_type_hints(original)
    for field in dataclasses.fields(original):
        for kind, member in choices(hints[field.name]).items():
            store.store(group=field.name, name=f"{kind}_schema", node=twin(member, kind))


def validated(original: type[T], raw: Any) -> T:
    """The frozen configuration of a composed one.

    Raises ConfigError, in one line.
    """
    try:
        typed = OmegaConf.merge(OmegaConf.structured(twin(original)), raw)
        OmegaConf.resolve(typed)
        return build(original, typed)
    except OmegaConfBaseException as error:
        raise ConfigError(_omegaconf_line(error)) from error


def _report(name: str, error: Exception, *, show_trace: bool) -> int:
    """Say it in one line; returns the exit status."""
    if show_trace:
        traceback.print_exception(error)
    cause = _omegaconf_cause(error)
    if cause is not None:
        line, status = _omegaconf_line(cause), WRONG_INPUT
    elif isinstance(error, UnitError | StorageUnavailableError):
        line, status = one_line(error), FAILED
    elif isinstance(error, StoppedError):
        line, status = one_line(error), STOPPED
    elif isinstance(error, HydraException | ValueError | OSError):
        line, status = _hydra_line(error), WRONG_INPUT
    else:
        line = f"unexpected {one_line(error)} (run.debug=true shows the traceback)"
        status = FAILED
    sys.stderr.write(f"{name}: {line}\n")
    return status


def _omegaconf_cause(error: BaseException | None) -> OmegaConfBaseException | None:
    """The OmegaConf error behind a Hydra one."""
    while error is not None and not isinstance(error, OmegaConfBaseException):
        error = error.__cause__ or error.__context__
    return error


def _omegaconf_line(error: OmegaConfBaseException) -> str:
    """`sampler.gama: unknown key; did you mean gamma? (known: …)`."""
    place = str(error.full_key or error.key or "config")
    key = str(error.key)
    known = [str(k) for k in error.parent_node] if _is_mapping(error.parent_node) else []
    known = [name for name in known if name != "hydra"]
    if "not in '" in str(error) and known and key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{place}: unknown key; {hint}(known: {', '.join(known)})"
    if "is not a ListConfig" in str(error):
        found = error.value
        shown = f", as in {place}=[{found}]" if isinstance(found, str | int | float) else ""
        return f"{place} must be a list{shown}; found {found!r}"
    return f"{place}: {str(error).splitlines()[0]}"


def _hydra_line(error: Exception) -> str:
    """Hydra's message on one line; for a group's option that is not there, those that are."""
    text = " ".join(str(error).split())
    absent = re.search(r"Could not find '(.*?)/([^/']*)'.*?Available options in '.*?': (.*)", text)
    if absent is None:
        return text
    group, option, rest = absent.groups()
    options = rest.split(" Config search path")[0].split()
    names = [name for name in options if not name.endswith("_schema")]
    return f"{group}: no option {option!r}; conf/{group} has {', '.join(names)}"


def _is_mapping(node: Any) -> bool:
    return isinstance(node, DictConfig) and not node._is_none() and not node._is_missing()
