"""What does storing draws in bfloat16 (`chain.draw_dtype`) do to χ, beside its standard error?

    python -m benchmarks.draw_dtype [--out benchmarks/results]

The shipped model, Gaussian displacements δ of components of each kind and of all weights, and the
same rounded; a chain goes on unrounded, so that its draws differ by the rounding alone. χ of all
draws (two_chain, and the restricted term) with both; `share` is the root mean square over tokens of
their difference, over that of the standard error, which two halves of the draws give.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks import common
from benchmarks.precision import (
    FloatArray,
    displacements,
    load,
    options_of,
    quantities,
    sequences,
    sums,
    traces,
)
from spectro.models.components import FULL, all_components, select_components
from spectro.models.config import Precision

COMPONENTS = ("l0h0", "l3h1", "l0mlp", "embed", "unembed")


def rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    """Both γ, every component: print, and write if asked."""
    options = options_of(__doc__)
    start = time.perf_counter()
    ids, num_evaluation = sequences(options.device, options.context, options.probe_sequences)
    way = load(options.device, ids[:num_evaluation])[Precision.FLOAT32]
    rows = []
    for gamma in (30.0, 300.0):
        exact, rounded = {}, {}
        for component in (*select_components(COMPONENTS, all_components(4, 4)), FULL):
            draws = displacements(way[0], component, gamma, options.draws)
            kept = {block: own.to(torch.bfloat16).float() for block, own in draws.items()}
            exact[component.name] = sums(traces(way, component, draws, ids), num_evaluation)
            rounded[component.name] = sums(traces(way, component, kept, ids), num_evaluation)
        found, first, second = (quantities(exact, halves) for halves in ([0, 1], [0], [1]))
        after = quantities(rounded, [0, 1])
        for kind in ("two_chain", "response"):
            for name, column in found[kind].items():
                error = rms(first[kind][name] - second[kind][name]) / 2
                share = rms(after[kind][name] - column) / error
                rows.append({"gamma": gamma, "component": name, "of": kind, "share": share})
                print(f"gamma {gamma:g}  {name:8} {kind:10} {share:.1e} standard errors")
    print(f"{time.perf_counter() - start:.0f} s")
    about = {
        "question": "difference of chi by rounded draws, in standard errors",
        "draws": options.draws,
        "tokens": ids[num_evaluation:, 1:].numel(),
    }
    common.write("draw-dtype", options, {**about, "rows": rows})


if __name__ == "__main__":
    main()
