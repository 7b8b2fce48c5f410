"""A user's function of logits and targets, by its import path.

Shapes: n sequences, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor

LogitsFunction = Callable[[Tensor, Tensor], Tensor]
"""(logits [n, T, V], targets [n, T]) → a value of every token [n, T], or one of the batch []."""


def imported(path: str) -> LogitsFunction:
    """The function at `package.module:function`.

    Raises ValueError, in one line, where it cannot be imported or called.
    """
    module, _, name = path.partition(":")
    try:
        found = import_module(module)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(
            f"function {path!r} cannot be imported: {_in_one_line(error)}; is {module!r} "
            "installed, or its folder in PYTHONPATH, on every machine of the run?"
        ) from error
    function = getattr(found, name, None)
    if not callable(function):
        raise ValueError(
            f"function {path!r}: expected a function {name!r} in {module!r}, found "
            f"{'nothing of that name' if function is None else type(function).__name__}"
        )
    return function  # type: ignore[no-any-return]


def called(function: LogitsFunction, logits_nTV: Tensor, targets_nT: Tensor) -> Tensor:
    """Its values as float64: [n, T] or [].

    Raises ValueError, in one line, where it raises, changes its arguments, or gives anything else.
    """
    before = (logits_nTV._version, targets_nT._version)
    try:
        values = function(logits_nTV, targets_nT)
    except torch.OutOfMemoryError:  # fewer rows are tried
        raise
    except Exception as error:
        raise ValueError(f"the function raised {_in_one_line(error)}") from error
    if (logits_nTV._version, targets_nT._version) != before:
        raise ValueError("the function changed its arguments in place: work on a copy (.clone())")
    shape = tuple(targets_nT.shape)
    if not isinstance(values, Tensor) or tuple(values.shape) not in (shape, ()):
        found = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else repr(type(values))
        raise ValueError(
            f"the function must return a tensor with one value for every token, shape {shape}, or "
            f"one for the batch, shape (); found {found}"
        )
    if values.is_complex():
        raise ValueError(f"the function must return real numbers, found {values.dtype}")
    return values.to(device="cpu", dtype=torch.float64)


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
