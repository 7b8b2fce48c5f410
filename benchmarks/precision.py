"""What do products in tf32 or bfloat16 do to χ, beside its Monte-Carlo error?

    python -m benchmarks.precision [--device cuda] [--out benchmarks/results]

The shipped model, independent Gaussian displacements (nβ = 0) of a few components of each kind, the
same draws in every precision. A column of the table is 1 − r, with r the correlation over tokens

    noise       between two disjoint halves of the draws, in float64: the Monte-Carlo error
    float32, tf32, bfloat16
                between χ of all draws in that precision and in float64
    lists       the same in float32 with losses from top-K lists of 128, a sixteenth of the
                vocabulary (ADR 007), for components that can have them

for four quantities: `two_chain`, χ as published; `response`, its first term −E_C[φ(Δℓ_i − ΔL)],
nearly all mean shift; `one_chain`, the pure covariance; `centred`, what clusters see of two_chain:
columns standardised over tokens, rows centred (over the components of the table only). On a CPU
tf32 is emulated, bfloat16 has the same operands as on CUDA (spectro/models/precision.py).

Found (2026-11-21, 32 draws, 2 048 tokens; ranges and largest values over the components):

                         noise        float32    tf32      bfloat16
    γ = 30   two_chain   0.10–0.23    1e-13      2e-7      1e-5
             centred     0.18–0.67    1e-12      2e-6      1e-4
             response    0.05–0.45    3e-11      3e-5      2e-3
    γ = 300  two_chain   0.23–0.35    2e-12      2e-6      1e-4
             centred     0.47–0.79    5e-11      5e-5      4e-3
             response    0.26–0.85    7e-10      6e-4      4e-2  (l0h0, ΔL = 0.007 nats)

χ in bfloat16 is 170 times (after centring, at γ = 300) to 10^4 times nearer to the truth than 32
draws are. What more draws do not take away is the rounding of ℓ(w*), which every draw shares; it
cancels between the two terms of two_chain and stays in `response`, where γ = 300 and the smallest
head show it. Hence: the default stays float32, whose numbers were there before; bfloat16 is for
accelerators, with two_chain or one_chain; tf32 is the choice where a response of less than 0.01
nats is itself the subject.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks import common
from benchmarks.shapes import SHIPPED
from spectro.measure.encoder import Encoder
from spectro.models.components import (
    FULL,
    FULL_GROUP,
    Component,
    Group,
    all_components,
    select_components,
)
from spectro.models.config import ModelConfig, Precision, ScoringConfig
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.load import load_model, load_tokenizer
from spectro.models.top_k_softmax import TopKFit
from spectro.models.variant_losses import fit_top_k
from spectro.susceptibility.estimator import ChainSums, susceptibility
from spectro.tokens.build import build
from spectro.tokens.config import TokensConfig, embedded_subsets

COMPONENTS = ("l0h0", "l1h2", "l3h1", "l0mlp", "l2mlp", "embed", "unembed")
TRUTH, LISTS = "float64", "lists"
WAYS = (*(str(precision) for precision in Precision), LISTS)
LIST_SIZE = 128
Way = tuple[GPTNeoX, TopKFit | None]
FloatArray = npt.NDArray[np.float64]


def load(device: str, evaluation_ids: Tensor) -> dict[str, Way]:
    """The shipped model in every precision, in float64, and with top-K lists."""
    found = {}
    for name in (TRUTH, *Precision):
        dtype = TRUTH if name == TRUTH else "float32"
        model = load_model(ModelConfig(name_or_path="embedded", device=device, dtype=dtype))
        precision = Precision.FLOAT32 if name == TRUTH else Precision(name)
        found[str(name)] = (GPTNeoX.from_pretrained_model(model, precision), None)
    resident = found[Precision.FLOAT32][0]
    lists = fit_top_k(resident, ScoringConfig(shortlist_size=LIST_SIZE), evaluation_ids)
    assert lists is not None
    found[LISTS] = (resident, dataclasses.replace(lists, components=frozenset(COMPONENTS)))
    return found


def sequences(device: str, context: int, num_probe: int) -> tuple[Tensor, int]:
    """Sequences of the embedded corpus, those of the evaluation set first, and their number."""
    config = TokensConfig(
        subsets=embedded_subsets(),
        context=context,
        num_probe_sequences=num_probe,
        num_sampling_sequences=1,
        num_evaluation_sequences=2,
    )
    tokenizer = load_tokenizer(ModelConfig())
    encode = Encoder(tokenizer, "embedded")
    splits = build(config, encode, tokenizer.eos_token_id, len(tokenizer))
    parts = [splits.evaluation.ids_ST1, splits.probe.ids_ST1]
    ids = torch.from_numpy(np.concatenate(parts)).long()
    return ids.to(device), len(parts[0])


def displacements(model: GPTNeoX, component: Component, gamma: float, num_draws: int) -> Any:
    """δ ~ N(0, 1/γ) of every draw and block; the same on every device and in every precision."""
    part = group_model(model, Group(name=component.group, components=(component,)))
    generator = torch.Generator().manual_seed(sum(component.name.encode()) * 1000 + int(gamma))
    return {
        block: torch.randn(num_draws, *weight.shape, generator=generator) / gamma**0.5
        for block, weight in part.weights(component.name).items()
    }


@torch.no_grad()
def traces(way: Way, component: Component, draws: dict[str, Tensor], ids: Tensor) -> Any:
    """Δℓ of every draw and sequence, float64 [draws, sequences, positions]."""
    model, lists = way
    group = (
        FULL_GROUP if component == FULL else Group(name=component.group, components=(component,))
    )
    part = group_model(model, group)
    num_draws = len(next(iter(draws.values())))
    found = []
    for batch in ids.split(32 if ids.device.type == "cpu" else 512):
        clean = part.prepare(batch, lists)
        base = part.clean_losses(clean)
        of_batch = []
        for draw in range(num_draws):
            displaced = {
                block: (weight + draws[block][draw].to(weight))[None]
                for block, weight in part.weights(component.name).items()
            }
            losses = part.losses(clean, {component.name: displaced})[component.name]
            of_batch.append((losses - base).double().cpu())
        found.append(torch.cat(of_batch))
    return torch.cat(found, dim=1).numpy()


def sums(delta_DST: FloatArray, num_evaluation: int) -> ChainSums:
    """Sums of two halves of the draws, as of two chains."""
    phi = delta_DST[:, :num_evaluation].mean(axis=(1, 2)).reshape(2, -1)
    tokens = delta_DST[:, num_evaluation:].reshape(*phi.shape, -1)
    return ChainSums(
        weighted_CN=np.einsum("ct,ctn->cn", phi, tokens),
        plain_CN=tokens.sum(1),
        delta_loss=list(phi),
        weight=list(np.ones_like(phi)),
    )


def quantities(of: dict[str, ChainSums], halves: list[int]) -> dict[str, dict[str, FloatArray]]:
    """The four quantities, by component, from some of the halves."""
    means = {name: sums.of_chains(halves) for name, sums in of.items()}
    reference = means.pop("full")
    names = list(means)
    two_chain = np.stack([susceptibility(means[name], reference) for name in names])
    shift = np.stack([means[name].delta_loss * reference.response_N for name in names])
    covariance = np.stack([susceptibility(means[name], means[name]) for name in names])
    standard = (two_chain - two_chain.mean(1, keepdims=True)) / two_chain.std(1, keepdims=True)
    found = {
        "two_chain": two_chain,
        "response": two_chain - shift,
        "one_chain": covariance,
        "centred": standard - standard.mean(0),
    }
    return {kind: dict(zip(names, rows_HN, strict=True)) for kind, rows_HN in found.items()}


def unlike(first: FloatArray, second: FloatArray) -> float:
    """1 − r."""
    return float(1 - np.corrcoef(first, second)[0, 1])


def study(ways: dict[str, Way], gamma: float, num_draws: int, ids: Any, num_eval: int) -> Any:
    """Rows of the table for one γ."""
    components = select_components(COMPONENTS, all_components(4, 4))
    resident, _ = ways[Precision.FLOAT32]
    draws = {c.name: displacements(resident, c, gamma, num_draws) for c in (*components, FULL)}
    of = {
        name: {
            c.name: sums(traces(way, c, draws[c.name], ids), num_eval) for c in (*components, FULL)
        }
        for name, way in ways.items()
    }
    truth, first, second = (quantities(of[TRUTH], halves) for halves in ([0, 1], [0], [1]))
    found = {name: quantities(of[name], [0, 1]) for name in WAYS}
    return [
        {
            "gamma": gamma,
            "component": component.name,
            "mean_delta_loss": float(np.mean(of[TRUTH][component.name].delta_loss)),
            "of": kind,
            "noise": unlike(first[kind][component.name], second[kind][component.name]),
            **{
                name: unlike(found[name][kind][component.name], columns[component.name])
                for name in WAYS
            },
        }
        for component in components
        for kind, columns in truth.items()
    ]


def options_of(doc: str | None) -> Any:
    """Options of a study of the shipped model's draws."""
    parser = common.parser(doc, [SHIPPED])
    parser.set_defaults(shape=SHIPPED)
    parser.add_argument("--draws", type=int, default=16, help="even")
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--probe-sequences", type=int, default=4, help="per subset, of 8")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.toy:
        options.draws, options.context, options.probe_sequences = 2, 8, 1
    return options


def main() -> None:
    """Study both γ, print, and write if asked."""
    options = options_of(__doc__)
    start = time.perf_counter()
    ids, num_evaluation = sequences(options.device, options.context, options.probe_sequences)
    ways = load(options.device, ids[:num_evaluation])
    rows = []
    for gamma in (30.0, 300.0):
        rows += study(ways, gamma, options.draws, ids, num_evaluation)
    for row in rows:
        cells = (
            f"{key} {value:.1e}" if isinstance(value, float) else value
            for key, value in row.items()
        )
        print("  ".join(cells))
    print(f"{time.perf_counter() - start:.0f} s")
    about = {
        "question": "1 - correlation of χ with float64, by precision",
        "draws": options.draws,
        "tokens": ids[num_evaluation:, 1:].numel(),
    }
    common.write("precision", options, {**about, "rows": rows})


if __name__ == "__main__":
    main()
