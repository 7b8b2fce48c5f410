"""The response matrix: mean responses of sets of tokens × components, with standard errors.

A row is a set of tokens (a subset, a cluster, a pattern type; sets may overlap). Its entry is the
mean of x over the set, where x is the deviation of χ from the mean of all tokens (`scaling.py`).
For a subset q' of the sampling distribution q that is the data-shift susceptibility of the mixture
(1 − h) q + h q' at h = 0: χ^C = −Cov(φ_C, L_q' − L_q), the mean of χ over q' less that over q
(Baker et al. 2025, arXiv 2504.18274). Below zero: the component expresses the set.

The standard error is over text, not over draws. Sequences are what was drawn, within each subset by
themselves (strata), and an entry is a difference of two means that share tokens: with f_s and g_s
the residuals of sequence s, each summed and divided by the tokens of the set and of all, u_s = f_s
− g_s, and var = Σ_h n_h/(n_h − 1) Σ_{s∈h} (u_s − ū_h)², the linearised variance of a ratio under
stratified cluster sampling (Särndal, Swensson & Wretman 1992; no correction for finite
populations). A stratum of one sequence has no variance: rows with tokens in it get NaN.

The interval is Student's t, with the sequences that have tokens of the set, less the strata that
have, as degrees of freedom (Korn & Graubard 1990, the rule for a domain): where a set is in few
sequences it is their spread that the error rests on, however many the run has. A set in one
sequence has residuals that add up to 0, hence no error at all: it gets NaN too.

Where the set is all tokens, u is 0 but for rounding: the entry and its error are then exactly 0.

Everything is read block by block, twice; what is held is R × strata × H, three times.
Shapes: N tokens and S sequences of a block, T context, R rows, H components, M members, G strata,
P pairs of a row and a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from spectro.analysis.response_scale import Float64, ResponseScale
from spectro.analysis.scaling import Scaling
from spectro.clustering.vectors.moments import Moments, merge
from spectro.susceptibility.interval import t_quantile

Ints = NDArray[np.integer]
TOKENS_AT_ONCE = 8192
"""Tokens in float64 at once (at least one sequence)."""
MOST_BYTES = 2 * 2**30
"""Limit on the memory of the sums behind the errors."""
NUM_SUMS = 3
"""Arrays of R × strata × H: f, f² and fg."""
ROUNDING_OF_SQUARES = 1e-12
"""Relative rounding of Σu²."""
ROUNDING_OF_MEAN = 1e-9
"""Relative rounding of a mean, against χ's mean and deviation."""


@dataclass(frozen=True, kw_only=True)
class TokenBlock:
    """Whole sequences, in the order of their tokens."""

    chi_NH: NDArray[np.floating]
    """χ, N = S · T."""
    first_token_id: int
    """Id of the first token; the others follow."""
    stratum_S: Ints
    """Subset of each sequence (stratum), 0 … G−1."""
    row_M: Ints
    """Row of each membership."""
    token_M: Ints
    """Its token: a row of `chi_NH`."""

    @property
    def context(self) -> int:
        """T."""
        return len(self.chi_NH) // max(1, len(self.stratum_S))

    def __post_init__(self) -> None:
        if len(self.chi_NH) != self.context * len(self.stratum_S):
            raise ValueError(
                f"expected whole sequences, found {len(self.chi_NH)} tokens in "
                f"{len(self.stratum_S)} sequences: was a shard cut?"
            )


Blocks = Callable[[], Iterable[TokenBlock]]
"""Iterates over all blocks of a run in order; may be called repeatedly."""


@dataclass(frozen=True, kw_only=True)
class ResponseMatrix:
    """Mean responses; a row without tokens is NaN."""

    names: tuple[str, ...]
    """Rows, in the display alphabet."""
    components: tuple[str, ...]
    """Columns."""
    scale: ResponseScale
    """Units, mean and deviation of all tokens."""
    num_tokens_R: NDArray[np.int64]
    mean_RH: Float64
    """Mean x of each set: its shift from the mean of all tokens."""
    error_RH: Float64
    """Standard error over sequences; NaN if unknown."""
    num_sequences_R: NDArray[np.int64]
    """Sequences with tokens of each set."""
    degrees_R: NDArray[np.int64]
    """Degrees of freedom of the error: sequences minus strata."""

    @property
    def half_width_RH(self) -> Float64:
        """Half width of the 95 % interval by Student's t; NaN without an error."""
        width_RH: Float64 = t_quantile(self.degrees_R)[:, None] * self.error_RH
        return width_RH

    def rows(self, keep: Sequence[int]) -> ResponseMatrix:
        index = np.asarray(keep, np.int64)
        return replace(
            self,
            names=tuple(self.names[row] for row in keep),
            num_tokens_R=self.num_tokens_R[index],
            mean_RH=self.mean_RH[index],
            error_RH=self.error_RH[index],
            num_sequences_R=self.num_sequences_R[index],
            degrees_R=self.degrees_R[index],
        )


