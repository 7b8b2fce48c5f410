"""Patterning proved by doing: weights from χ, and training on them, for and against induction.

The attention-only model (conf/pretraining/attention_only.yaml) is taken before its induction heads
have formed. χ of its heads is measured on the embedded text; patterning gives a factor to every
combination of pattern types of a token (a cell), for more and for less of the induction heads; and
training goes on from there on the model's own mixture, with each token's loss times the factor of
its cell. Tokens of the mixture were not measured; cells were. Kinds of weights:

    for, against        target -1 and +1 at the induction heads, 0 at the others
    uniform             every token alike
    random              factors of `for`, drawn anew for every token
    high_loss, low_loss the distribution of `for`, given to the cells by their mean loss
    repeats             the same, given first to the cells that continue a repeated pair

What is watched is the induction score: the mean loss on the first half of random tokens repeated
once, less that on the second half, in nats; held-out loss beside it. Batches and optimisers of a
seed are the same for all kinds of weights.

    python -m benchmarks.patterning weights <run> <folder>
    python -m benchmarks.patterning train <start model> <text> <folder> <seeds> <tokens> [<kind>]
    python -m benchmarks.patterning table <folder> <result.json>
    python -m benchmarks.patterning picture <result.json> [<longer.json>] <picture.png>

<text> is the folder of token streams in the work folder of `spectro pretrain`.
Shapes: S sequences, T context, B sequences of a batch, U cells of a run, C all cells.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from matplotlib.axes import Axes
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from spectro.analysis.data_weights import effective_share
from spectro.analysis.patterns import NAMES, Traits
from spectro.models.config import ModelConfig
from spectro.models.load import load_model
from spectro.pretrain.data import gather, sequence_order
from spectro.pretrain.evaluate import induction_score
from spectro.pretrain.optim import Muon, split_parameters
from spectro.pretrain.train import Corpus, heldout_losses
from spectro.tokens.keys import keyed_rng
from spectro.tokens.packing import num_samples
from spectro.views.config import THEMES, DataUnit, Target
from spectro.views.drawing.parts import head, new_figure
from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.theme import SMALL, WIDE, Theme, style
from spectro.views.drawing.theme import theme as named_theme
from spectro.views.patterning import pattern_cells, patterning
from spectro.views.run_view import RunView
from spectro.views.token_contexts import known_vocabulary, required_pieces, vocabulary_of

Floats = npt.NDArray[np.float64]
Point = dict[str, float]
KINDS = ("for", "against", "uniform", "random", "high_loss", "low_loss", "repeats")
INDUCTION_HEADS = ("l1h1", "l1h3")
"""As found by prefix matching in the finished model (ADR 099)."""
BATCH, MUON_LR, ADAM_LR, WARMUP_STEPS = 16, 0.02, 0.003, 20
CONTEXT, NUM_HELD_OUT, NUM_EVALUATIONS, MIN_EFFECTIVE_SHARE = 256, 8, 12, 0.35
NUM_CELLS = 12
"""Most frequent cells that are drawn."""
CAPTION = (
    "An attention-only model is trained on from before its induction heads have formed, with the "
    "loss of each token times a factor. Factors come from the responses of its heads; bars are one "
    "standard error over seeds of the difference from uniform weights."
)
PRETRAINING = Path(__file__).parent.parent / "conf/pretraining/attention_only.yaml"


def write_weights(uri: str, folder: Path) -> None:
    """Factors of the cells under every kind of weights but `random`, and what is expected."""
    view = RunView(uri)
    found = {
        name: patterning(
            view, Target(components=dict.fromkeys(INDUCTION_HEADS, sign)), DataUnit.PATTERNS,
            min_effective_share=MIN_EFFECTIVE_SHARE,
        )
        for name, sign in (("for", -1.0), ("against", 1.0))
    }  # fmt: skip
    weights, unit_N = found["for"].weights, found["for"].unit_N
    ids_ST1, _ = view.sequences(np.arange(view.info.splits["probe"].num_sequences))
    cell_N = pattern_cells(_traits(view), ids_ST1).reshape(-1)
    cell_U = np.zeros(len(weights.factor_U), np.int64)
    cell_U[unit_N] = cell_N
    share_U = np.bincount(unit_N) / len(unit_N)
    loss_N = np.asarray(view.labels(["loss"])["loss"].combine_chunks())
    loss_U = np.bincount(unit_N, loss_N) / np.bincount(unit_N)
    repeats_U = (cell_U >> NAMES.index("induction") & 1) - 1e-3 * loss_U
    kinds = {
        **{name: own.weights.factor_U for name, own in found.items()},
        "uniform": np.ones_like(share_U),
        "high_loss": _ranked(weights.factor_U, share_U, loss_U),
        "low_loss": _ranked(weights.factor_U, share_U, -loss_U),
        "repeats": _ranked(weights.factor_U, share_U, repeats_U),
    }
    record: dict[str, Any] = {
        "components": list(view.components),
        "cell": [
            [name for bit, name in enumerate(NAMES) if cell >> bit & 1] for cell in cell_U.tolist()
        ],
        "code": cell_U.tolist(),
        "share": share_U.tolist(),
        "loss": loss_U.tolist(),
        "kinds": {
            name: {
                "factor": factor_U.tolist(),
                "effective_share": effective_share(share_U, factor_U),
            }
            for name, factor_U in kinds.items()
        },
    }
    for name, own in found.items():
        record["kinds"][name] |= {
            "target": own.weights.target_H.tolist(),
            "predicted": own.weights.predicted_H.tolist(),
            "error": own.weights.error_H.tolist(),
            "reached": own.weights.reached,
            "reachable": own.weights.reachable,
            "axis_reliability": own.weights.axes.reliability_A.tolist(),
        }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.json").write_text(json.dumps(record, indent=1))


def _traits(view: RunView) -> Traits:
    return Traits.of(required_pieces(view, vocabulary_of(view), "pattern types"))


def _ranked(factor_U: Floats, share_U: Floats, by_U: Floats) -> Floats:
    """The distribution of some factors over tokens, given to the cells in another order.

    A cell gets the mean of the quantiles that its share of the tokens covers.
    """
    by_factor, by_other = np.argsort(factor_U, kind="stable"), np.argsort(by_U, kind="stable")
    mass = np.append(0, np.cumsum(share_U[by_factor]))
    total = np.append(0, np.cumsum((share_U * factor_U)[by_factor]))
    edges = np.append(0, np.cumsum(share_U[by_other])).clip(max=mass[-1])
    result = np.empty_like(factor_U)
    result[by_other] = np.diff(np.interp(edges, mass, total)) / share_U[by_other]
    return result


def train(start: str, text: Path, folder: Path, kind: str, seed: int, num_tokens: int) -> None:
    """Train the model on weighted losses and write its curve; a finished one is kept."""
    out = folder / f"curve-{kind}-{seed}.json"
    if out.exists():
        return
    record = json.loads((folder / "weights.json").read_text())
    config = ModelConfig(name_or_path=start)
    model = load_model(config).requires_grad_(True)
    traits = Traits.of(known_vocabulary(config, model.config.vocab_size).pieces or [])
    factor_C = np.ones(2 ** len(NAMES))  # a cell that the run did not have is left alone
    source = "for" if kind == "random" else kind
    factor_U = np.array(record["kinds"][source]["factor"])
    factor_C[record["code"]] = factor_U
    random = keyed_rng(seed, "random weights")
    hidden, rest = split_parameters(model)
    optimisers = [
        Muon(hidden, lr=MUON_LR, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=ADAM_LR, betas=(0.9, 0.95), weight_decay=0.01),
    ]
    corpus = _corpus(text)
    num_steps = num_tokens // (BATCH * CONTEXT)
    checks = {round(num_steps * k / NUM_EVALUATIONS) for k in range(NUM_EVALUATIONS + 1)}
    curve = []
    for step, ids_BT1 in enumerate(_batches(corpus, seed, num_steps + 1)):
        if step in checks:
            curve.append(_evaluated(model, corpus, step * BATCH * CONTEXT))
            print(kind, seed, curve[-1], flush=True)
        factor_BT = factor_C[pattern_cells(traits, ids_BT1)]
        if kind == "random":
            factor_BT = random.choice(factor_U, size=factor_BT.shape, p=record["share"])
        batch, factors = torch.from_numpy(ids_BT1), torch.from_numpy(factor_BT).float()
        logits = model.train()(batch[:, :-1], use_cache=False).logits
        losses = cross_entropy(logits.mT, batch[:, 1:], reduction="none")
        ((losses * factors).sum() / factors.sum()).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, peak in zip(optimisers, (MUON_LR, ADAM_LR), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * min(1.0, (step + 1) / WARMUP_STEPS)
            optimiser.step()
            optimiser.zero_grad()
    out.write_text(json.dumps(curve))


def _corpus(text: Path) -> Corpus:
    """Token streams as `spectro pretrain` keeps them in its work folder."""
    with np.load(text / "streams.npz") as stored:
        found = {name: stored[name] for name in stored.files}
    train, held_out = (
        {k.partition("/")[2]: v for k, v in found.items() if k.startswith(split)}
        for split in ("train/", "heldout/")
    )
    return Corpus(train=train, heldout=held_out)


def _batches(corpus: Corpus, seed: int, num_steps: int) -> Iterator[npt.NDArray[np.int64]]:
    """Batches of the mixture that the model was trained on, [B, T + 1], in an order by seed."""
    groups = yaml.safe_load(PRETRAINING.read_text())["groups"]
    streams = list(corpus.train.values())
    counts = {name: num_samples(len(stream), CONTEXT) for name, stream in corpus.train.items()}
    weights = {name: float(groups[name]["weight"]) for name in counts}
    group_S, index_S = sequence_order(1 + seed, counts, weights, num_steps * BATCH)
    for at in range(0, len(group_S), BATCH):
        yield gather(streams, group_S[at : at + BATCH], index_S[at : at + BATCH], CONTEXT)


def _evaluated(model: PreTrainedModel, corpus: Corpus, tokens: int) -> Point:
    losses = heldout_losses(model.eval(), corpus, context=CONTEXT, num_per_group=NUM_HELD_OUT)
    return {
        "tokens": tokens,
        "induction_score": induction_score(model),
        "held_out_loss": float(np.mean(list(losses.values()))),
    }


def summary(folder: Path) -> dict[str, Any]:
    """Mean and standard error over seeds of every curve, and of its difference from `uniform`."""
    curves = {
        kind: {
            int(path.stem.rpartition("-")[2]): json.loads(path.read_text())
            for path in sorted(folder.glob(f"curve-{kind}-*.json"))
        }
        for kind in KINDS
        if list(folder.glob(f"curve-{kind}-*.json"))
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


def draw(results: Sequence[dict[str, Any]], out: Path) -> None:
    """A panel of induction scores for each result, and the factors of cells for and against."""
    theme = named_theme(THEMES[0])
    with style(theme):
        made = new_figure(WIDE, 3.8)
        head(made, theme, "Weights from χ for and against induction heads", CAPTION)
        *curves, factors = made.subplots(1, len(results) + 1)
        for axes, result in zip(curves, results, strict=True):
            _draw_curves(axes, theme, result["curves"])
        curves[0].legend(frameon=False, fontsize=SMALL)
        _draw_factors(factors, theme, results[0]["weights"])
    out.write_bytes(to_bytes(made, out.suffix, theme))


def _draw_curves(axes: Axes, theme: Theme, curves: dict[str, Any]) -> None:
    for kind, curve in curves.items():
        index = KINDS.index(kind)
        score = curve["induction_score"]
        errors = [error or 0.0 for error in score["standard_error"]]
        axes.errorbar(
            np.array(curve["tokens"]) / 1e6, score["mean"], errors, label=kind.replace("_", " "),
            color=theme.colour(index), linewidth=1.4 if index < 2 else 0.9, elinewidth=0.6,
        )  # fmt: skip
    axes.set_title("Induction score, nats")
    axes.set_xlabel("million tokens of training")


def _draw_factors(axes: Axes, theme: Theme, weights: dict[str, Any]) -> None:
    shown = np.argsort(weights["share"])[-NUM_CELLS:]
    for offset, kind in ((0.2, "for"), (-0.2, "against")):
        factor_U = np.array(weights["kinds"][kind]["factor"])[shown]
        axes.barh(
            np.arange(len(shown)) + offset, factor_U, 0.38, label=kind,
            color=theme.colour(KINDS.index(kind)),
        )  # fmt: skip
    axes.set_yticks(range(len(shown)), [" + ".join(weights["cell"][u]) for u in shown])
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.axvline(1, color=theme.soft, linewidth=0.7)
    axes.set_title("Factors of the loss")


def main(arguments: list[str]) -> None:
    """One of the three steps of the module's text."""
    torch.set_num_threads(1)
    match arguments:
        case ["weights", uri, folder]:
            write_weights(uri, Path(folder))
        case ["train", start, text, folder, num_seeds, num_tokens, *kinds]:
            for seed in range(int(num_seeds)):
                for kind in kinds or KINDS:
                    train(start, Path(text), Path(folder), kind, seed, int(num_tokens))
        case ["table", folder, out]:
            record = json.loads((Path(folder) / "weights.json").read_text())
            found = {"weights": record, "curves": summary(Path(folder))}
            Path(out).write_text(json.dumps(found, indent=1) + "\n")
        case ["picture", *results, out]:
            draw([json.loads(Path(result).read_text()) for result in results], Path(out))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
