"""Time and memory of a function, on a machine that may be busy with other work."""

from __future__ import annotations

import itertools
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

Action = Callable[[], object]
Times = dict[str, list[float]]  # clock -> seconds of each round
_MEMORY_EVENT = "[memory]"
_FEW = 5  # of which all orders are listed
_CPU = 0  # the profiler's number for this device


def interleave(
    actions: Mapping[str, Action], rounds: int, device: torch.device, prepare: Action | None = None
) -> dict[str, Times]:
    """Time several actions round by round, in an order that changes with each round.

    Args:
        actions: Name to what is timed.
        rounds: How often each of them runs.
        device: Where they run; a GPU is waited for.
        prepare: What to do before each of them, outside the time.

    Returns:
        Name to seconds of each round: "wall", and "cpu" of all threads of this process.
    """
    times: dict[str, Times] = {name: {"wall": [], "cpu": []} for name in actions}
    for number in range(rounds):
        for name in _order(list(actions), number):
            if prepare is not None:
                prepare()
            _wait(device)
            wall, cpu = time.perf_counter(), time.process_time()
            actions[name]()
            _wait(device)
            times[name]["wall"].append(time.perf_counter() - wall)
            times[name]["cpu"].append(time.process_time() - cpu)
    return times


def ratios(above: Sequence[float], *below: Sequence[float]) -> list[float]:
    """Divide the seconds of one action by those of others together, round by round."""
    return [top / sum(parts) for top, *parts in zip(above, *below, strict=True)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, quartiles, smallest and largest value."""
    ordered = sorted(values)
    low, middle, high = (
        statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    )
    return {"median": middle, "q1": low, "q3": high, "min": ordered[0], "max": ordered[-1]}


def peak_bytes(action: Action, device: torch.device) -> int:
    """Return the bytes that an action needs at its peak, beyond those held before it.

    On a GPU this is its allocator's count, elsewhere the sum of the profiler's records of
    allocations: memory of tensors, not the library's own, and exact in a busy process too.
    """
    if device.type == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        action()
        _wait(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return _peak(event for event in events if event.get("name") == _MEMORY_EVENT)


def describe_machine(device: torch.device) -> str:
    """Return in one line what a figure was measured on."""
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        where = (
            f"CPU {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
        )
    return f"{where}; torch {torch.__version__}, Python {platform.python_version()}"


def _order(names: list[str], number: int) -> Sequence[str]:
    if len(names) > _FEW:
        return random.Random(number).sample(names, len(names))
    orders = list(itertools.permutations(names))  # neighbors are alike: take every fifth
    return orders[number * 5 % len(orders)]


def _peak(events: Iterable[Mapping[str, Any]]) -> int:
    ordered = sorted(events, key=lambda event: event["ts"])
    sizes = [int(e["args"]["Bytes"]) for e in ordered if e["args"]["Device Type"] == _CPU]
    return max(itertools.accumulate(sizes), default=0)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
