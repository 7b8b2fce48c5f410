"""What a device achieves: TFLOP/s of scoring and stepping by shape and precision, and devinterp."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import torch

from benchmarks import peer, roofline
from benchmarks.gpu_checks import Setup
from benchmarks.roofline import PRODUCT, product_case
from spectro.models.config import Precision
from spectro.models.cost.memory import resident_bytes
from spectro.models.size import ModelSize
from spectro.planning.config import PRODUCT_BYTES
from spectro.planning.measure_rates import measure_rate
from spectro.planning.model_sizes import published_sizes

PYTHIA_6_9B = ModelSize(num_layers=32, num_heads=32, hidden_size=4096, vocab_size=50432)
SHAPES = {name: published_sizes()[f"pythia-{name}"] for name in ("14m", "410m", "1.4b")}
LARGEST = "6.9b"
SHAPES[LARGEST] = PYTHIA_6_9B
LLAMA_1B = "llama-1b"
SHAPES[LLAMA_1B] = ModelSize.of_config(
    {
        "model_type": "llama",
        "num_hidden_layers": 16,
        "hidden_size": 2048,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "intermediate_size": 8192,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    }
)
"""As Llama 3.2 1B."""
TOY = ModelSize(num_layers=3, num_heads=2, hidden_size=32, vocab_size=97)
PRECISIONS = (Precision.FLOAT32, Precision.TF32, Precision.BFLOAT16)
CONTEXT, ROWS, ROWS_OF_LARGEST = 512, 2**14, 2**12
"""Positions of a sequence; positions × draws of a timed pass: seconds at the largest shape."""
SHARE_OF_CARD = 0.7
"""Of a card's memory, what a model may take to be measured on it."""
PEER_OPTIONS = (
    "--shape", "14m", "--rounds", "1", "--draws", "8", "--timed-peer-draws", "2",
    "--no-lists", "--pilot-draws", "8",
)  # fmt: skip


def rates(setup: Setup, shape: str) -> dict[str, Any]:
    """Rates at one shape in every precision, and their share of a square product's."""
    size = dataclasses.replace(TOY, family=SHAPES[shape].family) if setup.quick else SHAPES[shape]
    context, rows = (16, 32) if setup.quick else (CONTEXT, ROWS)
    if shape == LARGEST:
        rows = min(rows, ROWS_OF_LARGEST)
    device, found = torch.device(setup.device), []
    for precision in PRECISIONS:
        if reason := _too_large(size, precision, device):
            return {"skipped": reason}
        rate = measure_rate(size, context, precision, device, most_contexts=rows // context)
        product = _product_tflops(precision, setup)
        found.append(
            {
                **dataclasses.asdict(rate),
                "product_tflops": product,
                "scoring_share": rate.scoring_tflops / product,
                "stepping_share": rate.stepping_tflops / product,
            }
        )
    return {"rates": found}


def devinterp(setup: Setup) -> dict[str, Any]:
    """Its time over ours on the same work at one small shape."""
    if importlib.util.find_spec("devinterp") is None:
        return {"skipped": "devinterp is not installed (pip install devinterp==2.0.1)"}
    given = ["--toy", "--no-lists"] if setup.quick else list(PEER_OPTIONS)
    options = peer.options_of([*given, "--device", setup.device])
    found = peer.measure_same_work(peer.work_of(options), options)
    return {"work": found["work"], "ratios": found["ratios"]}


def _product_tflops(precision: Precision, setup: Setup) -> float:
    case = product_case(128 if setup.quick else 8192, precision, setup.device)
    found = roofline.measure([case], 3, setup.device)[PRODUCT]
    return float(max(found["tflops_per_second"]))


def _too_large(size: ModelSize, precision: Precision, device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    needed = resident_bytes(size, PRODUCT_BYTES[precision])
    card = torch.cuda.mem_get_info(device)[1]
    if needed <= SHARE_OF_CARD * card:
        return None
    return f"the model takes {needed / 1e9:.0f} GB of a card of {card / 1e9:.0f} GB"
