"""A made-up run: clusters of tokens around planted profiles, without model or storage."""

from dataclasses import dataclass

import numpy as np
from spectro.views.page.inputs import (
    MeasurementSummary,
    PageClusters,
    PageColumns,
    Points,
    Probe,
    ReportInputs,
)

from spectro.clustering.matching import BestMatches, Clustering, best_matches
from spectro.susceptibility.interval import Interval
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.cluster_examples import examples
from spectro.views.page.config import ReportConfig
from spectro.views.page.ledger import Ledger, StageCost

SUBSETS = ("code", "docs", "prose", "legal", "math", "markup", "web", "headers")
WORDS = (
    " the", "\n", " of", "    ", " import", "(", " self", ".", " return", " def", "\t", "</", "div",
    ">", " and", " whereas", " \\frac", "{", "}", " λ", "é", " не", " שלום", " 0", "17", ",", " to",
    " in", "ing", "tion", " license", " shall", " const", ";", "std", "::", "_name", " None", " is",
    " a", '"', "=", " if", "\n\n",
)  # fmt: skip
LEDGER = Ledger(
    facts=(("Seeds", "run 0"), ("Versions", "python 3.11.7"), ("GPU hours", "0, measured on CPUs")),
    stages=(
        StageCost(part="posterior", stage="tiles", num_units=3, planned_flops=10**12,
                  done_flops=11 * 10**11, seconds=180.0),
        StageCost(part="control", stage="tiles", num_units=3, planned_flops=10**12,
                  done_flops=10**12, seconds=None),
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was planted; N tokens."""

    probe: Probe
    loss_N: np.ndarray
    chi_NH: np.ndarray
    pieces: list[bytes]
    columns: PageColumns
    label_N: np.ndarray
    """Cluster, −1 in none."""
    control_columns: PageColumns | None
    control_label_N: np.ndarray
    stability_K: np.ndarray
    conductance_K: np.ndarray

    @property
    def names(self):
        return self.columns.components

    def sides(self):
        """Columns and labels of the run, and of its control where there is one."""
        found = [(self.columns, self.label_N)]
        return found + ([(self.control_columns, self.control_label_N)] * bool(self.control_columns))


def components(num_layers: int = 4, num_heads: int = 4) -> tuple[str, ...]:
    parts = [*(f"h{head}" for head in range(num_heads)), "mlp"]
    return ("embed", *(f"l{k}{part}" for k in range(num_layers) for part in parts), "unembed")


def words(num: int = 600) -> list[bytes]:
    rng = np.random.default_rng(1)
    made = ["".join(rng.choice(list("aeioubcdfghlmnprst"), rng.integers(2, 8))) for _ in range(num)]
    broken = [b"\xf0\x9f", b"\x98\x80", b"\xff", b"\x00"]
    return [w.encode() for w in WORDS] + broken + [f" {w}".encode() for w in made]


def made(
    *,
    num_sequences: int = 128,
    context: int = 64,
    num_clusters: int = 40,
    names: tuple[str, ...] | None = None,
    vocabulary: list[bytes] | None = None,
    control: bool = True,
    stable: bool = True,
    seed: int = 0,
) -> Made:
    """128 × 64 = 8192 tokens, 22 components, 8 subsets, about 40 clusters."""
    rng = np.random.default_rng(seed)
    names = components() if names is None else names
    pieces = words() if vocabulary is None else vocabulary
    ids = (rng.zipf(1.25, (num_sequences, context + 1)) % len(pieces)).astype(np.int32)
    subset = np.sort(rng.integers(0, len(SUBSETS), num_sequences)).astype(np.int16)
    probe = Probe(
        sequence_id_S=np.arange(num_sequences), ids_ST1=ids, subset_S=subset, subset_names=SUBSETS
    )
    num_tokens = num_sequences * context
    label = planted(rng, num_tokens, num_clusters)
    favour(rng, ids, label)
    profile = rng.normal(size=(max(num_clusters, 1), len(names))) * 1.1
    noise = rng.normal(size=(num_tokens, len(names)))
    chi = np.where(label[:, None] >= 0, profile[label] + 0.45 * noise, 0.8 * noise)
    stability = rng.uniform(0, 1, num_clusters).astype(np.float32)
    stability[::7] = np.nan
    return Made(
        probe=probe,
        loss_N=rng.gamma(2.0, 1.5, num_tokens).astype(np.float32),
        chi_NH=chi.astype(np.float32),
        pieces=pieces,
        columns=columns(rng, names, 0.78),
        label_N=label,
        control_columns=columns(rng, names, 0.9) if control else None,
        control_label_N=planted(rng, num_tokens, -(-num_clusters // 5)),
        stability_K=stability if stable else np.full(num_clusters, np.nan),
        conductance_K=rng.uniform(0.02, 0.4, num_clusters),
    )


def run(config: ReportConfig | None = None, **settings) -> ReportInputs:
    """The page's inputs of `made(**settings)`."""
    return inputs(made(**settings), config or ReportConfig())


def inputs(what: Made, config: ReportConfig) -> ReportInputs:
    """Everything that was planted, as much of it as the settings show."""
    num_tokens = len(what.label_N)
    sides = [
        MeasurementSummary(columns=own, clusters=clusters(what, label, most, config))
        for (own, label), most in zip(
            what.sides(), (config.max_cards, config.max_control_cards), strict=False
        )
    ]
    return ReportInputs(
        title="A made-up run",
        facts=(("Model", "made up, 4 layers × 4 heads"), ("Tokens", f"{num_tokens:,}")),
        provenance="seed: 0\n",
        ledger=LEDGER,
        vocabulary=Vocabulary(pieces=what.pieces),
        num_tokens=num_tokens,
        probe=what.probe,
        shown_token_id_s=np.arange(num_tokens),
        shown_loss_s=what.loss_N,
        points=points(what, config),
        real=sides[0],
        control=sides[1] if len(sides) > 1 else None,
        matches=matches(what) if len(sides) > 1 else None,
    )


def points(what: Made, config: ReportConfig) -> Points:
    """Places at random, those of a cluster close together."""
    rng = np.random.default_rng(3)
    num_clusters = len(what.stability_K)
    centre = rng.uniform(0.1, 0.9, (num_clusters, 2))
    chosen = np.sort(rng.permutation(len(what.label_N))[: config.max_points])
    own = what.label_N[chosen]
    xy = rng.uniform(0, 1, (len(chosen), 2))
    xy[own >= 0] = centre[own[own >= 0]] + 0.02 * rng.normal(size=(int((own >= 0).sum()), 2))
    context = what.probe.ids_ST1.shape[1] - 1
    return Points(
        xy_n2=xy.clip(0, 1),
        cluster_n=own,
        subset_n=what.probe.subset_S[chosen // context],
        token_n=what.probe.ids_ST1[chosen // context, chosen % context + 1],
        centre_K2=centre,
    )


def matches(what: Made) -> BestMatches:
    """Of each cluster the control's most alike."""
    found = [
        Clustering.of([np.flatnonzero(label == k) for k in range(label.max() + 1)], len(label))
        for label in (what.label_N, what.control_label_N)
    ]
    return best_matches(*found)


def planted(rng: np.random.Generator, num_tokens: int, num_clusters: int) -> np.ndarray:
    """Cluster of each token, −1 for most; sizes fall like 1/rank."""
    label = np.full(num_tokens, -1)
    free = rng.permutation(num_tokens)
    for index in range(num_clusters):
        size = min(max(20, int(0.06 * num_tokens / (index + 1))), len(free))
        label[free[:size]] = index
        free = free[size:]
    return label


def favour(rng: np.random.Generator, ids: np.ndarray, label: np.ndarray) -> None:
    """Let the members of a cluster predict a few tokens of its own (in place)."""
    y = ids[:, 1:].reshape(-1)
    own = rng.integers(0, min(len(WORDS) + 60, ids.max() + 1), (label.max(initial=0) + 1, 4))
    chosen = own[label, rng.choice(4, len(y), p=[0.6, 0.2, 0.1, 0.1])]
    ids[:, 1:] = np.where((label >= 0) & (rng.random(len(y)) < 0.9), chosen, y).reshape(
        len(ids), -1
    )


def columns(rng: np.random.Generator, names: tuple[str, ...], level: float) -> PageColumns:
    return PageColumns(
        components=names,
        reliability_H=np.clip(rng.normal(level, 0.12, len(names)), -0.1, 0.99),
        standard_error_H=rng.gamma(2.0, 1e-4, len(names)),
        interval=Interval.over_chains(4),
        mean_phi_H=rng.gamma(2.0, 0.05, len(names)),
    )


def clusters(what: Made, label: np.ndarray, num_cards: int, config: ReportConfig) -> PageClusters:
    """Counted from the labels, as a run's description of its clusters is."""
    num = int(label.max(initial=-1)) + 1
    context = what.probe.ids_ST1.shape[1] - 1
    y = what.probe.ids_ST1[:, 1:].reshape(-1)
    subset = np.repeat(what.probe.subset_S, context)
    top, times = np.full((num, 10), -1), np.zeros((num, 10), int)
    counts = np.zeros((num, len(SUBSETS)), int)
    for index in range(num):
        values, numbers = np.unique(y[label == index], return_counts=True)
        order = np.argsort(-numbers, kind="stable")[:10]
        top[index, : len(order)], times[index, : len(order)] = values[order], numbers[order]
        counts[index] = np.bincount(subset[label == index], minlength=counts.shape[1])
    sizes = np.bincount(label[label >= 0], minlength=num)
    member = np.flatnonzero(label >= 0)
    member = member[np.argsort(label[member], kind="stable")]
    mean = [what.chi_NH[label == index].mean(axis=0) for index in range(num)]
    near = [[(index + step) % num for step in (1, 2, 3)] for index in range(num)]
    return PageClusters(
        size_K=sizes,
        conductance_K=what.conductance_K[:num],
        stability_K=what.stability_K[:num],
        repeatability_K=np.where(np.arange(num) % 3, 0.9, 0.4),
        shared_neighbours_K=what.stability_K[:num] / 2,
        q_value_K=np.where(np.isfinite(what.stability_K[:num]), 0.004, np.nan),
        holds_K=np.where(np.arange(num) % 3, 1.0, 0.0),
        purity_K=counts.max(axis=1, initial=0) / np.maximum(sizes, 1),
        token_purity_K=times.max(axis=1, initial=0) / np.maximum(sizes, 1),
        mean_chi_KH=np.array(mean).reshape(num, len(what.names)),
        top_tokens_KT=top,
        top_counts_KT=times,
        subset_counts_KP=counts,
        neighbours_KM=np.array(near if num > 3 else [[-1] * 3] * num).reshape(num, 3),
        num_clustered=len(member),
        examples_E=examples(
            member,
            label[member],
            range(min(num, num_cards)),
            num_random=config.contexts_per_cluster,
            num_central=config.num_central,
            seed=config.seed,
        ),
    )
