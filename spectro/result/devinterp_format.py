"""devinterp's format SusceptibilitiesV2, as devinterp 2.0.1 writes it.

    /susceptibilities   sus float [sus_flat, wr]; wr: names of weight restrictions; coordinates
                        along sus_flat: dataset_id, batch, target_position (from 1: the loss of the
                        token ids[target_position] after those before it)
    /context            input_ids [ctx_flat]; coordinates: dataset_id, batch, position (from 0)
    attributes          dataset_id_to_name, a list

Datasets are subsets, ordered by name. χ has the same sign and unit (nats²) on both sides.
Shapes: N sequences, T targets of each, H components, M = N · T.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectro.extras import optional_imports
from spectro.result.result import Result, subsets_of_sequences

if TYPE_CHECKING:
    import xarray

Ints = npt.NDArray[np.int64]


def to_devinterp(result: Result) -> xarray.DataTree:
    """Sequences by subset, and within one in their order; loss and statistics have no place there.

    Raises ValueError for a sequence in two subsets.
    """
    with optional_imports():
        import xarray

    names, dataset_N = subsets_of_sequences(result.labels.get("subset"), len(result.probe_ids))
    order_N = np.argsort(dataset_N, kind="stable")
    dataset_N = dataset_N[order_N].astype(np.int64)
    batch_N = np.arange(len(dataset_N)) - np.searchsorted(dataset_N, dataset_N)
    attributes = {"dataset_id_to_name": list(names)}

    def dataset(
        name: str, dim: str, values: npt.NDArray[Any], positions: Ints, position_name: str
    ) -> xarray.Dataset:
        coordinates = {
            "dataset_id": np.repeat(dataset_N, len(positions)),
            "batch": np.repeat(batch_N, len(positions)),
            position_name: np.tile(positions, len(dataset_N)),
        }
        known = xarray.Coordinates({k: (dim, v) for k, v in coordinates.items()}, indexes={})
        if values.ndim == 2:
            known = known.merge(xarray.Coordinates({"wr": list(result.components)})).coords
        dims = [dim] if values.ndim == 1 else [dim, "wr"]
        return xarray.Dataset({name: (dims, values)}, coords=known, attrs=attributes)

    context = result.chi.shape[1]
    chi_MH = result.chi[order_N].reshape(-1, len(result.components))
    ids = result.probe_ids[order_N].reshape(-1)
    targets = np.arange(1, context + 1)
    return xarray.DataTree.from_dict(
        {
            "/susceptibilities": dataset("sus", "sus_flat", chi_MH, targets, "target_position"),
            "/context": dataset("input_ids", "ctx_flat", ids, np.arange(context + 1), "position"),
        }
    )


def from_devinterp(tree: xarray.DataTree) -> Result:
    """χ, sequences and subsets of a tree; loss and statistics are not in it.

    Raises ValueError, in one line, for a tree of another kind, datasets of several context
    lengths, and sequences that lack a token.
    """
    found = _group(tree, "susceptibilities", "sus", ("sus_flat", "wr"), "target_position")
    context = _group(tree, "context", "input_ids", ("ctx_flat",), "position")
    names = _names(found.attrs.get("dataset_id_to_name"))
    chi, dataset_N = _whole_rows(found, "sus", "target_position", first=1)
    ids, dataset_of_ids_N = _whole_rows(context, "input_ids", "position", first=0)
    if ids.shape != (chi.shape[0], chi.shape[1] + 1) or not np.array_equal(
        dataset_N, dataset_of_ids_N
    ):
        raise ValueError(
            f"/susceptibilities has {chi.shape[0]} sequences of {chi.shape[1]} targets, /context "
            f"{ids.shape[0]} of {ids.shape[1]} ids; expected the same sequences, with one id more "
            "than targets: was the tree cut?"
        )
    if not dataset_N.size or not 0 <= dataset_N.min() <= dataset_N.max() < len(names):
        raise ValueError(
            f"dataset_id_to_name has {len(names)} names for the datasets "
            f"{sorted(set(dataset_N.tolist()))}: expected a name for each, from 0 on"
        )
    components = tuple(str(name) for name in found["wr"].values)
    subset_N = np.array(names, object)[dataset_N]
    return Result(
        components=components,
        columns={"chi": chi.astype(np.float32)},
        num_chains=None,
        summary={"components": list(components)},
        probe_ids=ids.astype(np.int64),
        labels={"subset": np.repeat(subset_N[:, None], chi.shape[1], axis=1)},
    )


def _group(
    tree: xarray.DataTree, group: str, name: str, dims: tuple[str, ...], position: str
) -> xarray.Dataset:
    """A group with its table `name` along `dims`; ValueError, in one line, for another one."""
    children = getattr(tree, "children", None)
    if children is None:
        raise ValueError(f"expected an xarray DataTree, found {type(tree).__name__}")
    if group not in children or name not in tree[group].ds:
        raise ValueError(
            f"the tree has the groups {sorted(children)}, expected /{group} with {name}: is "
            "it devinterp's SusceptibilitiesV2?"
        )
    found: xarray.Dataset = tree[group].to_dataset()
    if {*found[name].dims} != {*dims}:
        raise ValueError(
            f"/{group}: {name} is along {', '.join(map(str, found[name].dims)) or 'nothing'}, "
            f"expected {', '.join(dims)}: was a part of it selected?"
        )
    for key in ("dataset_id", "batch", position):
        if (
            key not in found.coords
            or found[key].dims != dims[:1]
            or found[key].dtype.kind not in "iu"
        ):
            raise ValueError(f"/{group}: expected whole numbers {key} along {dims[0]}")
    expected, kinds = ("numbers", "f") if name == "sus" else ("token ids", "iu")
    if found[name].dtype.kind not in kinds or (kinds == "iu" and (found[name] < 0).any()):
        raise ValueError(f"/{group}: {name} holds {found[name].dtype}, expected {expected}")
    if not found[name].size:
        raise ValueError(f"/{group}: {name} is empty")
    if "wr" in dims and ("wr" not in found.coords or not found.indexes["wr"].is_unique):
        raise ValueError(f"/{group}: expected a name wr for each weight restriction, each once")
    return found.transpose(*dims, ...)


def _names(found: Any) -> list[str]:
    """Names of the datasets, by their ids."""
    if not isinstance(found, list | tuple | np.ndarray):
        raise ValueError(f"dataset_id_to_name is {found!r:.40}, expected a list of names")
    return [str(name) for name in found]


def _whole_rows(
    group: xarray.Dataset, name: str, position: str, *, first: int
) -> tuple[npt.NDArray[Any], Ints]:
    """Values [N, T, ...] in the order of dataset and batch, and the dataset of each row [N]."""
    keys = [np.asarray(group[key].values, np.int64) for key in ("dataset_id", "batch", position)]
    order_M = np.lexsort(keys[::-1])
    dataset_M, batch_M, position_M = (key[order_M] for key in keys)
    lengths = np.unique(np.unique(np.stack([dataset_M, batch_M]), axis=1, return_counts=True)[1])
    if lengths.size != 1:
        raise ValueError(
            f"/{name} has sequences of {', '.join(map(str, lengths.tolist()))} positions, expected "
            "one length: take datasets of one context length, one call each"
        )
    length = int(lengths[0])
    if (position_M.reshape(-1, length) != np.arange(first, first + length)).any():
        raise ValueError(
            f"{position} of {name} is not {first} to {first + length - 1} in every sequence: "
            "expected all of its tokens"
        )
    values = group[name].values[order_M]
    return values.reshape(-1, length, *values.shape[1:]), dataset_M[::length]
