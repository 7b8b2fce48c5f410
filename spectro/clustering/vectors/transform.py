"""The fitted map from susceptibilities to the vectors whose distances are taken.

Shapes: N tokens, R rows of a chunk, H components, K columns kept, D dimensions of the result,
V principal directions.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.config import Preprocess
from spectro.clustering.vectors.uniform_mode import without_shared

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

CHUNK_ROWS = 4096
"""Rows in float64 at once."""


@dataclass(frozen=True, kw_only=True)
class TransformReport:
    """What the fit left out, and by which measure; arrays are empty where none was taken."""

    reasons: tuple[str, ...] = ()
    """One line for each rule that dropped something."""
    column_reliability_H: Float64 = field(default_factory=lambda: np.empty(0))
    """Centred split-half reliability of each column, as given."""
    direction_variance_V: Float64 = field(default_factory=lambda: np.empty(0))
    """Share of the variance of each principal direction, falling (only `whiten`)."""
    direction_reliability_V: Float64 = field(default_factory=lambda: np.empty(0))
    """Reliability of the whole estimate along each direction (Spearman and Brown's)."""
    kept_directions_D: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Directions that became dimensions."""
    response_share: float = nan
    """Share of the columns' variance that went with E[φ]·B, a mean over the kept columns; NaN
    where no B was taken out."""
    row_share: float = nan
    """Share of the variance of the standardised columns that went with the mean of the rows; NaN
    where rows are not centred."""
    dimension_reliability_D: Float64 = field(default_factory=lambda: np.empty(0))
    """Split-half reliability of each dimension of the result; empty where halves are not known."""
    reliability: float = nan
    """The same of all dimensions together: what squared distances are made of."""

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
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
        """Inverse of `to_dict`; numbers that an earlier version did not take are not known."""
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

    `projection` is I − 11ᵀ/K (rows get mean zero), the whitening of the kept columns, what takes a
    weighted mean off the rows, or nothing: then the columns are as they are. `shared` is E[φ] where
    the response B is taken out, else zero: then B is not read.
    """

    kind: Preprocess
    """Which preprocessing this is."""
    mean_H: Float64
    """Mean of each column over the tokens it was fitted on."""
    scale_H: Float64
    """Standard deviation of each column (ddof 0)."""
    kept_K: NDArray[np.int64]
    """Columns that take part; the others fell below the reliability threshold."""
    weight_K: Float64
    """√reliability of each kept column, or ones."""
    projection_KD: Float64 | None
    """Row centring or whitening; None: the identity."""
    shared_H: Float64
    """How much of the response B every column has, E[φ] in nats; zeros where it stays in."""
    report: TransformReport = field(default_factory=TransformReport)
    """What was dropped and why."""

    @property
    def num_dimensions(self) -> int:
        """D."""
        return int(self.kept_K.size if self.projection_KD is None else self.projection_KD.shape[1])

    @property
    def needs_response(self) -> bool:
        """Whether the response B of the tokens is taken out, and has to be given."""
        return bool(self.shared_H.any())

    def standardise(self, chi_NH: Float32, response_N: Float32 | None = None) -> Float32:
        """Each column at mean zero and unit variance over the tokens of the fit, [N, H].

        Of what is left without E[φ]·B where that is taken out.
        """
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
        """The vectors of new (or the same) tokens, [N, D].

        ValueError on another width, or without `response_N`, the tokens' B in nats, where
        `needs_response`. `out_ND` receives them where given, a memory map for instance. Float64
        throughout, rounded once at the end; beyond the result it holds `CHUNK_ROWS` rows per
        thread. A row's bits depend on that row and the transform alone: not on the rows beside
        it, the chunk it came in, the number of threads or the processor.
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
        """χ of some rows without E[φ]·B, in float64 where that is taken out."""
        rows_RH: Float64 = chi_NH[chunk]  # type: ignore[assignment]
        if self.needs_response:
            assert response_N is not None
            rows_RH = without_shared(rows_RH, response_N[chunk], self.shared_H)
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
        """Plain lists, for JSON; `from_dict` gives an equal transform back."""
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
        """Inverse of `to_dict`; also reads transforms that were saved without a report."""
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
    """I − 11ᵀ/K, the projection that takes the mean of each row away."""
    return np.eye(num_columns) - 1.0 / num_columns
