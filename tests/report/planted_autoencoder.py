"""A run and an autoencoder of the embedded model; features that are known to be clusters.

The run is made up; its ids are read by the embedded model. Half of its clusters are the tokens on
which features of the autoencoder are active, the other half are random.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import made_up_run
import numpy as np
import stored_run
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from spectro.autoencoders.autoencoder import ActivationKind, Autoencoder
from spectro.autoencoders.config import EncodeConfig, ReadingModelConfig
from spectro.models.config import ModelConfig
from spectro.models.load import load_model
from spectro.pretrain.autoencoder import write_saelens
from spectro.pretrain.autoencoder_config import AutoencoderConfig
from spectro.views.autoencoder.encode import encode
from spectro.views.autoencoder.source import source_of
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary

NUM_SEQUENCES, CONTEXT, NUM_FEATURES, NUM_PLANTED, NUM_CLUSTERS = 60, 32, 48, 12, 24
NUM_TOKENS, PER_FEATURE = NUM_SEQUENCES * CONTEXT, 40


@dataclass(frozen=True)
class Planted:
    """A run and its autoencoder."""

    run: Path
    sae: Path
    x_ND: NDArray[np.float32]
    """Vectors at the targets."""
    f_NF: NDArray[np.float32]
    """Features there."""


def vectors(name: str, ids_ST1: NDArray[np.integer], layer: int) -> torch.Tensor:
    """What the first norm of a layer is given: the residual stream, [S, T + 1, D]."""
    model = load_model(ModelConfig(name_or_path=name, device="cpu"))
    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    found: list[torch.Tensor] = []
    layers[layer].input_layernorm.register_forward_hook(lambda _, args, __: found.append(args[0]))
    with torch.no_grad():
        model(torch.from_numpy(ids_ST1.astype(np.int64)))
    return found[0]


def put_autoencoder(folder: Path, x_ND: torch.Tensor, name: str, hook: str) -> Autoencoder:
    """Random directions of whitened vectors, active on the strongest tokens of each; the decoder is
    fitted. In the layout of SAELens, as JumpReLU."""
    rng = torch.Generator().manual_seed(0)
    centred = x_ND - x_ND.mean(dim=0)
    _, scale, axes = torch.linalg.svd(centred, full_matrices=False)
    kept = min(40, x_ND.shape[1])
    white_DK = axes[:kept].T / scale[:kept] * len(x_ND) ** 0.5
    random_KF = torch.randn(kept, NUM_FEATURES, generator=rng)
    w_enc_DF = white_DK @ torch.nn.functional.normalize(random_KF, dim=0)
    pre_NF = centred @ w_enc_DF
    threshold_F = pre_NF.sort(dim=0, descending=True).values[PER_FEATURE]
    f_NF = pre_NF * (pre_NF > threshold_F)
    found = Autoencoder(
        w_enc_DF=w_enc_DF.contiguous(),
        b_enc_F=-(x_ND.mean(dim=0) @ w_enc_DF),
        w_dec_FD=torch.linalg.lstsq(f_NF, centred).solution.contiguous(),
        b_dec_D=x_ND.mean(dim=0),
        shift_D=torch.zeros(x_ND.shape[1]),
        kind=ActivationKind.JUMP_RELU,
        threshold_F=threshold_F,
    )
    config = AutoencoderConfig(out_dir="x", model=ModelConfig(name_or_path=name), hook=hook)
    write_saelens(folder, found, load_model(ModelConfig(name_or_path=name)), config)
    tensors = {
        "W_enc": found.w_enc_DF, "W_dec": found.w_dec_FD, "b_enc": found.b_enc_F,
        "b_dec": found.b_dec_D, "threshold": threshold_F.contiguous(),
    }  # fmt: skip
    save_file(tensors, folder / "sae_weights.safetensors")
    cfg = json.loads((folder / "cfg.json").read_text())
    cfg |= {"architecture": "jumprelu", "apply_b_dec_to_input": False}
    del cfg["k"], cfg["rescale_acts_by_decoder_norm"]
    (folder / "cfg.json").write_text(json.dumps(cfg))
    return found


def put_planted(folder: Path) -> Planted:
    """A run below the folder, and the autoencoder beside it."""
    pieces = vocabulary(ModelConfig(), 2048).pieces
    what = made_up_run.made(
        num_sequences=NUM_SEQUENCES, context=CONTEXT, num_clusters=NUM_CLUSTERS, vocabulary=pieces
    )
    ascii_ids = np.array([n for n, piece in enumerate(pieces) if piece and max(piece) < 128])
    ids = ascii_ids[what.probe.ids_ST1 % len(ascii_ids)].astype(np.int32)
    what = dataclasses.replace(what, probe=dataclasses.replace(what.probe, ids_ST1=ids))
    x_ND = vectors("embedded", what.probe.ids_ST1, 3)[:, 1:].flatten(0, 1)
    made = put_autoencoder(folder / "sae", x_ND, "embedded", "blocks.2.hook_resid_post")
    f_NF = made.features(x_ND).numpy()
    rng = np.random.default_rng(0)
    label = np.full(NUM_TOKENS, -1)
    for cluster in range(NUM_PLANTED):
        own = np.flatnonzero((f_NF[:, cluster] > 0) & (label < 0))
        label[rng.permutation(own)[: len(own) * 9 // 10]] = cluster
    free = rng.permutation(np.flatnonzero(label < 0))
    for cluster in range(NUM_PLANTED, NUM_CLUSTERS):
        label[free[cluster * 30 : cluster * 30 + 30]] = cluster
    what = dataclasses.replace(what, label_N=label)
    stored_run.write_run(folder / "run", what)
    return Planted(folder / "run", folder / "sae", x_ND.numpy(), f_NF)


def encoded(made: Planted, sae: str | Path | None = None, **reading: object):
    """The run encoded; by default by its planted autoencoder."""
    config = reading.pop("config", EncodeConfig(num_cells=8, num_fitted=512))
    source = source_of(
        str(sae or made.sae), ModelConfig(device="cpu"), ReadingModelConfig(device="cpu"),
        config, **reading,
    )  # fmt: skip
    return encode(RunView(str(made.run)), source)
