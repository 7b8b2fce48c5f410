"""From susceptibilities to the vectors whose distances are taken.

Shapes: N tokens, H components, K columns kept, D dimensions of the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.cluster.config import ClusterConfig, Preprocess

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """x = (((χ − mean) / scale)[kept] · weight) @ projection, fitted once and reapplied.

    `projection` is I − 11ᵀ/K (rows get mean zero) or the whitening of the kept columns.
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
    projection_KD: Float64
    """Row centring or whitening."""

    def standardise(self, chi_NH: Float32) -> Float32:
        """Each column at mean zero and unit variance over the tokens of the fit, [N, H]."""
        self._check_width(chi_NH)
        return ((chi_NH - self.mean_H) / self.scale_H).astype(np.float32)

    def apply(self, chi_NH: Float32) -> Float32:
        """The vectors of new (or the same) tokens, [N, D]; ValueError on another width."""
        self._check_width(chi_NH)
        columns_NK = (chi_NH[:, self.kept_K] - self.mean_H[self.kept_K]) / self.scale_H[self.kept_K]
        result: Float32 = ((columns_NK * self.weight_K) @ self.projection_KD).astype(np.float32)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON; `from_dict` gives an equal transform back."""
        return {
            "kind": self.kind.value,
            "mean": self.mean_H.tolist(),
            "scale": self.scale_H.tolist(),
            "kept": self.kept_K.tolist(),
            "weight": self.weight_K.tolist(),
            "projection": self.projection_KD.tolist(),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Transform":
        """Inverse of `to_dict`."""
        return cls(
            kind=Preprocess(plain["kind"]),
            mean_H=np.asarray(plain["mean"], np.float64),
            scale_H=np.asarray(plain["scale"], np.float64),
            kept_K=np.asarray(plain["kept"], np.int64),
            weight_K=np.asarray(plain["weight"], np.float64),
            projection_KD=np.asarray(plain["projection"], np.float64),
        )

    def _check_width(self, chi_NH: Float32) -> None:
        if chi_NH.ndim != 2 or chi_NH.shape[1] != self.mean_H.size:
            raise ValueError(
                f"susceptibilities have shape {chi_NH.shape}, the transform expects "
                f"[N, {self.mean_H.size}]: was it fitted on another run?"
            )


def fit_transform(
    chi_NH: Float32,
    config: ClusterConfig,
    *,
    reliability_H: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
) -> Transform:
    """Fit the preprocessing of design.md §6.1 in float64.

    A constant column is an error, not a column of zeros: a component to which no token
    responds was not measured. So is a value that is not finite. Raises ValueError.
    """
    chi = np.asarray(chi_NH, np.float64)
    if chi.ndim != 2 or chi.shape[0] < 2:
        raise ValueError(f"clustering needs χ of shape [N ≥ 2, H], found {chi.shape}")
    labels = [f"column {h}" for h in range(chi.shape[1])] if names is None else list(names)
    _check_finite(chi, labels)
    kept = _kept_columns(config, reliability_H, chi.shape[1])
    mean, scale = chi.mean(axis=0), chi.std(axis=0)
    _check_constant(chi, scale, kept, labels)
    weight = np.ones(kept.size)
    if config.weigh_by_reliability:
        weight = np.sqrt(np.clip(_required(reliability_H, chi.shape[1])[kept], 0.0, 1.0))
    columns = (chi[:, kept] - mean[kept]) / scale[kept] * weight
    projection = (
        _row_centring(kept.size)
        if config.preprocess is Preprocess.STANDARDISE
        else _whitening(columns, config.whiten_variance)
    )
    return Transform(
        kind=config.preprocess,
        mean_H=mean,
        scale_H=np.where(scale > 0, scale, 1.0),
        kept_K=kept,
        weight_K=weight,
        projection_KD=projection,
    )


def _check_finite(chi: Float64, labels: list[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(chi).all(axis=0))
    if bad.size:
        count = int((~np.isfinite(chi)).any(axis=1).sum())
        raise ValueError(
            f"susceptibilities are not finite in {count} of {chi.shape[0]} tokens "
            f"(first in {labels[bad[0]]}): did a chain of that component diverge?"
        )


def _check_constant(
    chi: Float64, scale: Float64, kept: NDArray[np.int64], labels: list[str]
) -> None:
    rounding = 1e-6 * np.abs(chi).max(axis=0)
    constant = [labels[h] for h in kept if scale[h] <= rounding[h]]
    if constant:
        raise ValueError(
            f"{len(constant)} of {kept.size} columns are the same for every token "
            f"({', '.join(constant[:3])}): was this component perturbed at all?"
        )


def _required(reliability_H: Sequence[float] | None, num_columns: int) -> Float64:
    if reliability_H is None:
        raise ValueError(
            "min_reliability and weigh_by_reliability need the reliability of each column, "
            "found none: does the run have a susceptibilities/summary.json?"
        )
    reliability = np.asarray(reliability_H, np.float64)
    if reliability.shape != (num_columns,):
        raise ValueError(
            f"found {reliability.size} reliabilities for {num_columns} columns: "
            "is the summary from another run?"
        )
    return reliability


def _kept_columns(
    config: ClusterConfig, reliability_H: Sequence[float] | None, num_columns: int
) -> NDArray[np.int64]:
    if config.min_reliability is None:
        kept = np.arange(num_columns)
    else:
        kept = np.flatnonzero(_required(reliability_H, num_columns) >= config.min_reliability)
    if kept.size < 2:
        raise ValueError(
            f"clustering needs at least 2 columns, found {kept.size} of {num_columns} with "
            f"reliability ≥ {config.min_reliability}: row centring leaves nothing of one column"
        )
    return kept.astype(np.int64)


def _row_centring(num_columns: int) -> Float64:
    return np.eye(num_columns) - 1.0 / num_columns


def _whitening(columns_NK: Float64, variance: float) -> Float64:
    """Eigenvectors of the covariance over √eigenvalue, largest first, signs fixed."""
    values, vectors = np.linalg.eigh(columns_NK.T @ columns_NK / columns_NK.shape[0])
    values, vectors = values[::-1], vectors[:, ::-1]
    usable = values > values[0] * 1e-10
    share = np.cumsum(values) / values.sum()
    num_kept = min(int(np.searchsorted(share, variance)) + 1, int(usable.sum()))
    vectors = vectors[:, :num_kept]
    peak = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[peak, np.arange(num_kept)])
    whitening: Float64 = vectors * signs / np.sqrt(values[:num_kept])
    return whitening
