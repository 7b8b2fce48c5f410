"""What a coloured text is made of: plain arrays, no storage.

Shapes: N tokens of the text, C components that can be shown. The first token is context alone:
nobody predicted it, so that it has no loss and no χ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectro.susceptibility.interval import Interval
from spectro.tokens.display.vocabulary import CLOSE, OPEN, display

Floats = npt.NDArray[np.floating]
MAX_BANDS = 3
"""Components that are shown at once (as Baker et al. 2025, arXiv 2504.18274, do)."""


@dataclass(frozen=True, kw_only=True)
class TextColumns:
    """What is known of the C columns over all tokens of the run; NaN where it is not known."""

    mean_C: Floats
    """Mean of χ, nats²."""
    deviation_C: Floats
    """Standard deviation of χ, nats²: what standardisation divides by."""
    reliability_C: Floats
    """Split-half reliability."""
    error_C: Floats
    """Root mean square of the standard error of χ, nats²."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A text, token by token, with χ of some components.

    Raises ValueError if the arrays do not belong together.
    """

    title: str
    """What it is called."""
    facts: tuple[tuple[str, str], ...]
    """Label and value: where it comes from and how it was measured."""
    token_N: npt.NDArray[np.integer]
    """Token ids in their order."""
    context: int
    """T: token j is predicted from those from T · ⌊(j − 1) / T⌋ on, as the run packs."""
    loss_N: Floats
    """ℓ at w*, nats; NaN for the first token."""
    components: tuple[str, ...]
    """Names of the columns, C of them."""
    chi_NC: Floats
    """χ, nats²; NaN for the first token."""
    error_NC: Floats | None
    """Standard error of every χ, nats²; None where the run knows that of whole columns alone."""
    interval: Interval
    """What χ ± is, given the standard errors."""
    columns: TextColumns
    """Of the whole run."""
    row_mean_N: Floats | None
    """Mean over all components of the run of standardised χ, which row-centring takes off; None
    where not all were measured."""
    shown: tuple[int, ...]
    """Columns that are shown first, at most `MAX_BANDS`."""
    piece_N: Sequence[bytes | None] | None
    """Bytes that each token adds to the text; None: tokens are shown by their numbers."""

    def __post_init__(self) -> None:
        num, width = len(self.token_N), len(self.components)
        arrays = {
            "loss_N": (self.loss_N, (num,)),
            "chi_NC": (self.chi_NC, (num, width)),
            "error_NC": (self.error_NC, (num, width)),
            "row_mean_N": (self.row_mean_N, (num,)),
            "piece_N": (None if self.piece_N is None else np.empty(len(self.piece_N)), (num,)),
            "reliability_C": (self.columns.reliability_C, (width,)),
            "deviation_C": (self.columns.deviation_C, (width,)),
        }
        for name, (array, shape) in arrays.items():
            if array is not None and array.shape != shape:
                raise ValueError(
                    f"{name} is of shape {array.shape}, expected {shape} for {num} tokens and "
                    f"{width} components: are text and χ of different measurements?"
                )
        if not self.components or num == 0:
            raise ValueError(f"a text needs a token and a component; found {num} and {width}")
        if len(self.shown) > MAX_BANDS or not set(self.shown) <= set(range(width)):
            raise ValueError(
                f"shown must name at most {MAX_BANDS} of {width} columns, found {self.shown}"
            )

    @property
    def shown_N(self) -> list[str]:
        """Each token in the display alphabet."""
        if self.piece_N is None:
            return [f"{OPEN}#{token}{CLOSE}" for token in self.token_N.tolist()]
        return [display(piece) for piece in self.piece_N]

    @property
    def starts(self) -> range:
        """First token of every context."""
        return range(0, max(1, len(self.token_N) - 1), self.context)