def moments_of(blocks: Blocks, *, covariances: bool = False) -> Moments:
    """Moments of all tokens; ValueError without a block."""
    total: Moments | None = None
    for block in blocks():
        found = Moments.of(block.chi_NH, covariances=covariances)
        total = found if total is None else merge(total, found)
    if total is None:
        raise ValueError("responses need at least one block of tokens, found none")
    return total


def response_matrix(
    blocks: Blocks,
    names: Sequence[str],
    components: Sequence[str],
    scaling: Scaling = Scaling.STANDARDISED,
    *,
    num_strata: int,
) -> ResponseMatrix:
    """The matrix of the sets that the blocks name.

    Args:
        blocks: all tokens; read twice.
        names: of the R rows.
        components: of the columns.
        scaling: units.
        num_strata: G.

    Raises ValueError, in one line, for wrong columns, no tokens, or too many rows for memory
    (before reading).
    """
    require_fits(len(names), num_strata, len(components))
    totals, moments = _Totals(len(names), len(components)), None
    for block in blocks():
        if block.chi_NH.shape[1] != len(components):
            raise ValueError(
                f"found {block.chi_NH.shape[1]} columns for {len(components)} components: "
                "is it the product of another run?"
            )
        found = Moments.of(block.chi_NH, covariances=False)
        moments = found if moments is None else merge(moments, found)
        for part in parts(block):
            totals.add(part)
    if moments is None:
        raise ValueError("responses need at least one block of tokens, found none")
    scale = ResponseScale.of(moments, scaling)
    mean_RH = scale.apply(totals.mean_RH)
    errors = _Errors(scale, mean_RH, totals.num_R, moments.num_tokens, num_strata)
    for block in blocks():
        for part in parts(block):
            errors.add(part)
    mean_RH, error_RH = errors.means_and_errors()
    return ResponseMatrix(
        names=tuple(names),
        components=tuple(components),
        scale=scale,
        num_tokens_R=totals.num_R,
        mean_RH=mean_RH,
        error_RH=error_RH,
        num_sequences_R=errors.num_sequences_R,
        degrees_R=errors.degrees_R,
    )


def require_fits(num_rows: int, num_strata: int, num_columns: int) -> None:
    """Raise ValueError, in one line, for sums of more than `MOST_BYTES`."""
    row_bytes = NUM_SUMS * num_strata * num_columns * 8
    if num_rows * row_bytes > MOST_BYTES:
        raise ValueError(
            f"{num_rows:,} rows × {num_strata} subsets × {num_columns} components take "
            f"{num_rows * row_bytes / 1e9:.1f} GB, more than {MOST_BYTES / 1e9:.1f}: "
            f"ask for fewer, max_rows={MOST_BYTES // row_bytes} at most"
        )


class _Totals:
    """Tokens and Σχ of every row; x is affine in χ."""

    def __init__(self, num_rows: int, num_columns: int) -> None:
        self.num_R = np.zeros(num_rows, np.int64)
        self.sum_RH = np.zeros((num_rows, num_columns))

    def add(self, part: TokenBlock) -> None:
        keep, chi_NH = _finite(part)
        row_M, token_M = part.row_M[keep[part.token_M]], part.token_M[keep[part.token_M]]
        self.num_R += np.bincount(row_M, minlength=self.num_R.size)
        self.sum_RH += _indicator(row_M, token_M, self.num_R.size, len(chi_NH)) @ chi_NH

    @property
    def mean_RH(self) -> Float64:
        with np.errstate(invalid="ignore"):
            result: Float64 = self.sum_RH / np.where(self.num_R, self.num_R, np.nan)[:, None]
        return result


