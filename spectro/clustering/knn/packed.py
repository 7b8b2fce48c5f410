"""Vectors packed so that one matrix product bounds distances from below.

With x = (head, rest) in principal axes and ρ = |rest|,

    |x − y|² = |x|² + |y|² − 2 head·head′ − 2 rest·rest′ ≥ |x|² + |y|² − 2 head·head′ − 2 ρρ′

by Cauchy-Schwarz: a product of (head, ρ, 1) and (−2 head′, −2 ρ′, |y|²) over fewer columns than D
gives the bound less |x|². For small D the head is all of x. The number of columns follows from a
keyed sample: a column costs time, a loose bound costs products of rests.

Shapes: N tokens, D dimensions, d columns of the head, S sampled rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.knn.recall import sample_rows

WIDE = 96
"""Dimensions up to which the head is all of x."""
STEP = 32
"""Step of the number of columns of the head."""
BASIS_ROWS, BASIS_KEY = 20_000, 0xBA515
"""Rows of the principal component analysis, and their stream of random numbers."""
REST_NS, COLUMN_NS = 100.0, 0.029
"""Cost of a pair that the bound does not exclude, and of a column of the product (ADR 025)."""
BLOCK_ROWS = 65_536
"""Rows packed at once."""
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Vectors as both sides of the product."""

    x_ND: Floats
    """Original vectors, for the distance itself."""
    left_Nd: Floats
    """(head, ρ, 1), [N, d + 2]."""
    right_Nd: Floats
    """(−2 head, −2 ρ, |x|²), [N, d + 2]."""
    square_N: Floats
    """|x|²."""
    radius_N: Floats
    """ρ."""
    rest_NR: Floats
    """Rest, [N, D − d]."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """Packing of vectors; equal for all that are compared."""

    axes_DD: NDArray[np.float64] | None
    """Principal axes by falling variance; None: the original axes."""
    num_head: int
    """d."""


def plain(num_dimensions: int) -> Basis:
    """Basis whose head is all of x."""
    return Basis(axes_DD=None, num_head=num_dimensions)


def pack(x_ND: Floats, basis: Basis) -> Packed:
    """Pack rows block by block; `x_ND` may be a memory map."""
    num_rows, num_dimensions = x_ND.shape
    d = basis.num_head
    packed = Packed(
        x_ND=x_ND,
        left_Nd=np.empty((num_rows, d + 2), np.float32),
        right_Nd=np.empty((num_rows, d + 2), np.float32),
        square_N=np.empty(num_rows, np.float32),
        radius_N=np.empty(num_rows, np.float32),
        rest_NR=np.empty((num_rows, num_dimensions - d), np.float32),
    )
    for start in range(0, num_rows, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        _fill(packed, rows, np.asarray(x_ND[rows], np.float64), basis)
    return packed


def _fill(packed: Packed, rows: slice, wide_BD: NDArray[np.float64], basis: Basis) -> None:
    d = basis.num_head
    if basis.axes_DD is not None:  # in float64: one rounding per rotated vector
        wide_BD = (wide_BD @ basis.axes_DD).astype(np.float32).astype(np.float64)
    packed.square_N[rows] = np.einsum("nd,nd->n", wide_BD, wide_BD)
    packed.radius_N[rows] = np.sqrt(np.einsum("nd,nd->n", wide_BD[:, d:], wide_BD[:, d:]))
    packed.rest_NR[rows] = wide_BD[:, d:]
    left_Bd, right_Bd = packed.left_Nd[rows], packed.right_Nd[rows]
    left_Bd[:, :d], left_Bd[:, d], left_Bd[:, d + 1] = wide_BD[:, :d], packed.radius_N[rows], 1
    right_Bd[:, : d + 1] = -2 * left_Bd[:, : d + 1]
    right_Bd[:, d + 1] = packed.square_N[rows]


def principal_axes(x_ND: Floats, seed: int = 0) -> NDArray[np.float64]:
    """Orthonormal columns [D, D] by falling variance over a keyed sample of the rows."""
    rows = sample_rows(x_ND.shape[0], BASIS_ROWS, seed=seed, use=BASIS_KEY)
    some_SD = np.asarray(x_ND[rows], np.float64)
    some_SD = some_SD - some_SD.mean(axis=0)
    return np.ascontiguousarray(np.linalg.eigh(some_SD.T @ some_SD)[1][:, ::-1])


def best_head(query: Packed, other: Packed, far_S: Floats, num_dimensions: int) -> int:
    """Cheapest number of columns of the head.

    Args:
        query, other: rows packed with all columns in the head, in principal axes.
        far_S: distance to the k-th neighbour of every query.
        num_dimensions: D.
    """
    costs = {num_dimensions: COLUMN_NS * num_dimensions}
    one_SD, two_SD = (p.left_Nd[:, :-2].astype(np.float64) for p in (query, other))
    for d in range(STEP, num_dimensions, STEP):
        part = (one_SD[:, :d], two_SD[:, :d])
        rest = [np.sqrt(np.maximum((r[:, d:] ** 2).sum(axis=1), 0)) for r in (one_SD, two_SD)]
        low = -2.0 * (part[0] @ part[1].T + rest[0][:, None] * rest[1][None])
        low += query.square_N[:, None].astype(np.float64) + other.square_N[None]
        surviving = float((low <= far_S[:, None].astype(np.float64) ** 2).mean())
        costs[d] = COLUMN_NS * (d + 1) + 2.0 * surviving * REST_NS
    return min(costs, key=lambda d: (costs[d], d))
