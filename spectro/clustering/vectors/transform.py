"""The fitted transform from χ to vectors.

Shapes: N tokens, R rows of a chunk, H components, K columns kept, D dimensions of the result, V
principal directions.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import Preprocess
from spectro.clustering.vectors.uniform_mode import remove_uniform_mode

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

CHUNK_ROWS = 4096
"""Rows in float64 at once."""


@dataclass(frozen=True, kw_only=True)
class TransformReport:
    """What the fit dropped and measured; unknown arrays are empty."""

    reasons: tuple[str, ...] = ()
    """One line per rule that dropped something."""
    column_reliability_H: Float64 = field(default_factory=lambda: np.empty(0))
    """Centred split-half reliability of each column, as given."""
    direction_variance_V: Float64 = field(default_factory=lambda: np.empty(0))
    """Share of the variance of each principal direction, falling (only `whiten`)."""
    direction_reliability_V: Float64 = field(default_factory=lambda: np.empty(0))
    """Spearman-Brown reliability along each direction."""
    kept_directions_D: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Kept directions."""
    response_share: float = nan
    """Mean share of the columns' variance removed with E[φ]·B; NaN if not removed."""
    row_share: float = nan
    """Share of variance removed by row-centring; NaN without."""
    dimension_reliability_D: Float64 = field(default_factory=lambda: np.empty(0))
    """Split-half reliability of each dimension; empty if unknown."""
    reliability: float = nan
    """The same over all dimensions, weighted as in squared distances."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "reasons": list(self.reasons),
            "column_reliability": self.column_reliability_H.tolist(),
            "direction_variance": self.direction_variance_V.tolist(),
            "direction_reliability": self.direction_reliability_V.tolist(),
            "kept_directions": self.kept_directions_D.tolist(),
            "response_share": self.response_share,
            "row_share": self.row_share,
            "dimension_reliability": self.dimension_reliability_D.tolist(),
            "reliability": self.reliability,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "TransformReport":
        """Inverse of `to_dict`; older versions lack some numbers."""
        return cls(
            reasons=tuple(plain["reasons"]),
            column_reliability_H=np.asarray(plain["column_reliability"], np.float64),
            direction_variance_V=np.asarray(plain["direction_variance"], np.float64),
            direction_reliability_V=np.asarray(plain["direction_reliability"], np.float64),
            kept_directions_D=np.asarray(plain["kept_directions"], np.int64),
            response_share=plain.get("response_share", nan),
            row_share=plain.get("row_share", nan),
            dimension_reliability_D=np.asarray(plain.get("dimension_reliability", ()), np.float64),
            reliability=plain.get("reliability", nan),
        )


@dataclass(frozen=True, kw_only=True)
class Transform:
    """x = (((χ − B·shared − mean) / scale)[kept] · weight) @ projection, fitted once and reapplied.

    `projection` is row-centring I − 11ᵀ/K, the whitening, the removal of a weighted row mean, or
    None. `shared` is E[φ] if the response B is removed, else zero.
    """

    kind: Preprocess
    mean_H: Float64
    """Mean of each column over the fitted tokens."""
    scale_H: Float64
    """Standard deviation of each column (ddof 0)."""
    kept_K: NDArray[np.int64]
    """Columns above the reliability threshold."""
    weight_K: Float64
    """√reliability of each kept column, or ones."""
    projection_KD: Float64 | None
    """Row centring or whitening; None: the identity."""
    shared_H: Float64
    """E[φ] of each column, nats; zeros if B is not removed."""
    report: TransformReport = field(default_factory=TransformReport)

    @property
    def num_dimensions(self) -> int:
        """D."""
        return int(self.kept_K.size if self.projection_KD is None else self.projection_KD.shape[1])

    @property
    def needs_response(self) -> bool:
        """Whether `apply` needs the tokens' response B."""
        return bool(self.shared_H.any())

    def standardise(self, chi_NH: Float32, response_N: Float32 | None = None) -> Float32:
        """Standardised columns (without E[φ]·B if that is removed), [N, H]."""
        self._check(chi_NH, response_N)
        out_NH = np.empty(chi_NH.shape, np.float32)
        for start in range(0, chi_NH.shape[0], CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            out_NH[chunk] = (self._own(chi_NH, response_N, chunk) - self.mean_H) / self.scale_H
        return out_NH

    def apply(
        self,
        chi_NH: Float32,
        response_N: Float32 | None = None,
        *,
        out_ND: Float32 | None = None,
        num_threads: int = 1,
    ) -> Float32:
        """Vectors of tokens, [N, D].

        `response_N` is the tokens' B in nats, needed if `needs_response`; `out_ND` receives the
        result (a memory map, say). Float64 throughout, rounded once; holds `CHUNK_ROWS` rows per
        thread. A row's bits depend on that row and the transform alone. Raises ValueError for
        another width or a missing B.
        """
        self._check(chi_NH, response_N)
        shape = (chi_NH.shape[0], self.num_dimensions)
        if out_ND is None:
            out_ND = np.empty(shape, np.float32)
        elif out_ND.shape != shape or out_ND.dtype != np.float32:
            raise ValueError(
                f"out_ND must be float32 of shape {shape}, found {out_ND.dtype} {out_ND.shape}: "
                "was it made for another transform?"
            )
        starts = range(0, chi_NH.shape[0], CHUNK_ROWS)
        with ThreadPoolExecutor(num_threads) as pool:
            for _ in pool.map(
                lambda start: self._apply_chunk(chi_NH, response_N, start, out_ND), starts
            ):
                pass
        return out_ND

    def _own(self, chi_NH: Float32, response_N: Float32 | None, chunk: slice) -> Float64:
        """χ of some rows without E[φ]·B if that is removed."""
        rows_RH: Float64 = chi_NH[chunk]  # type: ignore[assignment]
        if self.needs_response:
            assert response_N is not None
            rows_RH = remove_uniform_mode(rows_RH, response_N[chunk], self.shared_H)
        return rows_RH

    def _apply_chunk(
        self, chi_NH: Float32, response_N: Float32 | None, start: int, out_ND: Float32
    ) -> None:
        # Compiled by numba, which reading a transform does without.
        from spectro.clustering.vectors.row_kernels import centre, project

        chunk = slice(start, start + CHUNK_ROWS)
        kept = self.kept_K
        own_RH = self._own(chi_NH, response_N, chunk)
        columns_RK = (own_RH[:, kept] - self.mean_H[kept]) / self.scale_H[kept]
        columns_RK *= self.weight_K
        if self.projection_KD is None:
            out_ND[chunk] = columns_RK
        elif self.kind is Preprocess.STANDARDISE:
            centre(columns_RK, out_ND[chunk])
        else:
            project(columns_RK, self.projection_KD, out_ND[chunk])

    def to_dict(self) -> dict[str, Any]:
        plain = {
            "kind": self.kind.value,
            "mean": self.mean_H.tolist(),
            "scale": self.scale_H.tolist(),
            "kept": self.kept_K.tolist(),
            "weight": self.weight_K.tolist(),
            "shared": self.shared_H.tolist(),
            "report": self.report.to_dict(),
        }
        if self.kind is not Preprocess.STANDARDISE and self.projection_KD is not None:
            plain["projection"] = self.projection_KD.tolist()
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Transform":
        """Inverse of `to_dict`; older versions have no report."""
        kind, projection = Preprocess(plain["kind"]), None
        if kind is Preprocess.STANDARDISE:
            projection = row_centring(len(plain["kept"]))
        elif "projection" in plain:
            projection = np.asarray(plain["projection"], np.float64)
        return cls(
            kind=kind,
            mean_H=np.asarray(plain["mean"], np.float64),
            scale_H=np.asarray(plain["scale"], np.float64),
            kept_K=np.asarray(plain["kept"], np.int64),
            weight_K=np.asarray(plain["weight"], np.float64),
            projection_KD=projection,
            shared_H=np.asarray(plain.get("shared", np.zeros(len(plain["mean"]))), np.float64),
            report=TransformReport.from_dict(plain["report"])
            if "report" in plain
            else TransformReport(),
        )

    def _check(self, chi_NH: Float32, response_N: Float32 | None) -> None:
        if chi_NH.ndim != 2 or chi_NH.shape[1] != self.mean_H.size:
            raise ValueError(
                f"susceptibilities have shape {chi_NH.shape}, the transform expects "
                f"[N, {self.mean_H.size}]: was it fitted on another run?"
            )
        if not self.needs_response:
            return
        if response_N is None or response_N.shape != (chi_NH.shape[0],):
            found = "none" if response_N is None else f"shape {response_N.shape}"
            raise ValueError(
                "this transform takes the shared response out: expected the response of "
                f"{chi_NH.shape[0]} tokens, found {found}; is it the product's full_response?"
            )


def row_centring(num_columns: int) -> Float64:
    """I − 11ᵀ/K: subtracts the mean of each row."""
    return np.eye(num_columns) - 1.0 / num_columns
