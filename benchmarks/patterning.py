"""Patterning proved by doing: weights from χ, and training on them, for and against induction.

The attention-only model (conf/pretraining/attention_only.yaml) is taken before its induction heads
have formed. χ of its heads is measured on sequences of the embedded text, `spectro pattern` makes
weights for more and for less of the induction heads, and the model is trained on from there on the
same sequences with seven kinds of weights. All but `uniform` have the same values in another order,
hence the same concentration:

    for, against        target -1 and +1 at the induction heads, 0 at the others
    uniform             every sequence alike
    random              the values of `for`, shuffled anew for each seed
    high_loss, low_loss the values of `for` by the sequences' loss before training
    repeats             the values of `for` by the share of tokens that continue a repeated pair

What is watched is the induction score: the mean loss on the first half of random tokens repeated
once, less that on the second half, in nats; held-out loss beside it. Text, order of the batches and
optimisers are those of each seed, the same for all kinds of weights.

    python -m benchmarks.patterning weights <run> <folder>       weights of every kind
    python -m benchmarks.patterning train <start model> <folder> [seeds] [tokens]
    python -m benchmarks.patterning table <folder> <result.json>

Shapes: S sequences, T context, B sequences of a batch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from spectro.analysis.data_weights import effective_share
from spectro.analysis.patterns import NAMES, Traits, pattern_types
from spectro.models.config import ModelConfig
from spectro.models.load import load_model
from spectro.pretrain.evaluate import induction_score, model_token_losses
from spectro.pretrain.optim import Muon, split_parameters
from spectro.tokens.keys import keyed_rng
from spectro.views.config import DataUnit, Target
from spectro.views.patterning import patterning
from spectro.views.run_view import RunView
from spectro.views.token_contexts import required_pieces, vocabulary_of

Floats = npt.NDArray[np.float64]
Point = dict[str, float]
KINDS = ("for", "against", "uniform", "random", "high_loss", "low_loss", "repeats")
INDUCTION_HEADS = ("l1h1", "l1h3")
"""As found by prefix matching in the finished model (ADR 099)."""
BATCH, MUON_LR, ADAM_LR, WARMUP_STEPS = 16, 0.02, 0.003, 20
NUM_HELD_OUT, NUM_EVALUATIONS, MIN_EFFECTIVE_SHARE = 64, 12, 0.35


def write_weights(uri: str, folder: Path) -> None:
    """Sequences of a run and their factors under every kind of weights but `random`."""
    view = RunView(uri)
    found = {
        name: patterning(
            view, Target(components=dict.fromkeys(INDUCTION_HEADS, sign)), DataUnit.SEQUENCES,
            min_effective_share=MIN_EFFECTIVE_SHARE,
        )
        for name, sign in (("for", -1.0), ("against", 1.0))
    }  # fmt: skip
    factor_S = found["for"].weights.factor_U
    ids_ST1, _ = view.sequences(np.arange(len(factor_S)))
    traits = Traits.of(required_pieces(view, vocabulary_of(view), "repeats"))
    repeats_S = pattern_types(traits, ids_ST1)[..., NAMES.index("induction")].mean(axis=1)
    loss_S = _losses(view)
    kinds = {
        **{name: own.weights.factor_U for name, own in found.items()},
        "uniform": np.ones_like(factor_S),
        "high_loss": _ranked(factor_S, loss_S),
        "low_loss": _ranked(factor_S, -loss_S),
        "repeats": _ranked(factor_S, repeats_S),
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "sequences.npz", allow_pickle=False, ids=ids_ST1.astype(np.int32), **kinds)
    even_S = np.full(len(factor_S), 1 / len(factor_S))
    record: dict[str, Any] = {
        name: {
            "target": own.weights.target_H.tolist(),
            "predicted": own.weights.predicted_H.tolist(),
            "error": own.weights.error_H.tolist(),
            "reached": own.weights.reached,
            "reachable": own.weights.reachable,
            "axis_reliability": own.weights.axes.reliability_A.tolist(),
            "subset_factor": dict(own.subset_factor),
        }
        for name, own in found.items()
    }
    for name, own_S in kinds.items():
        record.setdefault(name, {}).update(
            effective_share=effective_share(even_S, own_S), largest_factor=float(own_S.max()),
            correlation_with_repeats=_correlation(own_S, repeats_S),
            correlation_with_loss=_correlation(own_S, loss_S),
        )  # fmt: skip
    record["components"] = list(view.components)
    (folder / "weights.json").write_text(json.dumps(record, indent=1))


def _losses(view: RunView) -> Floats:
    """Mean loss of every sequence before training, [S]."""
    loss_N = np.asarray(view.labels(["loss"])["loss"].combine_chunks())
    result: Floats = loss_N.reshape(-1, view.context).mean(axis=1).astype(np.float64)
    return result


def _ranked(values_S: Floats, by_S: Floats) -> Floats:
    """The values in the order of another quantity: the largest where that is largest."""
    result = np.empty_like(values_S)
    result[np.argsort(by_S, kind="stable")] = np.sort(values_S)
    return result


def _correlation(one_S: Floats, other_S: Floats) -> float:
    return float(np.corrcoef(one_S, other_S)[0, 1]) if one_S.std() else 0.0


def train(start: str, folder: Path, kind: str, seed: int, num_tokens: int) -> None:
    """Train the model on weighted sequences and write its curve; a finished one is kept."""
    out = folder / f"curve-{kind}-{seed}.json"
    if out.exists():
        return
    stored = np.load(folder / "sequences.npz")
    ids_ST1 = stored["ids"].astype(np.int64)
    rng = keyed_rng(seed, "held out")
    order_S = rng.permutation(len(ids_ST1))
    held_out, used = order_S[:NUM_HELD_OUT], np.sort(order_S[NUM_HELD_OUT:])
    factor_S = stored["for" if kind == "random" else kind][used]
    if kind == "random":
        factor_S = keyed_rng(seed, "random weights").permutation(factor_S)
    model = load_model(ModelConfig(name_or_path=start)).requires_grad_(True)
    hidden, rest = split_parameters(model)
    optimisers = [
        Muon(hidden, lr=MUON_LR, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=ADAM_LR, betas=(0.9, 0.95), weight_decay=0.01),
    ]
    draws = keyed_rng(seed, "batches")  # the same quantiles for all kinds of weights
    cumulative_S = np.cumsum(factor_S / factor_S.sum())
    tokens_per_step = BATCH * (ids_ST1.shape[1] - 1)
    num_steps = num_tokens // tokens_per_step
    checks = {round(num_steps * k / NUM_EVALUATIONS) for k in range(NUM_EVALUATIONS + 1)}
    curve = []
    for step in range(num_steps + 1):
        if step in checks:
            curve.append(_evaluated(model, ids_ST1[held_out], step * tokens_per_step))
            print(kind, seed, curve[-1], flush=True)
        places_B = np.searchsorted(cumulative_S, draws.random(BATCH)).clip(max=len(used) - 1)
        batch = torch.from_numpy(ids_ST1[used[places_B]])
        logits = model(batch[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, peak in zip(optimisers, (MUON_LR, ADAM_LR), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * min(1.0, (step + 1) / WARMUP_STEPS)
            optimiser.step()
            optimiser.zero_grad()
    out.write_text(json.dumps(curve))


def _evaluated(model: PreTrainedModel, held_out: npt.NDArray[np.int64], tokens: int) -> Point:
    return {
        "tokens": tokens,
        "induction_score": induction_score(model),
        "held_out_loss": float(model_token_losses(model, torch.from_numpy(held_out)).mean()),
    }


def summary(folder: Path) -> dict[str, Any]:
    """Mean and standard error over seeds of every curve, and of its difference from `uniform`."""
    curves = {
        kind: {
            int(path.stem.rpartition("-")[2]): json.loads(path.read_text())
            for path in sorted(folder.glob(f"curve-{kind}-*.json"))
        }
        for kind in KINDS
    }
    result: dict[str, Any] = {}
    for kind, by_seed in curves.items():
        for name in ("induction_score", "held_out_loss"):
            own = np.array([[point[name] for point in curve] for curve in by_seed.values()])
            even = np.array([[p[name] for p in curves["uniform"][seed]] for seed in by_seed])
            result.setdefault(kind, {"seeds": sorted(by_seed)})[name] = {
                "mean": own.mean(axis=0).tolist(),
                "less_uniform": (own - even).mean(axis=0).tolist(),
                "standard_error": _error(own - even),
            }
        result[kind]["tokens"] = [point["tokens"] for point in next(iter(by_seed.values()))]
    return result


def _error(values_KN: Floats) -> list[float | None]:
    """Standard error over seeds; none of one seed."""
    if len(values_KN) < 2:
        return [None] * values_KN.shape[1]
    error_N = values_KN.std(axis=0, ddof=1) / np.sqrt(len(values_KN))
    return [float(value) for value in error_N]


def main(arguments: list[str]) -> None:
    """One of the three steps of the module's text."""
    torch.set_num_threads(1)
    match arguments:
        case ["weights", uri, folder]:
            write_weights(uri, Path(folder))
        case ["train", start, folder, *rest]:
            seeds = range(int(rest[0]) if rest else 3)
            for seed in seeds:
                for kind in KINDS:
                    train(
                        start,
                        Path(folder),
                        kind,
                        seed,
                        int(rest[1]) if len(rest) > 1 else 1_000_000,
                    )
        case ["table", folder, out]:
            record = json.loads((Path(folder) / "weights.json").read_text())
            found = {"weights": record, "curves": summary(Path(folder))}
            Path(out).write_text(json.dumps(found, indent=1) + "\n")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
