"""How stable clusters are for so many draws and tokens: a table, from per-draw losses.

    python -m benchmarks.stability synthetic [tokens=8192,16384] [draws=4,8,16]
    python -m benchmarks.stability <deltas.npz> [tokens=…] [draws=…] [k=20] [reach=500] [out=x.json]

`deltas.npz` has `delta_HRN`, Δℓ of every component, draw and token (draws in antithetic pairs
2i, 2i + 1), `delta_HR`, ΔL of the same draws on the evaluation set, and `y_N`. Restricted
χ = −mean over draws of ΔL (Δℓ − ΔL) is formed for so many draws and either half of them, columns to
unit variance, rows to mean zero. A line for each pair of settings:

    shared      of the k nearest neighbours, the share that both halves have (all tokens)
    clusters    of all draws; `hold`: how many hold (spectro/clustering/holds.py)
    J halves    median over clusters of the lesser best Jaccard index in the halves; of those that
                hold in brackets
    ceiling     median best Jaccard index among clusters from other seeds of the same χ
    other seed  median best Jaccard index, and share matched at 0.5, in a run with another seed
    one y       median share of the commonest y, of those that hold
    edges, s    edges visited by the seeds of the whole, and seconds for the whole and both halves
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.clusters import by_size
from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.weighted_graph import self_tuning_graph
from spectro.clustering.holds import HalvesEvidence, holds
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.search import nearest_neighbours
from spectro.clustering.list_agreement import neighbour_agreement
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.rounds import find_clusters
from spectro.clustering.local.seed_executor import thread_executor
from spectro.clustering.matching import Clustering, best_matches, stability
from spectro.clustering.significance import TokenGroups, benjamini_hochberg, p_values, q_of_matches

NUM_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class Deltas:
    """What χ is made of."""

    delta_HRN: NDArray[np.floating]
    """Δℓ of every draw on every token, nats."""
    delta_HR: NDArray[np.floating]
    """ΔL of the same draws on the evaluation set, nats."""
    y_N: NDArray[np.integer]
    """y of every token."""

    def vectors(self, draws: slice, num_tokens: int) -> NDArray[np.float32]:
        """Restricted χ of some draws, columns to unit variance, rows to mean zero, [N, H]."""
        mean_HR = self.delta_HR[:, draws]
        chi_HN = np.stack(
            [
                -((delta_RN[draws, :num_tokens] - mean_R[:, None]) * mean_R[:, None]).mean(axis=0)
                for delta_RN, mean_R in zip(self.delta_HRN, mean_HR, strict=True)
            ]
        )
        scaled_NH = ((chi_HN - chi_HN.mean(1, keepdims=True)) / chi_HN.std(1, keepdims=True)).T
        return (scaled_NH - scaled_NH.mean(axis=1, keepdims=True)).astype(np.float32)


def synthetic(num_tokens: int, num_draws: int, seed: int = 0) -> Deltas:
    """Planted groups of 40 among tokens of 100 values of y; a draw's noise is as large as χ."""
    rng = np.random.default_rng(seed)
    num_components, num_groups = 12, num_tokens // 100
    y_N = rng.integers(100, size=num_tokens)
    label_N = rng.permutation(num_tokens) % (5 * num_groups // 2)
    response_NH = 0.5 * rng.normal(size=(100, num_components))[y_N]
    inside_N = label_N < num_groups
    response_NH[inside_N] += 2 * rng.normal(size=(num_groups, num_components))[label_N[inside_N]]
    response_NH += 0.3 * rng.normal(size=response_NH.shape)
    mean_HR = 1 + 0.2 * rng.normal(size=(num_components, num_draws))
    noise_HRN = 2 * rng.normal(size=(num_components, num_draws, num_tokens))
    delta_HRN = mean_HR[:, :, None] - response_NH.T[:, None] + noise_HRN
    return Deltas(delta_HRN=delta_HRN.astype(np.float32), delta_HR=mean_HR, y_N=y_N)


def found_in(x_ND: NDArray[np.float32], config: ClusterConfig) -> tuple[Neighbours, SelectionState]:
    """Neighbour lists and clusters."""
    lists = nearest_neighbours(x_ND, config.num_neighbours)
    graph = self_tuning_graph(lists, num_threads=NUM_THREADS)
    return lists, find_clusters(graph, config, thread_executor(NUM_THREADS))


def members_of(state: SelectionState) -> list[NDArray[np.int32]]:
    """Tokens of every cluster, largest first."""
    return [cluster.tokens for cluster in by_size(state)]


def evidence(
    members: list[NDArray[np.int32]],
    halves: list[tuple[Neighbours, SelectionState]],
    y_N: NDArray[np.integer],
) -> HalvesEvidence:
    """As the cluster stage takes it."""
    agreement = neighbour_agreement(halves[0][0], halves[1][0])
    groups, sides = TokenGroups.of(y_N), [members_of(state) for _, state in halves]
    q_values = [
        benjamini_hochberg(p_values(sides[half], halves[1 - half][0].index_Nk, groups))
        for half in (0, 1)
    ]
    both = [Clustering.of(side, y_N.size) for side in sides]
    return HalvesEvidence(
        stability_C=stability(members, sides, y_N.size),
        shared_neighbours_C=agreement.of_clusters(members),
        q_value_C=q_of_matches(Clustering.of(members, y_N.size), both, q_values),
        shared_of_all=agreement.mean,
        shared_by_chance=agreement.chance,
    )


def other_seed(state: SelectionState, lists: Neighbours, config: ClusterConfig) -> dict[str, float]:
    """The same lists with another order of the seeds."""
    graph = self_tuning_graph(lists, num_threads=NUM_THREADS)
    again = find_clusters(
        graph, replace(config, seed=config.seed + 1), thread_executor(NUM_THREADS)
    )
    one, two = (Clustering.of(members_of(found), graph.num_nodes) for found in (state, again))
    there, back = best_matches(one, two), best_matches(two, one)
    mutual = back.match_C[there.match_C] == np.arange(len(one))
    return {
        "other_seed": float(np.median(there.jaccard_C)),
        "matched": float((mutual & (there.jaccard_C >= 0.5)).mean()),
    }


def line(
    deltas: Deltas, num_draws: int, num_tokens: int, config: ClusterConfig, *, again: bool
) -> dict[str, Any]:
    """One row of the table."""
    start, half = time.perf_counter(), num_draws // 2
    cuts = (slice(0, num_draws), slice(0, half), slice(half, num_draws))
    whole, *halves = (found_in(deltas.vectors(cut, num_tokens), config) for cut in cuts)
    y_N = deltas.y_N[:num_tokens]
    members = members_of(whole[1])
    found = evidence(members, halves, y_N)
    repeatability = np.array([c.repeatability for c in by_size(whole[1])], np.float32)
    held = holds(repeatability, found)
    held = np.zeros(len(members), bool) if held is None else held
    one_y = np.array([np.bincount(y_N[rows]).max() / rows.size for rows in members])
    seconds = time.perf_counter() - start
    return {
        "draws": num_draws, "tokens": num_tokens, "shared": found.shared_of_all,
        "chance": found.shared_by_chance, "clusters": len(members), "hold": int(held.sum()),
        "stability": _median(found.stability_C), "stability_held": _median(found.stability_C[held]),
        "shared_held": _median(found.shared_neighbours_C[held]),
        "ceiling": _median(repeatability), "one_y_held": _median(one_y[held]),
        "q_below": float((found.q_value_C <= 0.05).mean()) if members else float("nan"),
        "edges": whole[1].num_edges, "seconds": seconds,
        **(other_seed(whole[1], whole[0], config) if again and members else {}),
    }  # fmt: skip


def _median(values: NDArray[np.floating]) -> float:
    return float(np.median(values)) if values.size else float("nan")


def show(row: dict[str, Any]) -> str:
    """A line of the printed table."""
    again = f"{row['other_seed']:.2f} {row['matched']:.0%}" if "other_seed" in row else "-"
    return (
        f"{row['draws']:>5} {row['tokens']:>7} {row['shared']:>7.3f} {row['clusters']:>6} "
        f"{row['hold']:>5} {row['stability']:>6.2f} ({row['stability_held']:.2f}) "
        f"{row['ceiling']:>6.2f} {again:>10} {row['one_y_held']:>6.2f} {row['edges']:>9.1e} "
        f"{row['seconds']:>6.0f}"
    )


def main(arguments: list[str]) -> None:
    """Measure every pair of numbers of draws and tokens."""
    source, given = arguments[0], dict(each.split("=", 1) for each in arguments[1:])
    counts = {
        name: [int(n) for n in given.get(name, default).split(",")]
        for name, default in (("tokens", "8192"), ("draws", "4,8"))
    }
    if source == "synthetic":
        deltas = synthetic(max(counts["tokens"]), max(counts["draws"]))
    else:
        with np.load(source) as arrays:
            deltas = Deltas(**{name: arrays[name] for name in ("delta_HRN", "delta_HR", "y_N")})
    config = ClusterConfig(
        num_neighbours=int(given.get("k", "20")), reach=int(given.get("reach", "500"))
    )
    print(
        " draws  tokens  shared clusters hold J halves  ceiling other seed  one y     edges      s"
    )
    rows = []
    for num_tokens in counts["tokens"]:
        for num_draws in counts["draws"]:
            again = given.get("again", "true") == "true"
            rows.append(line(deltas, num_draws, num_tokens, config, again=again))
            print(show(rows[-1]), flush=True)
    if "out" in given:
        Path(given["out"]).write_text(json.dumps({"settings": given, "rows": rows}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
