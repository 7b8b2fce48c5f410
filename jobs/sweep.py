"""A sweep: `spectro pipeline -m seed=1,2,3 sampler=psgld,reweighted run.root=<folder>`.

Members run one after another in this process, each with all the workers, each in a run directory
named by its settings (ADR 051). So the same command resumes the whole; finished members cost a
listing. The first member that does any work is the canary: if it fails, the others would most
likely fail the same way and nothing more is started. Later failures are kept, and named at the end.
"""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from spectro.config import BY_FINGERPRINT
from spectro.pipeline.run import Finished
from spectro.work.errors import StoppedError

URI = "run.uri"


class Sweep:
    """What became of the members of one invocation; a single job is a sweep of one."""

    def __init__(self) -> None:
        self.is_sweep = False
        self.stopped = False
        self.failures: list[tuple[str, Exception]] = []
        self._member = ""
        self._num_begun = 0
        self._canary_lives = False
        self._was_told = False

    def open_member(self, raw: DictConfig) -> None:
        """Take a member's composed configuration; in a sweep it loses its `run.uri`.

        Raises ValueError if the command line gives all members one place.
        """
        hydra = HydraConfig.get()
        self.is_sweep = hydra.mode == RunMode.MULTIRUN
        self._num_begun += 1
        if not self.is_sweep:
            return
        overrides = list(hydra.overrides.task)
        self._member = f"[{', '.join(o for o in overrides if not o.startswith('run.'))}]"
        if OmegaConf.select(raw, "run") is None:
            return
        for override in overrides:
            key, _, value = override.lstrip("+").partition("=")
            if key == URI and value not in ("null", BY_FINGERPRINT):
                raise ValueError(
                    f"{URI}={value} would be the place of every member of the sweep: give "
                    f"run.root={value} instead, each member has a folder of its own below it"
                )
        with open_dict(raw):
            raw.run.uri = None

    def done(self, result: object) -> None:
        """A member ended well; if it did work, the canary lives."""
        if isinstance(result, Finished) and result.num_units > 0:
            self._canary_lives = True

    def failed(self, error: Exception) -> None:
        """A member failed, or was told to stop: that is meant for the whole sweep."""
        self.failures.append((self._member, error))
        self._was_told = isinstance(error, StoppedError)
        self.stopped = self._was_told or not self._canary_lives

    def verdict(self) -> str:
        """One line over all members."""
        count = f"{len(self.failures)} of {self._num_begun} members failed"
        if self._was_told:
            return "stopped; the same command goes on where this stopped"
        if self.stopped:
            return f"{count}, before any had done its work: the sweep was stopped"
        return f"{count}, the others are done; the same command tries the failed ones again"
