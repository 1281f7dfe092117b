"""Cost of recall@K, in time and memory."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import describe_machine, interleave, peak_bytes, ratios, spread
from benchmarks.recall.case import SIZES, RecallCase

RATIO_LIMITS = {"cub": 1.0, "sop128": 0.7, "sop512": 0.7}  # of the time of FAISS at k=1
MEMORY_LIMIT = 300e6  # bytes
_OURS = ("kdkit", "kdkit without bfloat16")
_WARM_UP = 1500  # rows
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class RecallSettings:
    """Settings of a measurement.

    Attributes:
        sizes: Names of the sizes, of SIZES.
        rounds: Rounds that count.
        threads: Threads of torch and FAISS; None leaves them as they are.
        device: Where recall_at_k runs.
    """

    sizes: Sequence[str] = ("cub", "sop128")
    rounds: int = 5
    threads: int | None = None
    device: str = "cpu"


def measure_recall(settings: RecallSettings) -> dict[str, Any]:
    """Measure all K of recall_at_k against a search of one neighbor by FAISS.

    Args:
        settings: How to measure.

    Returns:
        A dict that JSON can hold: for each size seconds of each round, ratios, bytes, recall.

    Raises:
        ValueError: If a size is unknown, or the searches' results differ.
        ImportError: If FAISS is not installed.
    """
    if unknown := [name for name in settings.sizes if name not in SIZES]:
        raise ValueError(f"sizes must be of {', '.join(SIZES)}, but {unknown[0]!r} is not.")
    device = torch.device(settings.device)
    if settings.threads is not None:
        _set_threads(settings.threads)
    return {
        "machine": describe_machine(device),
        "settings": {"rounds": settings.rounds, "threads": torch.get_num_threads(),
                     "device": settings.device},
        "memory_limit_bytes": MEMORY_LIMIT,
        "sizes": {name: _measure(name, settings.rounds, device) for name in settings.sizes},
    }  # fmt: skip


def resident_peak_bytes(action: Callable[[], object]) -> int | None:
    """Return the bytes of memory that an action needs at its peak, beyond those held before it.

    All memory of the process counts, whoever allocates it; free memory in its heap is returned to
    the system before. None where the system does not report it: Linux does.
    """
    gc.collect()
    if sys.platform != "linux" or not _CLEAR.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident("VmRSS")
    _CLEAR.write_text("5")  # the peak starts anew
    action()
    return _resident("VmHWM") - before


def describe(report: dict[str, Any]) -> str:
    """Return the report as the tables that the command prints."""
    settings = report["settings"]
    lines = [report["machine"], f"{settings['rounds']} rounds, {settings['threads']} threads"]
    for name, found in report["sizes"].items():
        lines += ["", *_lines(name, found)]
    return "\n".join(lines)


def _measure(name: str, rounds: int, device: torch.device) -> dict[str, Any]:
    size = SIZES[name]
    warm = replace(size, rows=min(size.rows, _WARM_UP), classes=min(size.classes, _WARM_UP // 5))
    for action in RecallCase(warm, device).actions().values():
        action()  # libraries take memory and time when they are first used
    case = RecallCase(size, device)
    actions = case.actions()
    memory = {}
    for title in actions:
        if title in _OURS:
            action = actions[title]
            memory[title] = (
                peak_bytes(action, device) if device.type == "cuda" else resident_peak_bytes(action)
            )
    times = interleave(actions, rounds, device)
    case.check_agreement()
    below = "faiss k=1"
    ratio = {
        title: {clock: spread(ratios(times[title][clock], times[below][clock])) for clock in clocks}
        for title, clocks in times.items()
        if title != below and below in times
    }
    result = case.found["kdkit"]
    return {
        "rows": size.rows, "size": size.size, "classes": size.classes,
        "recall": {str(k): share for k, share in result.recall.items()},
        "seconds": times, "ratio": ratio, "ratio_limit": RATIO_LIMITS.get(name),
        "extra_bytes": memory, "results_agree": True,
    }  # fmt: skip


def _lines(name: str, found: dict[str, Any]) -> list[str]:
    recall = ", ".join(f"R@{k} {100 * share:.1f}" for k, share in found["recall"].items())
    lines = [
        f"{name}: {found['rows']:,} x {found['size']}, {found['classes']:,} classes; {recall}",
        _row("", "wall s", "CPU s", "extra MB", "wall / faiss", "quartiles", "CPU / faiss"),
    ]
    for title, times in found["seconds"].items():
        seconds = [f"{spread(times[clock])['median']:.3f}" for clock in ("wall", "cpu")]
        extra = found["extra_bytes"].get(title)
        cells = [*seconds, f"{extra / 1e6:.0f}" if extra is not None else ""]
        if title in found["ratio"]:
            wall, cpu = (found["ratio"][title][clock] for clock in ("wall", "cpu"))
            cells += [f"{wall['median']:.3f}", f"{wall['q1']:.3f}-{wall['q3']:.3f}"]
            cells += [f"{cpu['median']:.3f}"]
        lines.append(_row(f"  {title}", *cells))
    wanted = [f"extra memory at most {MEMORY_LIMIT / 1e6:.0f} MB"]
    if found["ratio_limit"] is not None:
        wanted.insert(0, f"all K in at most {found['ratio_limit']} x the time of faiss k=1")
    lines.append(f"  wanted: {', '.join(wanted)}; results agree")
    return lines


def _row(title: str, *cells: str) -> str:
    return f"{title:27}" + "".join(f"{cell:>14}" for cell in cells)


def _set_threads(count: int) -> None:
    import faiss

    torch.set_num_threads(count)
    faiss.omp_set_num_threads(count)


def _resident(field: str) -> int:
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":"))
