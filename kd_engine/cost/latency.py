"""Latency of models: medians over rounds in which they take turns, and the device by name."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kd_engine.devices import named_device

ROUNDS, WARM_UP = 50, 5


@dataclass(frozen=True)
class Latency:
    """Seconds of one image.

    Attributes:
        median: Over the rounds.
        low: Lower quartile.
        high: Upper quartile.
        rounds: How many were timed.
    """

    median: float
    low: float
    high: float
    rounds: int


def latencies(
    runs: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, Latency]:
    """Time models round by round, so that whatever else the machine does meets all of them.

    Args:
        runs: Name to what runs a model once.
        device: Where they run; a GPU is waited for, before and after each run.
        rounds: How often each of them is timed.
        warm_up: How many rounds come before, without being timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with torch.no_grad():
        for number in range(warm_up + rounds):
            for name, run in runs.items():
                wait_for(device)
                start = time.perf_counter()
                run()
                wait_for(device)
                if number >= warm_up:
                    seconds[name].append(time.perf_counter() - start)
    return {name: _latency(values) for name, values in seconds.items()}


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done its work; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe_device(device: torch.device) -> str:
    """Return a device by name, with what else decides about its speed."""
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        where = f"{_cpu()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s)"
    return f"{where}, torch {torch.__version__}"


def devices_of(names: tuple[str, ...]) -> list[torch.device]:
    """Return devices by their names; without any the CPU, and a GPU where there is one.

    Args:
        names: Such as ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ValueError: If a name is no such one, or this machine lacks the device.
    """
    wanted = names or ("cpu", *["cuda"] * torch.cuda.is_available())
    return [named_device(name) for name in dict.fromkeys(wanted)]


def _latency(seconds: list[float]) -> Latency:
    several = seconds if len(seconds) > 1 else seconds * 2
    low, median, high = statistics.quantiles(several, n=4, method="inclusive")
    return Latency(median, low, high, len(seconds))


def _cpu() -> str:
    """Return the processor's model name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