class _Errors:
    """Sums of f, f², fg by row and stratum, of g, g² by stratum."""

    def __init__(
        self, scale: ResponseScale, mean_RH: Float64, num_R: Ints, num_tokens: int, num_strata: int
    ) -> None:
        self.scale, self.mean_RH, self.num_R, self.num_tokens = scale, mean_RH, num_R, num_tokens
        shape = (len(mean_RH), num_strata, mean_RH.shape[1])
        self.f, self.ff, self.fg = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.g, self.gg = np.zeros(shape[1:]), np.zeros(shape[1:])
        self.num_G = np.zeros(num_strata, np.int64)
        self.has_RG = np.zeros(shape[:2], bool)
        self.num_sequences_R = np.zeros(len(mean_RH), np.int64)

    def add(self, part: TokenBlock) -> None:
        keep, chi_NH = _finite(part)
        x_NH = np.where(keep[:, None], self.scale.apply(chi_NH), 0.0)
        sequence_N = np.arange(len(x_NH)) // part.context
        g_SH = x_NH.reshape(len(part.stratum_S), part.context, -1).sum(axis=1) / self.num_tokens
        np.add.at(self.g, part.stratum_S, g_SH)
        np.add.at(self.gg, part.stratum_S, g_SH**2)
        self.num_G += np.bincount(part.stratum_S, minlength=self.num_G.size)
        row_M, token_M = part.row_M[keep[part.token_M]], part.token_M[keep[part.token_M]]
        key_M = row_M.astype(np.int64) * len(part.stratum_S) + sequence_N[token_M]
        key_P, pair_M, num_P = np.unique(key_M, return_inverse=True, return_counts=True)
        row_P, sequence_P = np.divmod(key_P, len(part.stratum_S))
        sum_PH = _indicator(pair_M, token_M, key_P.size, len(x_NH)) @ x_NH
        f_PH = (sum_PH - num_P[:, None] * self.mean_RH[row_P]) / self.num_R[row_P][:, None]
        place = (row_P, part.stratum_S[sequence_P])
        np.add.at(self.f, place, f_PH)
        np.add.at(self.ff, place, f_PH**2)
        np.add.at(self.fg, place, f_PH * g_SH[sequence_P])
        self.has_RG[place] = True
        self.num_sequences_R += np.bincount(row_P, minlength=len(self.num_sequences_R))

    @property
    def degrees_R(self) -> NDArray[np.int64]:
        """Sequences of each row minus strata."""
        degrees: NDArray[np.int64] = self.num_sequences_R - self.has_RG.sum(axis=1)
        return degrees

    def means_and_errors(self) -> tuple[Float64, Float64]:
        """Mean x of every set, and its standard error, [R, H] each."""
        mean_RH, error_RH = self.mean_RH.copy(), np.empty_like(self.mean_RH)
        alone_R = np.any(self.has_RG & (self.num_G < 2), axis=1)
        for row in range(len(mean_RH)):
            u_GH = self.f[row] - self.g
            uu_GH = self.ff[row] - 2 * self.fg[row] + self.gg
            nothing_H = self._is_rounding(row, uu_GH)
            mean_RH[row, nothing_H] = 0.0
            error_RH[row] = np.where(nothing_H, 0.0, self._error(u_GH, uu_GH))
        error_RH[alone_R | (self.degrees_R < 1)] = np.nan
        return mean_RH, error_RH

    def _error(self, u_GH: Float64, uu_GH: Float64) -> Float64:
        """Standard error of one row, [H]; strata of one sequence are left out."""
        num_G1 = self.num_G[:, None].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            within_GH = (uu_GH - u_GH**2 / num_G1) * (num_G1 / (num_G1 - 1))
        within_GH = np.where(num_G1 >= 2, np.maximum(within_GH, 0.0), 0.0)
        error_H: Float64 = np.sqrt(within_GH.sum(axis=0))
        return error_H

    def _is_rounding(self, row: int, uu_GH: Float64) -> NDArray[np.bool_]:
        """Where u and the mean are 0 up to rounding, as for the set of all tokens."""
        terms_GH = self.ff[row] + 2 * np.abs(self.fg[row]) + self.gg
        reach_H = (np.abs(self.scale.mean_H) + self.scale.deviation_H) / self.scale.unit_H
        if self.scale.kind is Scaling.CENTRED:  # the row's mean brings in every column's rounding
            reach_H = np.full_like(reach_H, reach_H.max(initial=0.0))
        no_spread_H = uu_GH.sum(axis=0) <= ROUNDING_OF_SQUARES * terms_GH.sum(axis=0)
        no_mean_H = np.abs(self.mean_RH[row]) <= ROUNDING_OF_MEAN * reach_H
        result: NDArray[np.bool_] = no_spread_H & no_mean_H
        return result


def _finite(part: TokenBlock) -> tuple[NDArray[np.bool_], Float64]:
    """Tokens finite in every column, and χ with zeros for the others."""
    chi_NH = part.chi_NH.astype(np.float64)
    keep = np.all(np.isfinite(chi_NH), axis=1)
    return keep, chi_NH if keep.all() else np.where(keep[:, None], chi_NH, 0.0)


def _indicator(row_M: Ints, column_M: Ints, num_rows: int, num_columns: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(row_M.size), (row_M, column_M)), (num_rows, num_columns))


def parts(block: TokenBlock) -> Iterator[TokenBlock]:
    """The same sequences in parts of a bounded number of tokens."""
    step = max(1, TOKENS_AT_ONCE // max(1, block.context))
    order = np.argsort(block.token_M, kind="stable")
    row_M, token_M = block.row_M[order], block.token_M[order]
    for start in range(0, len(block.stratum_S), step):
        first = start * block.context
        chi_NH = block.chi_NH[first : first + step * block.context]
        low, high = np.searchsorted(token_M, [first, first + len(chi_NH)])
        yield TokenBlock(
            chi_NH=chi_NH,
            first_token_id=block.first_token_id + first,
            stratum_S=block.stratum_S[start : start + step],
            row_M=row_M[low:high],
            token_M=token_M[low:high] - first,
        )
