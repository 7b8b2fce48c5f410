"""Active features of a run's tokens, by one autoencoder; objects are put as tokens are encoded.

    autoencoders/<key>/encoding.json              checksummed, put first: autoencoder, model, hook
    autoencoders/<key>/cells.safetensors          centres of k-means cells of activations [c, D]
    autoencoders/<key>/shard-NNNNN.safetensors    of a token shard: which rows were read, for each
                                                  the number of its active features and its cell;
                                                  features and activations; sums of reconstruction

The key is a digest of what the features depend on, so that tokens that are added later are encoded
beside those that are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectro.formats import fingerprint
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import Store

FOLDER = "autoencoders"
ENCODING, CELLS = "encoding.json", "cells.safetensors"
KEY_LENGTH = 16


def key_of(inputs: Mapping[str, Any]) -> str:
    """Name of the folder of an encoding."""
    return fingerprint.digest(inputs)[:KEY_LENGTH]


def shard_name(shard: int) -> str:
    """Name of the features of a token shard, within the folder."""
    return f"shard-{shard:05d}.safetensors"


def folder_of(root: Store, key: str) -> Store:
    """Folder of an encoding in a run."""
    return root.child(f"{FOLDER}/{key}")


def put_encoding(folder: Store, content: Mapping[str, Any]) -> dict[str, Any]:
    """Put the description unless it is there; returns what is there.

    Raises ValueError, in one line, if what is there was read from other weights.
    """
    folder.put_if_absent(ENCODING, seal(content))
    there = read_sealed(folder, ENCODING)
    if there["model_sha256"] != content["model_sha256"]:
        raise ValueError(
            f"{folder.uri} was read by a model with the weights {there['model_sha256'][:16]}, this "
            f"one has {content['model_sha256'][:16]}: was the checkpoint replaced? Delete the "
            "folder to encode the tokens again"
        )
    return there
