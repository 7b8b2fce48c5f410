"""Machines of the Ray cluster: which are alive, which are draining."""

from __future__ import annotations

import logging

import ray

logger = logging.getLogger(__name__)


def is_alive(node: str | None) -> bool:
    """Whether Ray counts a machine as alive; an unknown one is not."""
    return any(found["NodeID"] == node and found["Alive"] for found in ray.nodes())


def resources_of_nodes() -> list[dict[str, float]]:
    """Resources (`CPU`, `GPU`) of every machine that is alive."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def leaving_nodes() -> set[str]:
    """Ids of machines that Ray is draining: evicted, or sent SIGTERM.

    Ray has no public call for this yet; Ray Train and Ray Data use the same one (2.60). Where it
    fails no notice is taken, and an evicted machine costs its units as a dead one does.
    """
    try:
        return set(ray._private.state.state.get_draining_nodes())
    except Exception as error:  # noqa: BLE001 - a private call may break in any way
        logger.debug("Ray does not name draining machines: %s", error)
        return set()
