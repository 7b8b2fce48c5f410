"""One line and an exit status for every error of a command.

0: done. 1: work failed. 2: wrong input, found before anything is started or written. 3: a limit of
the run was reached (deadline, GPU-hours, cost). 75: stopped in order (SIGTERM, idleness) or storage
did not answer, the same command resumes. 130: interrupted. In a Ray job 2, 3, and units that were
set aside or refused are final: the job is stopped, so that it is not retried.
"""

from __future__ import annotations

import difflib
import re
import sys
import traceback
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from spectro.extras import missing_extra
from spectro.storage.retry import StorageUnavailableError
from spectro.work import ray_job
from spectro.work.errors import LimitReachedError, StoppedError, UnitError, one_line

FAILED, WRONG_INPUT, LIMIT_REACHED, STOPPED, INTERRUPTED = 1, 2, 3, 75, 130


class ConfigError(ValueError):
    """The configuration is wrong; the message is one line."""


def report(name: str, error: Exception, *, show_trace: bool) -> int:
    """Print the error in one line, after a traceback on request; returns the exit status.

    The Ray job of this process, if it is one, is stopped where another attempt would end the same.
    """
    if show_trace:
        traceback.print_exception(error)
    cause = _omegaconf_cause(error)
    if cause is not None:
        line, status = omegaconf_line(cause), WRONG_INPUT
    elif (missing := missing_extra(error)) is not None:
        line, status = missing, WRONG_INPUT
    elif isinstance(error, UnitError):
        line, status = one_line(error), FAILED
    elif isinstance(error, LimitReachedError):
        line, status = one_line(error), LIMIT_REACHED
    elif isinstance(error, StoppedError | StorageUnavailableError):
        line, status = one_line(error), STOPPED
    elif isinstance(error, ValueError | OSError) or _is_hydra(error):
        line, status = _hydra_line(error), WRONG_INPUT
    else:
        line = f"unexpected {one_line(error)} (run.debug=true shows the traceback)"
        status = FAILED
    sys.stderr.write(f"{name}: {line}\n")
    if isinstance(error, UnitError) or status in (WRONG_INPUT, LIMIT_REACHED):
        sys.stderr.flush()
        ray_job.stop_own_job(line)
    return status


def _is_hydra(error: Exception) -> bool:
    """Whether it is a `HydraException`; Hydra is loaded only where a command composes conf/."""
    return any(base.__module__ == "hydra.errors" for base in type(error).__mro__)


def _omegaconf_cause(error: BaseException | None) -> OmegaConfBaseException | None:
    """The OmegaConf error behind a Hydra one."""
    while error is not None and not isinstance(error, OmegaConfBaseException):
        error = error.__cause__ or error.__context__
    return error


def omegaconf_line(error: OmegaConfBaseException) -> str:
    """`sampler.gama: unknown key; did you mean gamma? (known: …)`."""
    place = str(error.full_key or error.key or "config")
    key = str(error.key)
    known = [str(k) for k in error.parent_node] if _is_mapping(error.parent_node) else []
    known = [name for name in known if name != "hydra"]
    if "not in '" in str(error) and known and key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{place}: unknown key; {hint}(known: {', '.join(known)})"
    if "is not a ListConfig" in str(error):
        found = error.value
        shown = f", as in {place}=[{found}]" if isinstance(found, str | int | float) else ""
        return f"{place} must be a list{shown}; found {found!r}"
    return f"{place}: {str(error).splitlines()[0]}"


def _hydra_line(error: Exception) -> str:
    """A message on one line; for an option that a group does not have, those that it has."""
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
