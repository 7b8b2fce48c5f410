"""Where processes that try seeds are started: on machines of the Ray cluster without a GPU.

A process on a machine with GPUs would keep it from being given back, and take the CPUs of workers
that use them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import ray

from spectro.work.config import RunConfig
from spectro.work.threads import own_threads

logger = logging.getLogger(__name__)
MIN_TOKENS_TO_SPREAD = 100_000
"""Fewer tokens are clustered faster than another process maps the graph."""


@dataclass(frozen=True, kw_only=True)
class SeedPlace:
    """Room for one process."""

    num_cpus: int
    """CPUs to reserve, and threads."""
    node: str | None = None
    """Ray's id of its machine; None: any with room, or one that an autoscaler adds."""


def seed_places(
    run: RunConfig, num_tokens: int, num_present: int, num_starting: int
) -> list[SeedPlace]:
    """Where to start further processes beside this one.

    As many as `run.seed_processes`, though there be no room for them now: what waits makes an
    autoscaler act. Else one on every machine that has CPUs free; none while some are starting,
    whose CPUs still count as free.
    """
    if not ray.is_initialized():
        return []
    if run.seed_processes is not None:
        num_missing = max(0, run.seed_processes - num_present)
        num_cpus = 1 if run.ray_address is None else own_threads(run)
        free = [place for place in free_places() if place.num_cpus >= num_cpus]
        nodes = [place.node for place in free for _ in range(place.num_cpus // num_cpus)]
        chosen = [*nodes, *[None] * num_missing][:num_missing]
        return [SeedPlace(num_cpus=num_cpus, node=node) for node in chosen]
    if num_tokens < MIN_TOKENS_TO_SPREAD or run.ray_address is None or num_starting:
        return []  # without an address this process uses all cores of its machine
    return free_places()


def free_places() -> list[SeedPlace]:
    """Machines without a GPU that have CPUs free, with all that are free.

    Ray has no public call for the free resources of one machine (2.60); where it fails no machine
    counts as free.
    """
    plain = {
        node["NodeID"] for node in ray.nodes() if node["Alive"] and not node["Resources"].get("GPU")
    }
    try:
        free = ray._private.state.available_resources_per_node()
    except Exception as error:  # noqa: BLE001 - a private call may break in any way
        logger.warning("Ray does not name free CPUs by machine: %s", error)
        return []
    return [
        SeedPlace(num_cpus=int(resources["CPU"]), node=node)
        for node, resources in sorted(free.items())
        if node in plain and resources.get("CPU", 0) >= 1
    ]
