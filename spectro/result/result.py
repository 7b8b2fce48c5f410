"""Susceptibilities as arrays by token and component, and their forms in other libraries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectro.formats import product
from spectro.formats.shard_file import to_bytes
from spectro.storage.store import Store
from spectro.susceptibility.columns import TOKEN_COLUMNS, TokenColumn, influence_columns
from spectro.susceptibility.interval import half_width

if TYPE_CHECKING:
    import anndata
    import xarray


@dataclass(frozen=True, kw_only=True)
class Result:
    """Susceptibilities of every token of N sequences; T tokens each, H components.

    What was not measured, or is not stored, is NaN.
    """

    components: tuple[str, ...]
    """Names of the columns, in the order that was asked for."""
    columns: Mapping[str, npt.NDArray[np.float32]]
    """Column of `token_columns` → values, [N, T], or [N, T, H] where a token has one per component;
    `chi` at least."""
    num_chains: int | None
    """C: replicates that the standard error is made from; None: not known."""
    summary: Mapping[str, Any]
    """Per-column summary statistics (susceptibility/summary.py), as in the product's metadata:
    lists by column; None where a number is not known."""
    probe_ids: npt.NDArray[np.int64]
    """The sequences measured, [N, T+1]."""
    observables: tuple[str, ...] = ()
    """Further observables, each with columns of its influence."""
    labels: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """What else is known of every token, [N, T]: `subset` (text), `cluster` (the smallest that has
    it, −1: none), `map_x` and `map_y` (0 to 1, NaN: not drawn)."""

    @property
    def token_columns(self) -> tuple[TokenColumn, ...]:
        """What is known of every token."""
        with_full = any(f"full_influence_{q}" in self.columns for q in self.observables)
        return (*TOKEN_COLUMNS, *influence_columns(self.observables, with_full=with_full))

    def influence(self, observable: str) -> npt.NDArray[np.float32]:
        """Bayesian influence of every token on an observable, −Cov(φ_q, ℓ_i), [N, T, H].

        Its error is `columns["influence_<observable>_error"]`; that of all weights,
        `columns["full_influence_<observable>"]`, [N, T], exists with unrestricted chains.
        Raises ValueError for an observable that was not measured.
        """
        if observable not in self.observables:
            known = ", ".join(self.observables) or "none"
            raise ValueError(f"no observable {observable!r} was measured; there are: {known}")
        return self.columns[f"influence_{observable}"]

    @property
    def chi(self) -> npt.NDArray[np.float32]:
        """χ, [N, T, H], nats². Column t belongs to the token y = ids[t+1] in context ids[:t+1]."""
        return self.columns["chi"]

    @property
    def standard_error(self) -> npt.NDArray[np.float32]:
        """Jackknife standard error of χ over chains, nats², [N, T, H]; NaN with one chain."""
        return self._column("standard_error", self.chi.shape)

    @property
    def loss(self) -> npt.NDArray[np.float32]:
        """ℓ(w*), [N, T], nats."""
        return self._column("loss", self.chi.shape[:2])

    @property
    def full_response(self) -> npt.NDArray[np.float32]:
        """B_i = E_full[Δℓ_i − ΔL], [N, T], nats; NaN without unrestricted chains."""
        return self._column("full_response", self.chi.shape[:2])

    @property
    def half_width(self) -> npt.NDArray[np.float32]:
        """Half width of the 95 % interval of χ, [N, T, H]; NaN with one chain.

        Student's t with C − 1 degrees of freedom times the standard error: with 4 chains 3.18, with
        2 chains 12.7 standard errors.
        """
        return half_width(self.standard_error, self.num_chains).astype(np.float32)

    @property
    def reliability(self) -> npt.NDArray[np.float64]:
        """Split-half reliability per column, [H]; NaN with one chain."""
        return self._numbers("reliability")

    @property
    def centred_reliability(self) -> npt.NDArray[np.float64]:
        """The same after standardising columns and centring rows, as clustering sees them, [H]."""
        return self._numbers("centred_reliability")

    @property
    def mean_phi(self) -> npt.NDArray[np.float64]:
        """E_C[φ] per column, [H], nats."""
        return self._numbers("mean_phi")

    @property
    def llc(self) -> npt.NDArray[np.float64]:
        """Local learning coefficient λ̂ = nβ E_C[φ] per column, [H]; NaN at nβ = 0."""
        return self._numbers("llc")

    @property
    def llc_error(self) -> npt.NDArray[np.float64]:
        """Jackknife standard error of λ̂ over chains, [H]; NaN with one chain."""
        return self._numbers("llc_error")

    @property
    def rhat(self) -> npt.NDArray[np.float64]:
        """R̂ of ΔL over chains per column, [H]; NaN with one chain."""
        return self._numbers("rhat")

    def _numbers(self, key: str) -> npt.NDArray[np.float64]:
        values = self.summary.get(key, [None] * len(self.components))
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)

    def _column(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        return self.columns.get(name, np.full(shape, np.nan, np.float32))

    def to_parquet(self, uri: str) -> str:
        """Write the product of design §5 under a folder or URI; returns the object's path.

        `subset` is that of the labels, else "probe"; reliability and the rest are in the schema's
        metadata. Raises FileExistsError if the folder holds a product already, ValueError where χ
        or the loss is not known of every token, or a sequence has tokens of two subsets.
        """
        names, subset_N = subsets_of_sequences(self.labels.get("subset"), len(self.probe_ids))
        rows = product.ShardRows(
            ids_nT1=self.probe_ids,
            sequence_id_n=np.arange(len(self.probe_ids)),
            subset_n=subset_N,
            subset_names=names,
            values={
                "loss": _by_token(self.loss),
                "full_response": _by_token(self.full_response),
                **{name: _by_token(values) for name, values in self.columns.items()},
            },
            columns=tuple(column for column in self.token_columns if column.stored),
        )
        digest = hashlib.sha256(self.chi.tobytes()).hexdigest()
        table = product.shard_table(rows, self.components, f"in-process:{digest}", self.summary)
        store = Store(uri)
        store.put(product.part_name(0), to_bytes(table))
        return f"{store.uri}/{product.part_name(0)}"

    def to_xarray(self) -> xarray.Dataset:
        """The result as a labelled dataset (needs the extra `views`)."""
        from spectro.result.labelled_arrays import to_xarray

        return to_xarray(self)

    def to_anndata(self) -> anndata.AnnData:
        """The result as annotated data, tokens × components (needs the extra `anndata`).

        See `result/annotated_data.py` for what is where.
        """
        from spectro.result.annotated_data import to_anndata

        return to_anndata(self)

    def to_devinterp(self) -> xarray.DataTree:
        """The result in devinterp's format SusceptibilitiesV2 (needs the extra `views`).

        Sequences are grouped by subset. Raises ValueError as `from_devinterp` does.
        """
        from spectro.result.devinterp_format import to_devinterp

        return to_devinterp(self)

    @classmethod
    def from_devinterp(cls, tree: xarray.DataTree) -> Result:
        """The susceptibilities that devinterp has computed; its datasets are subsets.

        Raises ValueError, in one line, for a tree of another kind.
        """
        from spectro.result.devinterp_format import from_devinterp

        return from_devinterp(tree)

    @classmethod
    def of_run(cls, uri: str) -> Result:
        """A measured run, all of χ in memory; with clusters and the map's positions where they are.

        `uri` is that of a run, of its control, or of a folder of clusters (`runs/demo/clusters`).
        Raises ValueError, in one line, where there is no measured run.
        """
        from spectro.result.stored_run import read_result

        return read_result(uri)


def subsets_of_sequences(
    subset_NT: npt.NDArray[Any] | None, num_sequences: int
) -> tuple[tuple[str, ...], npt.NDArray[np.int16]]:
    """Names in order, and the subset of each sequence [N]; one, "probe", where there are no labels.

    Raises ValueError for a sequence in two subsets.
    """
    if subset_NT is None:
        return ("probe",), np.zeros(num_sequences, np.int16)
    if (subset_NT != subset_NT[:, :1]).any():
        raise ValueError(
            "a sequence has tokens of two subsets, expected one: the subset is that of whole "
            "sequences"
        )
    names, subset_N = np.unique(subset_NT[:, 0].astype(str), return_inverse=True)
    return tuple(names.tolist()), subset_N.astype(np.int16)


def _by_token(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[N, T, ...] → [N·T, ...]."""
    return values.reshape(-1, *values.shape[2:])
