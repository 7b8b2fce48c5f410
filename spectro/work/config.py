"""Configuration of how a run is executed: place, workers, limits, checkpoints."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field

from spectro.storage.credentials import refuse_credentials
from spectro.storage.locations import resolve_location

BY_FINGERPRINT = "\0by fingerprint"
"""`run.uri` of a run whose place follows from its settings; in files and commands it is null. No
folder can have this name."""
TRACKERS = ("mlflow", "tensorboard", "wandb")
"""Names of experiment trackers; what each is, work/trackers.py says."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Place of a run, and how it is executed. Nothing here changes its numbers."""

    uri: str = field(default=BY_FINGERPRINT, metadata={"nullable": True})
    """Folder or URI of the run; made if absent, continued if it holds the same run. Null: a
    folder below `root`, named for the model, the sampler and the settings' fingerprint."""
    root: str = "runs"
    """Folder or URI of the runs without a `uri`."""
    num_workers: int | None = None
    """Workers with the model resident; None: as many as the cores allow, one per GPU if there
    are GPUs. 0 runs every unit in this process, without Ray."""
    threads_per_worker: int = 1
    """Threads of each worker's arithmetic; another number may change the last bits of χ."""
    gpus_per_worker: float | None = None
    """GPUs that Ray reserves per worker; None: 1 if the cluster has any and the model may use
    them."""
    cpu_worker_cores: int | None = None
    """CPUs that Ray reserves for a worker that holds no GPU, where others hold one: it does the
    tokens, clusters and the page; None: those of the largest machine without a GPU."""
    chains_per_unit: int = 1
    """Chains of a group that one worker steps together; the last unit has those that are left.
    More of them fill a large device; fewer leave more units for many workers. Memory grows with
    it; it may change the last bits of χ, as threads do, so another number goes on with a run."""
    ray_address: str | None = None
    """Ray cluster to join, such as `auto` or `ray://host:10001`; None starts one here."""
    max_errors: int = 3
    """Times that a unit may raise before it is set aside."""
    max_crashes: int = 5
    """Times that a unit's worker may die on a machine that lives on before the unit is set aside.
    Machines that are taken away (preemption) count against nothing."""
    max_losses: int = 4
    """Times that a unit may lose its machine without notice and without having come further before
    it is set aside: a unit that needs more memory or disk than a pod has takes the pod with it."""
    drain_seconds: float = 75.0
    """How long workers may take to hand their units back when the run is stopped."""
    deadline_hours: float | None = None
    """The run hands everything back and stops after so many hours, with `job` over all attempts of
    that job; None: never."""
    job: str | None = None
    """Name of a submission, whose attempts count together towards `deadline_hours`; None: every
    invocation counts alone. `spectro render` gives one."""
    price_per_gpu_hour: float | None = None
    """What a GPU costs an hour, in any currency; None: `spectro status` shows hours alone."""
    max_gpu_hours: float | None = None
    """The run hands everything back and stops when its workers have held GPUs for so long, over all
    its invocations; None: never."""
    max_cost: float | None = None
    """The same in money, by `price_per_gpu_hour`; None: never."""
    webhook: str | None = None
    """http(s) URL that gets a JSON object by POST when the run is done, stops or fails, or has had
    no worker for an hour; None: none."""
    trackers: tuple[str, ...] = ()
    """Experiment trackers that receive status, bill and figures: `mlflow`, `tensorboard`, `wandb`,
    each at the place that its own environment variables name; empty: none."""
    idle_minutes: float | None = 60.0
    """The run stops when no unit has made progress for so long; None: never. So a unit that hangs
    does not keep machines overnight."""
    beat_seconds: float = 20.0
    """Time between heartbeats in storage, for `spectro status`."""
    checkpoint_seconds: float = 60.0
    """Least time between the checkpoints of a pilot, a chain or a tile, > 0; longer where writing
    one takes more than a twentieth of it."""
    keep_draws: bool = True
    """Keep the draws of the chains, so that more tokens can be measured along them later."""
    keep_halves: bool = True
    """Keep χ of two halves of the chains beside the product, for the stability of clusters; 8 bytes
    per token and component, nothing with one chain. Shards that were measured without keep none:
    their tiles are gone. To have them all, give it before the first invocation."""
    scratch: str | None = None
    """Folder for large files of a machine while clusters are looked for, about
    N · (4 D + 20 k) bytes for N tokens; None: the system's folder for temporary files."""
    clusters: str = "clusters"
    """Folder of the clusters within the run: another one, `clusters-k30`, for another clustering
    beside the first."""
    seed_processes: int | None = None
    """Processes that try seeds beside the one that looks for clusters; None: as many as the Ray
    cluster has room for while they are looked for (they join, and stay to the end), none for few
    tokens. The clusters do not depend on it."""
    debug: bool = False
    """Show tracebacks on the terminal."""

    def __post_init__(self) -> None:
        refuse_credentials(dataclasses.asdict(self), "run")
        if self.uri != BY_FINGERPRINT:
            resolve_location(self.uri)
        if self.num_workers is not None and self.num_workers < 0:
            raise ValueError(f"run.num_workers must be at least 0, found {self.num_workers}")
        for name in (
            "threads_per_worker", "chains_per_unit", "max_errors", "max_crashes", "max_losses",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"run.{name} must be at least 1, found {getattr(self, name)}")
        for name in (
            "checkpoint_seconds", "drain_seconds", "deadline_hours", "idle_minutes", "beat_seconds",
            "max_gpu_hours", "max_cost", "price_per_gpu_hour", "cpu_worker_cores",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"run.{name} must be above 0, found {value}")
        if self.max_cost is not None and self.price_per_gpu_hour is None:
            raise ValueError("run.max_cost needs run.price_per_gpu_hour: what a GPU costs an hour")
        if self.webhook is not None and not re.match(r"https?://[^/]", self.webhook):
            raise ValueError(f"run.webhook must be a URL of http or https, found {self.webhook!r}")
        if unknown := [name for name in self.trackers if name not in TRACKERS]:
            raise ValueError(
                f"run.trackers has {unknown[0]!r}, expected of {', '.join(TRACKERS)}: a list such "
                "as run.trackers=[mlflow]"
            )
        if not re.fullmatch(r"clusters(-[a-z0-9]+)*", self.clusters):
            raise ValueError(
                f"run.clusters must be 'clusters' or 'clusters-' and a name of small letters and "
                f"digits, found {self.clusters!r}"
            )
        if self.seed_processes is not None and self.seed_processes < 0:
            raise ValueError(f"run.seed_processes must be at least 0, found {self.seed_processes}")
        if self.gpus_per_worker is not None and self.gpus_per_worker < 0:
            raise ValueError(f"run.gpus_per_worker must be ≥ 0, found {self.gpus_per_worker}")
