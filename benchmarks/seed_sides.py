"""The two sides of `cluster_peers`: a seed in, what was found and what it took out."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.local.seed_proposal import (
    Proposal,
    SeedParameters,
    propose_cluster,
    seed_parameters,
)
from spectro.clustering.local.workspace import Workspace

ALPHA = 0.001
PEER_PUSHES = 1_000_000
"""The peer's own default; with 1e-7 it is what ends its pushes."""
Answer = dict[str, Any]


class Peer:
    """The peer's process, holding one graph."""

    def __init__(self, python: str, library: Path | None, graph: Path) -> None:
        path = {"PYTHONPATH": str(library)} if library else {"PYTHONPATH": ""}
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("lgc_side.py")), str(graph)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **path},
        )
        self.versions = self._read()["versions"]

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def ask(self, seed: int, epsilon: float, *, vector: bool = False, **more: Any) -> Answer:
        """Push and sweep from one seed."""
        request = {"seed": seed, "epsilon": epsilon, "vector": vector, "alpha": ALPHA}
        assert self._process.stdin is not None
        pushes = {"max_pushes": PEER_PUSHES}
        self._process.stdin.write(json.dumps({**request, **pushes, **more}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                "the peer's process ended without an answer (its error is above): is "
                "localgraphclustering 0.6.1 installed there, with numpy < 2 and its library built?"
            )
        found: Answer = json.loads(line)
        return found


class Ours:
    """This project's push and sweep, with the rule given or as a user gets it."""

    def __init__(self, graph: Graph, rule: SeedParameters) -> None:
        self._graph, self._rule = graph, rule
        self._workspace = Workspace(np.zeros(graph.num_nodes, np.uint8))
        self._try(0)  # compiles

    def ask(self, seed: int) -> Answer:
        """Push and sweep from one seed."""
        clock, processor = time.perf_counter(), time.process_time()
        found = self._try(seed)
        return {
            "seconds": time.perf_counter() - clock,
            "processor_seconds": time.process_time() - processor,
            "members": found.tokens.tolist(),
            "conductance": found.conductance,
            "edges": found.num_edges,
        }

    def _try(self, seed: int) -> Proposal:
        return propose_cluster(self._graph, self._rule, seed, self._workspace)


def same_rule(graph: Graph, epsilon: float) -> SeedParameters:
    """What the peer does: least conductance of all that was pushed to."""
    published = seed_parameters(graph, ClusterConfig.published())
    return replace(
        published, alpha=ALPHA, epsilon=epsilon, max_pushes=PEER_PUSHES, min_size=1, min_rise=1.0
    )
