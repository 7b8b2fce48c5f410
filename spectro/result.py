"""The result of a measurement in one process: arrays by token and component; parquet, xarray."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectro.extras import optional_imports
from spectro.formats import product
from spectro.formats.shard_file import to_bytes
from spectro.storage.store import Store
from spectro.susceptibility.columns import TOKEN_COLUMNS, TokenColumn, influence_columns
from spectro.susceptibility.interval import half_width, interval_words

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, kw_only=True)
class Result:
    """Susceptibilities of every token of N sequences; T tokens each, H components."""

    components: tuple[str, ...]
    """Names of the columns, in the order that was asked for."""
    columns: Mapping[str, npt.NDArray[np.float32]]
    """Column of `token_columns` → values, [N, T], or [N, T, H] where a token has one per
    component."""
    num_chains: int
    """C: replicates that the standard error is made from."""
    summary: Mapping[str, Any]
    """Per-column summary statistics (susceptibility/summary.py), as in the product's metadata:
    lists by column; None where a number is not known."""
    probe_ids: npt.NDArray[np.int64]
    """The sequences measured, [N, T+1]."""
    observables: tuple[str, ...] = ()
    """Further observables, each with columns of its influence."""

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
        return self.columns["standard_error"]

    @property
    def loss(self) -> npt.NDArray[np.float32]:
        """ℓ(w*), [N, T], nats."""
        return self.columns["loss"]

    @property
    def full_response(self) -> npt.NDArray[np.float32]:
        """B_i = E_full[Δℓ_i − ΔL], [N, T], nats; NaN without unrestricted chains."""
        return self.columns["full_response"]

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
        return np.array([np.nan if v is None else v for v in self.summary[key]], dtype=np.float64)

    def to_parquet(self, uri: str) -> str:
        """Write the product of design §5 under a folder or URI; returns the object's path.

        `subset` is "probe" for every token; reliability and the rest are in the schema's
        metadata. Raises FileExistsError if the folder holds a product already.
        """
        num_sequences = len(self.probe_ids)
        rows = product.ShardRows(
            ids_nT1=self.probe_ids,
            sequence_id_n=np.arange(num_sequences),
            subset_n=np.zeros(num_sequences, dtype=np.int16),
            subset_names=("probe",),
            values={name: _by_token(values) for name, values in self.columns.items()},
            columns=tuple(column for column in self.token_columns if column.stored),
        )
        digest = hashlib.sha256(self.chi.tobytes()).hexdigest()
        table = product.shard_table(rows, self.components, f"in-process:{digest}", self.summary)
        store = Store(uri)
        store.put(product.part_name(0), to_bytes(table))
        return f"{store.uri}/{product.part_name(0)}"

    def to_xarray(self) -> xarray.Dataset:
        """The result as a labelled dataset (needs the extra `views`)."""
        with optional_imports():
            import xarray

        token, interval = ("sequence", "position"), {"interval": interval_words(self.num_chains)}
        return xarray.Dataset(
            {
                column.name: (
                    (*token, "component") if column.by_component else token,
                    self.columns[column.name],
                    {"units": column.unit, "long_name": column.description},
                )
                for column in self.token_columns
            }
            | {
                "half_width": ((*token, "component"), self.half_width, interval),
                "token": (token, self.probe_ids[:, 1:]),
                "reliability": ("component", self.reliability),
                "centred_reliability": ("component", self.centred_reliability),
                "mean_phi": ("component", self.mean_phi),
                "llc": ("component", self.llc),
                "llc_error": ("component", self.llc_error),
                "rhat": ("component", self.rhat),
            },
            coords={"component": list(self.components)},
            attrs={"num_chains": self.num_chains},
        )


def _by_token(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[N, T, ...] → [N·T, ...]."""
    return values.reshape(-1, *values.shape[2:])
