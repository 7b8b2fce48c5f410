"""Bytes of tensors that are alive at once during a call, at most.

Counted by the real call on the meta device, where nothing is computed and no memory is taken: every
storage that an operation makes counts from then until nothing refers to it any more, what autograd
keeps for the backward pass included. Storages that were there before the call do not count. What an
operation takes for itself while it runs (workspaces of products and of attention) is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

RESIZES = ("resize_", "set_")


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context that counts; `peak` is the most that was alive at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = 0
        """Alive now."""
        self.peak = 0
        self._met: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._layouts: dict[Hashable, Tensor | None] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in _tensors((*args, *kwargs.values())):
            self._meet(tensor, num_bytes=0)
        found = self._call(func, args, kwargs)
        for tensor in _tensors(found if isinstance(found, tuple | list) else (found,)):
            self._meet(tensor, num_bytes=tensor.untyped_storage().nbytes())
        self.peak = max(self.peak, self.held)
        return found

    def _call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the operation returns; not asked again where its layout is known.

        On the meta device an operation costs a millisecond of Python, a tensor of a known layout
        next to nothing, and a call repeats few operations many times.
        """
        schema = func._schema
        if schema.is_mutable:
            name = func.overloadpacket.__name__
            in_place = name.endswith("_") and name not in RESIZES and len(schema.returns) == 1
            return args[0] if in_place else func(*args, **kwargs)
        if len(schema.returns) != 1 or schema.returns[0].alias_info is not None:
            return func(*args, **kwargs)
        try:
            key = (func, _layout(args), _layout(tuple(kwargs.items())))
            known = self._layouts.get(key)
        except TypeError:  # an argument that cannot be hashed
            return func(*args, **kwargs)
        if known is not None:
            return torch.empty_strided(
                known.size(), known.stride(), dtype=known.dtype, device=known.device
            )
        found = func(*args, **kwargs)
        if isinstance(found, Tensor) and found.storage_offset() == 0:
            shape = (found.size(), found.stride())
            self._layouts[key] = torch.empty_strided(*shape, dtype=found.dtype, device=found.device)
        return found

    def _meet(self, tensor: Tensor, *, num_bytes: int) -> None:
        """Count a storage that was not met before, until it is gone."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._met:
            return
        self.held += num_bytes

        def gone(_: object, key: int = key, num_bytes: int = num_bytes) -> None:
            del self._met[key]
            self.held -= num_bytes

        self._met[key] = weakref.ref(storage, gone)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _tensors(value)
    return found


def _layout(value: Any) -> Any:
    """What the layout of a result depends on, of an argument."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.stride(), value.dtype
    if isinstance(value, tuple | list):
        return tuple(_layout(each) for each in value)
    return value
