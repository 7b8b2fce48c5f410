"""Which way to take the loss of many rows over a vocabulary? Time of each, in alternating runs.

    python -m benchmarks.loss [--device cuda] [--out benchmarks/results]

Every candidate is measured in every round, beside the plain loss (all logits, then cross-entropy);
a row gives the median over rounds of its time relative to the plain one's of the same round, with
the lower and upper quartile. Three tasks: the loss alone (scoring); with its gradient in the
hidden states (chains of heads, MLPs, the embedding); with that in the output matrix (chains of the
unembedding). `error` is the largest difference from float64, in nats. Candidates that are not
installed, or need CUDA, leave an empty row that says why.

The first row of "shifted" is what spectro/models/token_loss.py does.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import common
from spectro.models import token_loss as loss_module
from spectro.models.config import Precision

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(hidden [N, D], unembedding [V, D], targets [N]) → losses [N]."""

SHAPES = {"embedded": (128, 2048), "pythia-14m": (128, 50304), "pythia-70m": (512, 50304)}
TASKS = ("forward", "hidden", "unembed")
BLOCKS = {
    "cpu": [(1024, 1024), (512, 1024), (256, 1024), (1024, 512), (160, 2048), (160, 1 << 20)],
    "cuda": [(8192, 4096), (4096, 2048), (8192, 8192), (2048, 1 << 20), (16384, 16384)],
}
CHUNK_ROWS = {"cpu": 160, "cuda": 2048}


def plain(hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor) -> Tensor:
    """All logits at once."""
    return functional.cross_entropy(hidden_ND @ unembed_VD.T, targets_N, reduction="none")


