"""A pretended CUDA device for machines without one: real values, CUDA's rules, everything counted.

Tensors are plain CPU tensors; those whose storage is on the card's list are "on cuda:0". While
`pretended_cuda()` is entered

- `tensor.device` and `is_cuda` read as on CUDA; `device=` arguments, `.to`, `.cpu`, `.cuda` move;
- an operation on tensors of both devices raises, but for what CUDA allows: CPU scalars without
  dimensions in pointwise operations, CPU indices into CUDA tensors, copies;
- `.numpy()` of a CUDA tensor raises; every read by the host (`.item()`, `bool`, `.tolist()`,
  `nonzero`, boolean masks) is counted as a synchronisation, every copy between host and device as a
  transfer, both with the function of `spectro` that asked for it;
- every other operation on the device that is no view is counted as a launch;
- the card has so many bytes: `torch.OutOfMemoryError` where tensors take more;
- products of bfloat16 operands with float32 results exist, and the TF32 switch rounds operands.

Values are computed by the CPU's kernels, so results can be compared bit by bit with a CPU's. What
is not seen: kernels' own arithmetic, streams, threads, operations that are several kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from spectro.models.config import Precision
from spectro.models.precision import _switch, round_to_tf32
from tests.device.card import Card, place

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
GENERATOR = torch.Generator

aten = torch.ops.aten
INDEXING = {
    aten.index.Tensor,
    aten._unsafe_index.Tensor,
    aten.index_put_.default,
    aten.index_put.default,
    aten._index_put_impl_.default,
}
READ_BY_HOST = {
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount", "repeat_interleave",
    "_unique", "_unique2", "unique_dim", "unique_consecutive",
}  # fmt: skip
NO_KERNEL = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view",
    "detach", "lift_fresh", "set_",
}  # fmt: skip
PRODUCTS = {
    aten.mm.default: (0, 1),
    aten.mm.out: (0, 1),
    aten.bmm.default: (0, 1),
    aten.bmm.out: (0, 1),
    aten.addmm.default: (1, 2),
    aten.baddbmm.default: (1, 2),
}
"""Products that the TF32 switch acts on, and which arguments are their operands."""
TO_FLOAT32 = {
    aten.mm.dtype: torch.mm,
    aten.bmm.dtype: torch.bmm,
    aten.mm.dtype_out: torch.mm,
    aten.bmm.dtype_out: torch.bmm,
}


class WrongDeviceError(RuntimeError):
    """What CUDA refuses."""


class PretendedGenerator(GENERATOR):
    """Of random numbers on the device."""

    def __new__(cls, device: Any = "cpu") -> Any:
        if _is_cuda(device):
            return super().__new__(cls, "cpu")
        return GENERATOR(device)


class _Calls(TorchFunctionMode):
    """Where tensors are, and calls that name a device."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self.card = card

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name == "__get__":
            owner = func.__self__
            if owner is torch.Tensor.device:
                return CUDA if self.card.has(args[0]) else args[0].untyped_storage().device
            if owner is torch.Tensor.is_cuda:
                return self.card.has(args[0])
        if name in ("numpy", "__array__", "tolist") and self.card.has(args[0]):
            if name != "tolist":
                raise TypeError(
                    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy "
                    "the tensor to host memory first."
                )
            self.card.moved("read")
            with self._without_counts():
                return func(*args, **kwargs)
        if name in ("to", "cpu", "cuda") and isinstance(args[0], Tensor):
            return self._move(func, name, args, kwargs)
        if _is_real(kwargs.get("device")) and func is not torch.device:
            return self._make(func, name, args, kwargs)
        return func(*args, **kwargs)

    def _make(self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A call whose result is where `device` says."""
        wanted = _is_cuda(kwargs["device"])
        generator = kwargs.get("generator")
        if generator is not None and isinstance(generator, PretendedGenerator) is not wanted:
            raise WrongDeviceError("Expected a generator of the device of the result")
        source = args[0] if args and isinstance(args[0], Tensor) else None
        from_host = name in ("tensor", "as_tensor", "asarray") and source is None
        if name in ("as_tensor", "asarray") and source is not None:
            return self._move(torch.Tensor.to, "to", (source, kwargs.pop("device")), kwargs)
        self.card.forced = wanted
        try:
            found = func(*args, **{**kwargs, "device": "cpu"})
        finally:
            self.card.forced = None
        if wanted:
            self.card.put(found)
            if from_host:
                self.card.moved("to device")
        return found

    def _move(self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        source, is_here = args[0], self.card.has(args[0])
        wanted, args, kwargs = self._target(name, args, kwargs)
        if wanted is None or wanted == is_here:
            return source if name in ("cpu", "cuda") else func(*args, **kwargs)
        self.card.moved("to device" if wanted else "to host")
        with self._without_counts():
            found = source if name in ("cpu", "cuda") else func(*args, **kwargs)
            if found.untyped_storage()._cdata == source.untyped_storage()._cdata:
                found = found.clone()
        if wanted:
            self.card.put(found)
        return found

    def _target(
        self, name: str, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[bool | None, list[Any], dict[str, Any]]:
        """Whether a move goes to the device, None where it names none; the rest of the call."""
        if name in ("cpu", "cuda"):
            return name == "cuda", list(args), kwargs
        rest, wanted = [args[0]], None
        for value in args[1:]:
            if isinstance(value, torch.device | str):
                wanted = _is_cuda(value)
                rest.append(CPU)
            else:
                if isinstance(value, Tensor):
                    wanted = self.card.has(value)
                rest.append(value)
        if kwargs.get("device") is not None:
            wanted = _is_cuda(kwargs["device"])
            kwargs = {**kwargs, "device": CPU}
        return wanted, rest, kwargs

    @contextmanager
    def _without_counts(self) -> Iterator[None]:
        self.card.quiet = True
        try:
            yield
        finally:
            self.card.quiet = False


class _Operations(TorchDispatchMode):
    """Checks and counts every operation."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self.card = card

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.card.quiet:
            return func(*args, **kwargs)
        given = list(_tensors((args, list(kwargs.values()))))
        here = [tensor for tensor in given if self.card.has(tensor)]
        if func is aten.copy_.default:
            return self._copy(args, kwargs)
        if 0 < len(here) < len(given):
            self._check(func, args, kwargs)
        on_device = self.card.forced if self.card.forced is not None else bool(here)
        if on_device:
            self._count(func, args)
        found = _computed(func, args, kwargs) if on_device else func(*args, **kwargs)
        if on_device:
            for tensor in _tensors(found if isinstance(found, tuple | list) else [found]):
                self.card.put(tensor)
        return found

    def _copy(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        to, source = args[0], args[1]
        if self.card.has(to) != self.card.has(source):
            self.card.moved("to device" if self.card.has(to) else "to host")
        elif self.card.has(to):
            self.card.launches += 1
        return aten.copy_.default(*args, **kwargs)

    def _count(self, func: Any, args: Sequence[Any]) -> None:
        name = func.overloadpacket.__name__
        masks = (
            [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            if func in INDEXING
            else []
        )
        if name in READ_BY_HOST or masks:
            self.card.moved("read")
        if name not in NO_KERNEL and not func.is_view:
            self.card.launches += 1

    def _check(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise unless CUDA takes tensors of both devices here."""
        if func in INDEXING and self.card.has(args[0]):
            for index in args[1]:
                if index is not None and not self.card.has(index):
                    self.card.moved("to device")
            rest = [t for t in _tensors(args[2:]) if not self.card.has(t) and t.dim() > 0]
            if not rest:
                return
        elif torch.Tag.pointwise in func.tags:
            strays = [t for t in _tensors((args, list(kwargs.values()))) if not self.card.has(t)]
            is_written = func._schema.is_mutable and not self.card.has(args[0])
            if all(tensor.dim() == 0 for tensor in strays) and not is_written:
                return
        raise WrongDeviceError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 "
            f"and cpu! ({func}, in {place()})"
        )


class Tf32Products(TorchDispatchMode):
    """Rounds the operands of products as the TF32 switch of CUDA does."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        changed = list(args)
        for index in PRODUCTS.get(func, ()):
            if changed[index].dtype == torch.float32:
                changed[index] = round_to_tf32(changed[index])
        return func(*changed, **(kwargs or {}))


def _computed(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """An operation on the device: by the CPU's kernels, products as CUDA rounds them."""
    if func in TO_FLOAT32:
        left, right = args[0].float(), args[1].float()
        with _switch("cpu", Precision.BFLOAT16):
            return TO_FLOAT32[func](left, right, out=kwargs.get("out"))
    if torch.backends.cuda.matmul.fp32_precision == "tf32":
        with Tf32Products():
            return func(*args, **kwargs)
    return func(*args, **kwargs)


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def _is_real(device: Any) -> bool:
    """Whether a call names a device that tensors with values are on."""
    return device is not None and torch.device(device).type in ("cpu", "cuda")


def _is_cuda(device: Any) -> bool:
    return torch.device(device).type == "cuda"


@contextmanager
def pretended_cuda(memory_bytes: int = 2**34) -> Iterator[Card]:
    """A CUDA device with so much memory, in this thread."""
    card = Card(memory_bytes)
    patches = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda device=None: (card.memory_bytes - card.held, card.memory_bytes),
        "memory_allocated": lambda device=None: card.held,
        "memory_reserved": lambda device=None: card.held,
        "max_memory_allocated": lambda device=None: card.peak,
        "reset_peak_memory_stats": lambda device=None: setattr(card, "peak", card.held),
        "set_per_process_memory_fraction": lambda share: card.limit(share * memory_bytes),
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: card.moved("read"),
    }
    with ExitStack() as stack:
        for name, value in patches.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch, "Generator", PretendedGenerator))
        stack.enter_context(_Operations(card))
        calls = stack.enter_context(_Calls(card))
        run_backward = torch.autograd._engine_run_backward

        def backward(*args: Any, **kwargs: Any) -> Any:
            with calls:  # which is off within the call that it passes on
                return run_backward(*args, **kwargs)

        stack.enter_context(mock.patch.object(torch.autograd, "_engine_run_backward", backward))
        yield card
