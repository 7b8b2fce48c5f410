"""What the measurement in one process gives: arrays by token and component, and files of them."""

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
from spectro.susceptibility.interval import half_width, interval_words

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, kw_only=True)
class Result:
    """Susceptibilities of every token of N sequences; T tokens each, H components."""

    components: tuple[str, ...]
    """Names of the columns, in the order that was asked for."""
    chi: npt.NDArray[np.float32]
    """χ, [N, T, H], nats². Column t belongs to the token y = ids[t+1] in context ids[:t+1]."""
    standard_error: npt.NDArray[np.float32]
    """Jackknife standard error of χ over chains, [N, T, H]; NaN with one chain."""
    num_chains: int
    """C: replicates that the standard error is made from."""
    loss: npt.NDArray[np.float32]
    """ℓ(w*), [N, T], nats."""
    full_response: npt.NDArray[np.float32]
    """B_i = E_full[Δℓ_i − ΔL], [N, T], nats; NaN without unrestricted chains."""
    summary: Mapping[str, Any]
    """What is known of every column, as the product's metadata has it: lists by column under
    `reliability`, `standard_error`, `half_width_95`, `num_chains`, `sampling`, `num_draws`,
    `effective_sample_size`, `sampler_bias`, …; None where a number is not known."""
    probe_ids: npt.NDArray[np.int64]
    """The sequences measured, [N, T+1]."""

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
            loss_N=self.loss.reshape(-1),
            full_response_N=self.full_response.reshape(-1),
            chi_NH=self.chi.reshape(-1, len(self.components)),
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
                "chi": ((*token, "component"), self.chi),
                "standard_error": ((*token, "component"), self.standard_error),
                "half_width": ((*token, "component"), self.half_width, interval),
                "loss": (token, self.loss),
                "full_response": (token, self.full_response),
                "token": (token, self.probe_ids[:, 1:]),
                "reliability": ("component", self.reliability),
                "centred_reliability": ("component", self.centred_reliability),
                "mean_phi": ("component", self.mean_phi),
                "rhat": ("component", self.rhat),
            },
            coords={"component": list(self.components)},
            attrs={"num_chains": self.num_chains},
        )