class RowChunks(torch.autograd.Function):
    """Whole rows of logits, some at a time, each by torch's own cross-entropy and softmax."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor) -> Tensor:
        """Losses; the gradient in the hidden states is taken while the logits exist."""
        losses = torch.empty_like(hidden_ND[:, 0])
        early = ctx.needs_input_grad[0]
        grad_ND = torch.empty_like(hidden_ND) if early else None
        for rows, logits in RowChunks.logits(hidden_ND, unembed_VD):
            losses[rows] = functional.cross_entropy(logits, targets_N[rows], reduction="none")
            if grad_ND is not None:
                residual = RowChunks.residual(logits, targets_N[rows])
                torch.mm(residual, unembed_VD, out=grad_ND[rows])
        ctx.save_for_backward(*((grad_ND,) if early else (hidden_ND, unembed_VD, targets_N)))
        return losses

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients; that in the output matrix computes the logits again."""
        grad_N1 = upstream[0][:, None]
        if ctx.needs_input_grad[0]:
            return ctx.saved_tensors[0] * grad_N1, None, None
        hidden_ND, unembed_VD, targets_N = ctx.saved_tensors
        unembed_grad_VD = torch.zeros_like(unembed_VD)
        for rows, logits in RowChunks.logits(hidden_ND, unembed_VD):
            residual = RowChunks.residual(logits, targets_N[rows]).mul_(grad_N1[rows])
            unembed_grad_VD.addmm_(residual.T, hidden_ND[rows])
        return None, unembed_grad_VD, None

    @staticmethod
    def logits(hidden_ND: Tensor, unembed_VD: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Row slices and their logits, in one buffer."""
        size = CHUNK_ROWS[hidden_ND.device.type]
        buffer = hidden_ND.new_empty(size, len(unembed_VD))
        for start in range(0, len(hidden_ND), size):
            rows = slice(start, min(start + size, len(hidden_ND)))
            yield rows, torch.mm(hidden_ND[rows], unembed_VD.T, out=buffer[: rows.stop - start])

    @staticmethod
    def residual(logits: Tensor, targets: Tensor) -> Tensor:
        """softmax(logits) − onehot(targets)."""
        residual = torch.softmax(logits, dim=-1)
        residual[torch.arange(len(targets), device=targets.device), targets] -= 1.0
        return residual


def shifted(block: tuple[int, int], precision: Precision = Precision.FLOAT32) -> Loss:
    """The library's loss with blocks of this size."""

    def losses(hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor) -> Tensor:
        before = loss_module.BLOCK[hidden_ND.device.type]
        loss_module.BLOCK[hidden_ND.device.type] = block
        try:
            return loss_module.token_losses(hidden_ND, unembed_VD, targets_N, precision)
        finally:
            loss_module.BLOCK[hidden_ND.device.type] = before

    return losses


def compiled_chunks(device: str) -> Loss:
    """Rows of logits, some at a time, product and cross-entropy compiled together."""
    torch.compiler.reset()  # or it counts the variants of all tasks, and gives up
    one = torch.compile(plain, dynamic=False)
    size = 512 if device == "cpu" else CHUNK_ROWS["cuda"]

    def losses(hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor) -> Tensor:
        parts = zip(hidden_ND.split(size), targets_N.split(size), strict=True)
        return torch.cat([one(hidden, unembed_VD, targets) for hidden, targets in parts])

    return losses


def liger(hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Liger's fused linear cross-entropy; it gives gradients of a sum only."""
    from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction

    found = LigerFusedLinearCrossEntropyFunction.apply(
        hidden_ND, unembed_VD, targets_N, None, None, -100, 0.0, 0.0, "none"
    )
    return found[0] if isinstance(found, tuple) else found


def cut_cross_entropy(hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Apple's kernel; it takes bfloat16 operands only."""
    from cut_cross_entropy import linear_cross_entropy

    operands = hidden_ND.bfloat16(), unembed_VD.bfloat16()
    return linear_cross_entropy(*operands, targets_N, reduction="none").float()


def candidates(device: str, *, with_compile: bool) -> dict[str, Loss]:
    """All ways, by name."""
    kind = torch.device(device).type
    blocks = BLOCKS[kind]
    found: dict[str, Loss] = {
        "plain": plain,
        f"chunks of {CHUNK_ROWS[kind]} rows": RowChunks.apply,
        **{f"shifted {rows} x {columns}": shifted((rows, columns)) for rows, columns in blocks},
        "shifted, bfloat16": shifted(blocks[0], Precision.BFLOAT16),
        "liger": liger,
        "cut_cross_entropy": cut_cross_entropy,
    }
    return {**found, "torch.compile of a chunk": compiled_chunks(kind)} if with_compile else found


def seconds(way: Loss, task: str, hidden: Tensor, unembed: Tensor, targets: Tensor) -> float:
    """Time of one pass."""
    hidden = hidden.detach().requires_grad_(task == "hidden")
    unembed = unembed.detach().requires_grad_(task == "unembed")
    synchronise(hidden)
    start = time.perf_counter()
    losses = way(hidden, unembed, targets)
    if task != "forward":
        losses.sum().backward()
    synchronise(hidden)
    return time.perf_counter() - start


def synchronise(like: Tensor) -> None:
    """Wait for the device."""
    if like.device.type == "cuda":
        torch.cuda.synchronize()


def measure(
    ways: dict[str, Loss], task: str, tensors: tuple[Tensor, Tensor, Tensor], num_rounds: int
) -> dict[str, Any]:
    """Relative times of all candidates for one task, and why some have none."""
    hidden, unembed, targets = tensors
    exact = plain(hidden.double(), unembed.double(), targets)
    rows: dict[str, Any] = {}
    able: dict[str, Loss] = {}
    for name, way in ways.items():
        try:
            seconds(way, task, *tensors)  # warm up, compile
            error = float((way(*tensors) - exact).abs().max())
        except Exception as failure:  # noqa: BLE001 - whatever a candidate lacks, it is its row
            rows[name] = {"none": f"{type(failure).__name__}: {str(failure).splitlines()[0][:120]}"}
            continue
        able[name], rows[name] = way, {"error": error}
    times: dict[str, list[float]] = {name: [] for name in able}
    for _ in range(num_rounds):
        for name, way in able.items():
            times[name].append(seconds(way, task, *tensors))
    rows["plain"]["seconds"] = statistics.median(times["plain"])
    for name, values in times.items():
        ratios = [own / base for own, base in zip(values, times["plain"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows[name] |= {"ratio": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
    return rows


def main() -> None:
    """Measure every shape and task, print, and write if asked."""
    parser = common.parser(__doc__, list(SHAPES))
    parser.set_defaults(shape=None, rounds=7)
    parser.add_argument("--rows", type=int, help="rows; 1024, or 32768 on CUDA")
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    num_rows = options.rows or (1024 if options.device == "cpu" else 32768)
    tables: dict[str, Any] = {}
    for shape, (size, vocab) in SHAPES.items():
        if options.shape not in (None, shape) or (options.toy and shape != "embedded"):
            continue
        torch.manual_seed(0)
        unembed = torch.randn(vocab, size) * 2.5 / size**0.5  # logits of a few nats
        tensors = (torch.randn(num_rows, size), unembed, torch.randint(0, vocab, (num_rows,)))
        tensors = tuple(tensor.to(options.device) for tensor in tensors)
        tables[shape] = {}
        for task in TASKS:
            ways = candidates(options.device, with_compile=not options.no_compile)
            tables[shape][task] = measure(ways, task, tensors, options.rounds)
            print(shape, task)
            for name, row in tables[shape][task].items():
                print(f"  {name:28}", row)
    result = {
        "question": "time relative to the plain loss, by way of taking it",
        "rows": num_rows,
        "rounds": options.rounds,
        "tables": tables,
    }
    common.write("loss", options, result)


if __name__ == "__main__":
    main()
