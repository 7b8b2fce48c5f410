"""Where time and arithmetic go: phases of a call, by the clock or by counted flops.

A phase's amount is its own: what an inner phase takes is not the outer one's as well.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

OTHER = "other"
CLOCKS = WALL, PROCESSOR = "wall", "processor"


class Meter:
    """Splits what a reading (seconds, flops) grows by among named phases."""

    def __init__(self, read: Callable[[], float]) -> None:
        self.amounts: dict[str, float] = defaultdict(float)
        self._read = read
        self._stack = [OTHER]
        self._last = read()

    def _charge(self) -> None:
        now = self._read()
        self.amounts[self._stack[-1]] += now - self._last
        self._last = now

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge what happens inside to a phase."""
        self._charge()
        self._stack.append(name)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def turn_to(self, name: str) -> None:
        """The present phase ends here, and another begins in its place."""
        self._charge()
        self._stack[-1] = name

    def close(self) -> dict[str, float]:
        """All amounts; what belongs to no phase is `other`."""
        self._charge()
        return dict(self.amounts)


def seconds_reader(device: str, kind: str = WALL) -> Callable[[], float]:
    """The clock, after everything queued on the device has ended.

    With kind `processor` the seconds that the system gave to this process, all threads together:
    on a machine that others load, what it would take alone.
    """

    def read() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if kind == PROCESSOR else time.perf_counter()

    return read


def timed(run: Callable[[Meter], Any], device: str, kind: str = WALL) -> dict[str, float]:
    """Seconds by phase of one call."""
    meter = Meter(seconds_reader(device, kind))
    run(meter)
    return meter.close()


def count_flops(run: Callable[[Meter], Any]) -> dict[str, float]:
    """Flops of matrix products and attention by phase of one call (which this makes slower)."""
    with FlopCounterMode(display=False, custom_mapping=_uncounted()) as mode:
        meter = Meter(lambda: float(mode.get_total_flops()))
        run(meter)
        return meter.close()


def top_operations(run: Callable[[], Any], device: str, count: int = 10) -> dict[str, Any]:
    """The operations that took the most time themselves, as shares of all, of one call."""
    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities, acc_events=True) as found:
        run()
    key = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    events = sorted(found.key_averages(), key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in events)
    return {
        "profiled_seconds": total / 1e6,
        "shares": {event.key: getattr(event, key) / total for event in events[:count]},
        "calls": {event.key: event.count for event in events[:count]},
    }


def _uncounted() -> dict[Any, Any]:
    """Products that torch's own table leaves out: in place, and the CPU's fused attention."""
    aten = torch.ops.aten

    def product(_: Any, a: Any, b: Any, **options: Any) -> int:
        return int(2 * a.numel() * b[-1])

    def attention(q: Any, k: Any, v: Any, *_: Any, **options: Any) -> int:
        return int(sdpa_flop_count(q, k, v))  # type: ignore[no-untyped-call]

    def attention_back(g: Any, q: Any, k: Any, v: Any, *_: Any, **options: Any) -> int:
        return int(sdpa_backward_flop_count(g, q, k, v))  # type: ignore[no-untyped-call]

    return {
        aten.addmm_: product,
        aten.baddbmm_: product,
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_back,
    }
