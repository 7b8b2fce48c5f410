"""Names of an upsampled run's predictor objects (arrays: storage/checksummed_arrays.py).

predictor/features-NNNNN.safetensors   features float32 [n·T, F] of a measured token shard;
                                       removed after the evaluation of the predictors
predictor/fold-NN-half-H.safetensors   a network trained on one half of the chains, without the
                                       token shards of the fold
predictor/held-out.json                checksummed: held-out errors of all networks; put last
"""

from __future__ import annotations

FOLDER = "predictor"
FEATURES = rf"{FOLDER}/features-(?P<shard>\d+)\.safetensors"
"""Pattern of `features_name`."""
PREDICTORS = rf"{FOLDER}/fold-\d+-half-[01]\.safetensors"
"""Pattern of `predictor_name`."""
HELD_OUT = f"{FOLDER}/held-out.json"


def features_name(shard: int) -> str:
    """Name of the features of a measured token shard."""
    return f"{FOLDER}/features-{shard:05d}.safetensors"


def predictor_name(fold: int, half: int) -> str:
    """Name of the predictor from one half of the chains and all folds but one."""
    return f"{FOLDER}/fold-{fold:02d}-half-{half}.safetensors"
