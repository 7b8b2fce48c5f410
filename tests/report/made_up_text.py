"""A made-up text with planted χ, without model or storage."""

import dataclasses

import numpy as np

from spectro.susceptibility.interval import Interval
from spectro.views.text.document import Document, TextColumns

NAMES = ("embed", "l0h0", "l0mlp", "l1h3", "unembed")


def columns(num, **changes):
    made = TextColumns(
        mean_C=np.linspace(-0.1, 0.1, num),
        deviation_C=np.linspace(0.5, 2.0, num),
        reliability_C=np.linspace(0.5, 0.99, num),
        error_C=np.full(num, 0.05),
    )
    return dataclasses.replace(made, **changes)


def document(words, *, names=NAMES, context=8, error=True, centred=True, seed=0, **changes):
    """Every word is a token; χ is random, the first token has none."""
    rng = np.random.default_rng(seed)
    num, width = len(words), len(names)
    chi = rng.normal(size=(num, width))
    chi[0] = np.nan
    loss = rng.gamma(2.0, 1.5, num)
    loss[0] = np.nan
    made = Document(
        title="A made-up text",
        facts=(("Run", "made up"), ("Text", f"{num} tokens")),
        token_N=np.arange(num),
        context=context,
        loss_N=loss,
        components=names,
        chi_NC=chi,
        error_NC=np.abs(chi) / 10 if error else None,
        interval=Interval.over_chains(4),
        columns=columns(width),
        row_mean_N=chi.mean(axis=1) if centred else None,
        shown=tuple(range(min(3, width))),
        piece_N=list(words),
    )
    return dataclasses.replace(made, **changes)


PROSE = [
    w.encode()
    for w in ("def", " f", "(", "x", "):", "\n", "    ", "return", " x", " *", " 2", "\n")
]
TRAPS = (
    b"</script><script>document.title='owned'</script>",
    b"<img src=x onerror=\"document.title='owned'\">",
    b"<svg onload=\"document.title='owned'\">",
    b"javascript:document.title='owned'",
    b"\x00\x1b\r",
    b"\xf0\x9f",
    "שלום".encode(),
    "\u202e\u2028".encode(),
    "😀 漢字".encode(),
    b"'\"`${title} $data",
    b"$\\frac{1}{0}$ \\input{x} --> -- ]]>",
)
