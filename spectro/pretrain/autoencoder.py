"""Trains a small autoencoder of a model on the embedded corpus, and writes it as SAELens does.

Activations are made as they are needed, in a keyed order of all positions of some sequences at a
time; nothing but the autoencoder is kept. Shapes: S sequences, T context, D vectors.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from spectro.autoencoders.autoencoder import Autoencoder
from spectro.autoencoders.hooks import HookReader, parse_hook
from spectro.autoencoders.reconstruction import Reconstruction
from spectro.autoencoders.train import train_top_k
from spectro.config import to_dict
from spectro.measure.tokenise import tokenizer_of
from spectro.models.load import load_model
from spectro.pretrain.autoencoder_config import AutoencoderConfig
from spectro.tokens.build import build
from spectro.work.model_info import ModelInfo

logger = logging.getLogger(__name__)
FORMAT = "6.0.0"
"""Version of SAELens whose layout is written."""


def train_autoencoder(config: AutoencoderConfig) -> dict[str, Any]:
    """Train, write, and return what training.json says."""
    torch.set_num_threads(config.num_threads)
    model = load_model(config.model)
    reader = HookReader(model, parse_hook(config.hook))
    vocab_size = int(model.config.vocab_size)
    encode, eot_id = tokenizer_of(config.model, vocab_size)
    splits = build(config.tokens, encode, eot_id, vocab_size)
    train_ST = torch.from_numpy(splits.probe.ids_ST1[:, :-1]).long()
    held_ST = torch.from_numpy(splits.evaluation.ids_ST1[:, :-1]).long()
    logger.info("%d training sequences, %d held out", len(train_ST), len(held_ST))
    num_batches = config.num_tokens // config.batch_tokens
    sample_mD = _vectors(reader, train_ST[torch.randperm(len(train_ST), generator=_key(0))[:256]])
    found = train_top_k(_batches(reader, train_ST, config), num_batches, sample_mD, config.top_k)
    record = _record(config, found, reader, held_ST, len(train_ST))
    write_saelens(Path(config.out_dir), found, model, config)
    (Path(config.out_dir) / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    return record


def write_saelens(
    folder: Path, found: Autoencoder, model: PreTrainedModel, config: AutoencoderConfig
) -> None:
    """A TopK autoencoder in the layout of SAELens 6."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        "W_enc": found.w_enc_DF, "W_dec": found.w_dec_FD, "b_enc": found.b_enc_F,
        "b_dec": found.b_dec_D,
    }  # fmt: skip
    save_file(tensors, folder / "sae_weights.safetensors")
    metadata = {
        "model_name": config.model.name_or_path,
        "model_weights_sha256": ModelInfo.of(model).weights_sha256,
        "hook_name": parse_hook(config.hook).name,
        "hook_head_index": None,
        "prepend_bos": False,
        "context_size": config.tokens.context,
        "dataset_path": "the embedded corpus of spectro",
        "model_from_pretrained_kwargs": {"revision": config.model.revision},
        "sae_lens_version": FORMAT,
        "sae_lens_training_version": None,
    }
    cfg = {
        "architecture": "topk",
        "d_in": found.num_inputs,
        "d_sae": found.num_features,
        "k": found.k,
        "rescale_acts_by_decoder_norm": False,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": metadata,
    }
    (folder / "cfg.json").write_text(json.dumps(cfg, indent=1) + "\n")


def _batches(reader: HookReader, ids_ST: Tensor, config: AutoencoderConfig) -> Iterator[Tensor]:
    """Batches without end: epoch after epoch in keyed orders."""
    epoch = 0
    while True:
        epoch += 1
        order = torch.randperm(len(ids_ST), generator=_key(config.top_k.seed, epoch))
        for start in range(0, len(order), config.buffer_sequences):
            x_nD = _vectors(reader, ids_ST[order[start : start + config.buffer_sequences]])
            mixed = torch.randperm(len(x_nD), generator=_key(config.top_k.seed, epoch, start))
            for first in range(0, len(x_nD) - config.batch_tokens + 1, config.batch_tokens):
                yield x_nD[mixed[first : first + config.batch_tokens]]


def _vectors(reader: HookReader, ids_ST: Tensor) -> Tensor:
    parts = [reader(part) for part in torch.split(ids_ST, 64)]
    return torch.cat(parts).flatten(0, 1)


def _key(*numbers: int) -> torch.Generator:
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (1 << 63)
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def _record(
    config: AutoencoderConfig, found: Autoencoder, reader: HookReader, held_ST: Tensor, num: int
) -> dict[str, Any]:
    """How it reconstructs text that it was not trained on."""
    x_nD = _vectors(reader, held_ST)
    total, active = None, torch.zeros(found.num_features, dtype=torch.int64)
    for rows, f_bF in found.blocks(x_nD):
        active += (f_bF > 0).sum(dim=0)
        own = Reconstruction.of(x_nD[rows], found.decode(f_bF, x_nD[rows]), int((f_bF > 0).sum()))
        total = own if total is None else total + own
    assert total is not None
    settings = to_dict(config)
    del settings["out_dir"]
    return {
        "heldout_fvu": total.fvu,
        "heldout_l0": total.l0,
        "heldout_tokens": total.num,
        "features_never_active": int((active == 0).sum()),
        "training_sequences": num,
        "config": settings,
        "versions": {"torch": torch.__version__},
    }
