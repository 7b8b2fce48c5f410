"""A made-up run: clusters of tokens around planted profiles, without model or storage."""

import numpy as np

from spectro.report import Clusters, Columns, Measurement, Probe, ReportInputs

SUBSETS = ("code", "docs", "prose", "legal", "math", "markup", "web", "headers")
WORDS = (
    " the", "\n", " of", "    ", " import", "(", " self", ".", " return", " def", "\t", "</", "div",
    ">", " and", " whereas", " \\frac", "{", "}", " λ", "é", " не", " שלום", " 0", "17", ",", " to",
    " in", "ing", "tion", " license", " shall", " const", ";", "std", "::", "_name", " None", " is",
    " a", '"', "=", " if", "\n\n",
)  # fmt: skip


def components(num_layers: int = 4, num_heads: int = 4) -> tuple[str, ...]:
    parts = [*(f"h{head}" for head in range(num_heads)), "mlp"]
    return ("embed", *(f"l{k}{part}" for k in range(num_layers) for part in parts), "unembed")


def words(num: int = 600) -> list[bytes]:
    rng = np.random.default_rng(1)
    made = ["".join(rng.choice(list("aeioubcdfghlmnprst"), rng.integers(2, 8))) for _ in range(num)]
    broken = [b"\xf0\x9f", b"\x98\x80", b"\xff", b"\x00"]
    return [w.encode() for w in WORDS] + broken + [f" {w}".encode() for w in made]


def run(
    *,
    num_sequences: int = 128,
    context: int = 64,
    num_clusters: int = 40,
    names: tuple[str, ...] | None = None,
    vocabulary: list[bytes] | None = None,
    control: bool = True,
    seed: int = 0,
) -> ReportInputs:
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
    chi = chi.astype(np.float32)
    real = Measurement(columns=columns(rng, names, 0.78), clusters=clusters(rng, probe, label, chi))
    other = planted(rng, num_tokens, -(-num_clusters // 5))
    return ReportInputs(
        title="A made-up run",
        facts=(("Model", "made up, 4 layers × 4 heads"), ("Tokens", f"{num_tokens:,}")),
        provenance="seed: 0\n",
        vocabulary=pieces,
        probe=probe,
        token_id_N=np.arange(num_tokens),
        loss_N=rng.gamma(2.0, 1.5, num_tokens).astype(np.float32),
        points_ND=chi,
        real=real,
        control=Measurement(
            columns=columns(rng, names, 0.9), clusters=clusters(rng, probe, other, chi)
        )
        if control
        else None,
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


def columns(rng: np.random.Generator, names: tuple[str, ...], level: float) -> Columns:
    return Columns(
        components=names,
        reliability_H=np.clip(rng.normal(level, 0.12, len(names)), -0.1, 0.99),
        standard_error_H=rng.gamma(2.0, 1e-4, len(names)),
        mean_phi_H=rng.gamma(2.0, 0.05, len(names)),
    )


def clusters(
    rng: np.random.Generator, probe: Probe, label: np.ndarray, chi: np.ndarray
) -> Clusters:
    num = int(label.max(initial=-1)) + 1
    context = probe.ids_ST1.shape[1] - 1
    y, subset = probe.ids_ST1[:, 1:].reshape(-1), np.repeat(probe.subset_S, context)
    tops, counts = [], np.zeros((num, len(probe.subset_names)), int)
    for index in range(num):
        values, times = np.unique(y[label == index], return_counts=True)
        order = np.argsort(-times, kind="stable")[:10]
        tops.append(tuple((int(values[i]), int(times[i])) for i in order))
        counts[index] = np.bincount(subset[label == index], minlength=counts.shape[1])
    sizes = np.bincount(label[label >= 0], minlength=num)
    members = np.flatnonzero(label >= 0)
    mean = [chi[label == index].mean(axis=0) for index in range(num)]
    return Clusters(
        cluster_id_K=np.arange(num),
        size_K=sizes,
        conductance_K=rng.uniform(0.02, 0.4, num),
        purity_K=counts.max(axis=1, initial=0) / np.maximum(sizes, 1),
        mean_chi_KH=np.array(mean).reshape(num, chi.shape[1]),
        top_tokens_K=tuple(tops),
        subset_counts_KP=counts,
        member_token_id_M=members,
        member_cluster_id_M=label[members],
        neighbours_K=tuple(
            tuple((index + step) % num for step in (1, 2, 3) if num > 3) for index in range(num)
        ),
    )
