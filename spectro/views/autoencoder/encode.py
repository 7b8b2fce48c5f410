"""Encodes a run's tokens by an autoencoder: an object per token shard, put as it is made.

What is there is not made again, so that the same command resumes, and tokens that are added to a
run are encoded beside the others. Shapes: S sequences, T context, n rows, D vectors, c cells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from spectro.autoencoders.autoencoder import Autoencoder
from spectro.autoencoders.reconstruction import (
    Reconstruction,
    check_reconstruction,
    sparse_rows,
)
from spectro.formats import tokens
from spectro.formats.encodings import CELLS, folder_of, key_of, put_encoding, shard_name
from spectro.storage.checksummed_arrays import put_arrays, read_arrays
from spectro.storage.store import Store
from spectro.views.autoencoder.reader import RowReader
from spectro.views.autoencoder.source import AutoencoderSource, require_same_weights
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary_of
from spectro.work.model_info import ModelInfo

logger = logging.getLogger(__name__)
OnProgress = Callable[[float, float], None]
DISTANCE_ROWS = 4096
"""Rows whose distances to all cells are held at once."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """A run's tokens as features."""

    key: str
    """Name of its folder."""
    folder: Store
    description: dict[str, Any]
    """encoding.json, or what it will be."""


def encode(
    view: RunView, source: AutoencoderSource, on_progress: OnProgress = lambda done, total: None
) -> Encoding:
    """Encode all tokens of a run, shard by shard.

    Args:
        view: of the run, or of a part of one, whose tokens are the run's.
        source: the autoencoder and the model.
        on_progress: called with shards done and shards in all.

    Raises ValueError, in one line, where model, hook and autoencoder do not belong together, or the
    autoencoder reconstructs worse than a constant.
    """
    description = source.description
    key = key_of(description)
    folder = folder_of(view.root, key)
    to_do = [n for n in range(view.num_shards) if not folder.exists(shard_name(n))]
    found = Encoding(key=key, folder=folder, description=description)
    if not to_do:
        return found
    reader = RowReader(source, vocabulary_of(view).pieces, view.info.vocab_size)
    own = ModelInfo.of(reader.model).weights_sha256
    require_same_weights(source, own, view.file.inputs.get("model_weights"))
    autoencoder = source.released.autoencoder.to(reader.device)
    if not folder.exists(CELLS):
        centres_cD = _checked_cells(view, source, reader, autoencoder)
        put_encoding(folder, {**description, "model_sha256": own})
        put_arrays(folder, CELLS, {"centres": centres_cD})
    put_encoding(folder, {**description, "model_sha256": own})
    centres = torch.from_numpy(read_arrays(folder, CELLS)["centres"]).to(reader.device)
    done = view.num_shards - len(to_do)
    for shard in to_do:
        on_progress(done, view.num_shards)
        _, sequences = tokens.read_shard(view.root, "probe", shard, view.info)
        arrays = _encoded(sequences.ids_ST1, reader, autoencoder, centres)
        put_arrays(folder, shard_name(shard), arrays)
        done += 1
    on_progress(done, view.num_shards)
    return found


def _checked_cells(
    view: RunView, source: AutoencoderSource, reader: RowReader, autoencoder: Autoencoder
) -> NDArray[np.float32]:
    """Centres of k-means of a sample's activations, once it is reconstructed; [c, D]."""
    config = source.config
    num = view.info.splits["probe"].num_sequences
    chosen = min(num, -(-config.num_fitted // view.context))
    ids_ST1, _ = view.sequences(np.unique(np.linspace(0, num - 1, chosen).astype(np.int64)))
    x_nD = torch.cat([x for _, x in reader.rows(ids_ST1)])
    if len(x_nD) < 2:
        raise ValueError(f"{source.what}: {len(x_nD)} tokens of the run could be read")
    total = _measured(autoencoder, x_nD)[0]
    if not source.accept_mismatch:
        check_reconstruction(total, source.what)
    logger.info("%s: error %.3f of the variance, L0 %.1f", source.what, total.fvu, total.l0)
    cells = MiniBatchKMeans(
        n_clusters=min(config.num_cells, len(x_nD) // 2), random_state=0, n_init=1, batch_size=4096
    )
    centres: NDArray[np.float32] = cells.fit(x_nD.cpu().numpy()).cluster_centers_
    return centres.astype(np.float32)


def _encoded(
    ids_ST1: NDArray[np.integer], reader: RowReader, autoencoder: Autoencoder, centres_cD: Tensor
) -> dict[str, NDArray[Any]]:
    """The arrays of one shard."""
    is_read = np.zeros(len(ids_ST1) * (ids_ST1.shape[1] - 1), np.bool_)
    total, parts, cells = None, [], []
    for row_n, x_nD in reader.rows(ids_ST1):
        is_read[row_n] = True
        found, rows = _measured(autoencoder, x_nD)
        total = found if total is None else total + found
        parts.append(rows)
        cells.append(_nearest(x_nD, centres_cD))
    assert total is not None, "a shard has at least one sequence"
    count, index, value = (np.concatenate(each) for each in zip(*parts, strict=True))
    return {
        "is_read": is_read,
        "count": count,
        "index": index,
        "value": value,
        "cell": np.concatenate(cells),
        **total.arrays(),
    }


def _measured(
    autoencoder: Autoencoder, x_nD: Tensor
) -> tuple[Reconstruction, tuple[NDArray[Any], ...]]:
    """Sums of reconstruction, and active features: number per row, indices, values."""
    total, parts = None, []
    for rows, f_bF in autoencoder.blocks(x_nD):
        parts.append(sparse_rows(f_bF))
        own_bD = x_nD[rows]
        found = Reconstruction.of(own_bD, autoencoder.decode(f_bF, own_bD), len(parts[-1][1]))
        total = found if total is None else total + found
    if total is None:  # no row of this batch could be read
        total = Reconstruction.of(x_nD, x_nD, 0)
        parts.append(sparse_rows(x_nD.new_zeros(0, autoencoder.num_features)))
    return total, tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def _nearest(x_nD: Tensor, centres_cD: Tensor) -> NDArray[np.int32]:
    """Cell of each vector."""
    found = [
        torch.cdist(x_nD[first : first + DISTANCE_ROWS], centres_cD).argmin(dim=1).int()
        for first in range(0, len(x_nD), DISTANCE_ROWS)
    ]
    return torch.cat([x_nD.new_empty(0, dtype=torch.int32), *found]).cpu().numpy()
