"""A result as AnnData: tokens are observations, components are variables.

    X, layers["standard_error"]   χ and its standard error, nats², float32
    obs, obs_names                token_id = sequence · T + position as text; sequence, position,
                                  token (y), loss and full_response (nats) where they are known,
                                  subset and cluster as categories (cluster: none → missing)
    obsm["X_map"]                 places on the cluster map: `scanpy.pl.embedding(found, "map")`
    var, var_names                reliability, centred_reliability, mean_phi, llc, llc_error, rhat
    uns["spectro"]                num_chains, units

Shapes: N sequences, T tokens of each, H components.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectro.extras import optional_imports
from spectro.result.labelled_arrays import OF_COMPONENTS

if TYPE_CHECKING:
    import anndata
    import pandas

    from spectro.result.result import Result

MAP = ("map_x", "map_y")


def to_anndata(result: Result) -> anndata.AnnData:
    """See the head of this file."""
    with optional_imports():
        import anndata
        import pandas

    num_components = len(result.components)
    known = {name: result.labels[name].reshape(-1) for name in MAP if name in result.labels}
    error = result.columns.get("standard_error")
    return anndata.AnnData(
        X=result.chi.reshape(-1, num_components),
        obs=_tokens(result),
        var=pandas.DataFrame(
            {name: getattr(result, name) for name in OF_COMPONENTS},
            index=pandas.Index(list(result.components), dtype=object),
        ),
        obsm={"X_map": np.stack([known[name] for name in MAP], axis=1)} if known else None,
        layers=None if error is None else {"standard_error": error.reshape(-1, num_components)},
        uns={
            "spectro": {
                "units": "nats²",
                **({} if result.num_chains is None else {"num_chains": result.num_chains}),
            }
        },
    )


def _tokens(result: Result) -> pandas.DataFrame:
    """A row for each token."""
    import pandas

    num_sequences, context = result.chi.shape[:2]
    columns: dict[str, npt.NDArray[np.generic] | pandas.Categorical] = {
        "sequence": np.repeat(np.arange(num_sequences), context),
        "position": np.tile(np.arange(context), num_sequences),
        "token": result.probe_ids[:, 1:].reshape(-1),
        **{
            name: result.columns[name].reshape(-1)
            for name in ("loss", "full_response")
            if name in result.columns
        },
    }
    if "subset" in result.labels:
        columns["subset"] = pandas.Categorical(result.labels["subset"].reshape(-1))
    if "cluster" in result.labels:
        cluster_N = result.labels["cluster"].reshape(-1)
        names = [str(number) for number in range(int(cluster_N.max(initial=-1)) + 1)]
        columns["cluster"] = pandas.Categorical.from_codes(cluster_N, categories=names)
    ids = pandas.Index([str(n) for n in range(num_sequences * context)], dtype=object)
    return pandas.DataFrame(columns, index=ids)
