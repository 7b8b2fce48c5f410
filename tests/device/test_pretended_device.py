"""The pretended device refuses what CUDA refuses, and counts what CUDA waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.device.pretended_device import Card, WrongDeviceError, pretended_cuda

CPU_3 = torch.arange(3.0)
MIXTURES: dict[str, Callable[[torch.Tensor], Any]] = {
    "sum": lambda on: on + CPU_3,
    "sum in place": lambda on: on.add_(CPU_3),
    "scalar of the device, in a CPU tensor": lambda on: CPU_3 + on[0],
    "into a CPU scalar": lambda on: torch.tensor(0.0).add_(on[0]),
    "product": lambda on: on[None] @ CPU_3[:, None],
    "joined": lambda on: torch.cat([on, CPU_3]),
    "stacked": lambda on: torch.stack([on, CPU_3]),
    "choice": lambda on: torch.where(on > 1, on, CPU_3),
    "CPU indices of an embedding": lambda on: torch.nn.functional.embedding(
        torch.tensor([1]), on[:, None]
    ),
    "gathered by CPU indices": lambda on: on.gather(0, torch.tensor([1])),
    "CPU tensor indexed by the device": lambda on: CPU_3[on.long()],
    "CPU generator": lambda on: torch.randn(
        3, device="cuda", generator=torch.Generator().manual_seed(0)
    ),
    "CPU values at indices": lambda on: on.index_put_((torch.tensor([0, 1]),), CPU_3[:2]),
}


@pytest.mark.parametrize("mixture", MIXTURES)
def test_tensors_of_both_devices_do_not_mix(mixture: str) -> None:
    with pretended_cuda(), pytest.raises(WrongDeviceError, match=r"same device|device of"):
        MIXTURES[mixture](torch.arange(3.0, device="cuda"))


def test_a_tensor_on_the_device_is_no_array() -> None:
    with pretended_cuda():
        on = torch.ones(3, device="cuda")
        for read in (on.numpy, on.__array__, on[:2].numpy):
            with pytest.raises(TypeError, match="can't convert cuda:0"):
                read()
        assert on.cpu().numpy().tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("call", "moves"),
    [
        (lambda on: on + torch.tensor(2.0), {}),  # a CPU scalar is an argument of the kernel
        (lambda on: on * 2 + on.sum(), {}),
        (lambda on: on.to(torch.float64), {}),
        (lambda on: on.to("cuda"), {}),
        (lambda on: on[torch.tensor([1])], {"to device": 1}),
        (lambda on: on.item() if on.dim() == 0 else on[0].item(), {"read": 1}),
        (lambda on: on.tolist(), {"read": 1}),
        (lambda on: bool((on > 1).any()), {"read": 1}),
        (lambda on: on[on > 1], {"read": 1}),
        (lambda on: torch.nonzero(on), {"read": 1}),
        (lambda on: on.cpu(), {"to host": 1}),
        (lambda on: on.to("cpu", torch.float64), {"to host": 1}),
        (lambda on: torch.zeros(3).copy_(on), {"to host": 1}),
        (lambda on: on.__setitem__(slice(2), CPU_3[:2]), {"to device": 1}),
        (lambda on: CPU_3.to(on), {"to device": 1}),
        (lambda on: torch.tensor([1.0], device=on.device), {"to device": 1}),
        (lambda on: torch.cuda.synchronize(), {"read": 1}),
    ],
)
def test_what_the_host_waits_for_is_counted(
    call: Callable[[torch.Tensor], Any], moves: dict[str, int]
) -> None:
    with pretended_cuda() as card:
        on = torch.arange(3.0, device="cuda")
        call(on)
        assert {name.split(" elsewhere")[0]: n for name, n in card.moves.items()} == moves


def test_views_are_no_launches_and_results_stay_on_the_device() -> None:
    with pretended_cuda() as card:
        on = torch.ones(4, 3, device="cuda", requires_grad=True)
        before = card.launches
        view = on.T[:2].reshape(2, 2, 2).unsqueeze(0)
        assert card.launches == before
        (gradient,) = torch.autograd.grad((view * 2).exp().sum(), on)
        made = (view, gradient, on.new_zeros(2), torch.zeros_like(on), on.detach(), on.data)
        assert all(tensor.is_cuda and tensor.device.type == "cuda" for tensor in made)
        assert not on.new_zeros(2, device="cpu").is_cuda
        assert card.launches > before


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        assert x.device.type == "cuda"
        return 2 * x * upstream[0] * torch.ones(3, device=x.device)


def test_a_backward_pass_sees_the_device() -> None:
    with pretended_cuda():
        on = torch.arange(3.0, device="cuda", requires_grad=True)
        _Square.apply(on).sum().backward()
        assert on.grad is not None and on.grad.cpu().tolist() == [0, 2, 4]


def test_memory_is_what_tensors_take_and_ends() -> None:
    with pretended_cuda(memory_bytes=4000) as card:
        on = torch.ones(500, device="cuda")
        assert (card.held, torch.cuda.mem_get_info()) == (2000, (2000, 4000))
        view = on[:10]
        with pytest.raises(torch.cuda.OutOfMemoryError, match="out of memory"):
            torch.cat([on, on])
        del on
        assert card.held == 2000  # the view holds the storage
        del view
        assert (card.held, card.peak) == (0, 2000)


def test_products_of_bfloat16_have_float32_results() -> None:
    left, right = torch.randn(2, 4, 3).bfloat16(), torch.randn(2, 3, 5).bfloat16()
    with pretended_cuda():
        found = torch.bmm(left.cuda(), right.cuda(), out_dtype=torch.float32).cpu()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, left.float() @ right.float())


def test_nothing_of_it_is_left_behind() -> None:
    with pretended_cuda() as card:
        assert torch.cuda.is_available() and isinstance(card, Card)
        kept = torch.ones(2, device="cuda")
    assert not torch.cuda.is_available() and kept.device.type == "cpu"
    assert kept.numpy().tolist() == [1, 1]
