"""A made-up run: clusters of tokens around planted profiles, without model or storage."""

from dataclasses import dataclass

import numpy as np

from spectro.susceptibility.interval import Interval
from spectro.views.page.read_columns import ColumnSummary

SUBSETS = ("code", "docs", "prose", "legal", "math", "markup", "web", "headers")
WORDS = (
    " the", "\n", " of", "    ", " import", "(", " self", ".", " return", " def", "\t", "</", "div",
    ">", " and", " whereas", " \\frac", "{", "}", " λ", "é", " не", " שלום", " 0", "17", ",", " to",
    " in", "ing", "tion", " license", " shall", " const", ";", "std", "::", "_name", " None", " is",
    " a", '"', "=", " if", "\n\n",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Probe:
    """All sequences."""

    sequence_id_S: np.ndarray
    ids_ST1: np.ndarray
    subset_S: np.ndarray
    subset_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was planted; N tokens."""

    probe: Probe
    loss_N: np.ndarray
    chi_NH: np.ndarray
    pieces: list[bytes]
    columns: ColumnSummary
    label_N: np.ndarray
    """Cluster, −1 in none."""
    control_columns: ColumnSummary | None
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


def columns(rng: np.random.Generator, names: tuple[str, ...], level: float) -> ColumnSummary:
    return ColumnSummary(
        components=names,
        reliability_H=np.clip(rng.normal(level, 0.12, len(names)), -0.1, 0.99),
        standard_error_H=rng.gamma(2.0, 1e-4, len(names)),
        interval=Interval.over_chains(4),
        mean_phi_H=rng.gamma(2.0, 0.05, len(names)),
    )
