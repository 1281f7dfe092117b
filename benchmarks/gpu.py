"""Measurements for a GPU in one command, most important first: each is appended to a file.

    python -m benchmarks gpu --out gpu.jsonl
    python -m benchmarks gpu --tiny --device cpu --out trial.jsonl

What it measures, with the share of the time that each is expected to take. All of it is meant for
15 minutes of one H100; a run that is cut off keeps what was measured before.

1. Recall (30 %): recall_at_k with the Triton kernel and without, 60,502 and 1,000,000 rows of 512,
   and the bfloat16 products of those rows alone.
2. Distilled step (20 %) at 800 x 1333 and batch 8, against student and teacher alone, in float32,
   bfloat16 and float16; with energies shared and finite losses looked at late, and without; each
   term alone.
3. Gradients (5 %): losses against the CPU's, in the three precisions.
4. Training (10 %) for 100 iterations as `kdkit train --amp` does it, on images from files: images/s
   and the share of the time that the loader is waited for.
5. Memory (20 %): peak of student and distilled step at batch 2, 4, 8 and 16.
6. torchrun (10 %): the same training as one process of a distributed run, on nccl (gloo on a CPU).
7. Profile (5 %): the operators of a distilled step that take most of the time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.gradients import distances
from benchmarks.measure import describe_machine, interleave, peak_bytes, ratios, spread
from benchmarks.recall.case import SIZES, synthetic
from kd_core.relations import gram
from kd_engine.devices import named_device
from kd_retrieval.recall import count
from kd_retrieval.recall.at_k import recall_at_k

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_TILE = 8192  # rows
_OPERATORS = 20  # of a profile


@dataclass(frozen=True)
class GpuSettings:
    """Settings of the measurements.

    Attributes:
        device: Where to run.
        sizes: Sets of embeddings, of ``benchmarks.recall.case.SIZES``.
        size: Height and width in pixels of the images of a step.
        batch: Number of images of a step, and of a training.
        batches: Those of the memory measurement.
        rounds: Rounds that count; two come before them.
        iterations: Length of a training.
        workers: Processes that load its images.
        data: Folder laid out like COCO; empty for random images.
    """

    device: str = "cuda"
    sizes: tuple[str, ...] = ("sop512", "1m")
    size: tuple[int, int] = (800, 1333)
    batch: int = 8
    batches: tuple[int, ...] = (2, 4, 8, 16)
    rounds: int = 8
    iterations: int = 100
    workers: int = 8
    data: str = ""


def tiny(settings: GpuSettings) -> GpuSettings:
    """Return settings with which all measurements run in a minute, on a CPU too: a trial."""
    return replace(settings, sizes=("tiny",), size=(64, 96), batch=2, batches=(2,), rounds=1,
                   iterations=4, workers=0)  # fmt: skip


def measure_all(config: Config, settings: GpuSettings, out: str) -> None:
    """Measure everything, and append each result to a file of one JSON object a line.

    An error, such as too little memory, is the result of its measurement; the others follow.

    Args:
        config: A detector's distillation config; its weights are not loaded.
        settings: How to measure.
        out: The file.

    Raises:
        ValueError: If this machine lacks the device.
    """
    device = named_device(settings.device)
    with Path(out).open("a", encoding="utf-8") as file:
        for name, measure in _queue(config, settings, device).items():
            began = time.monotonic()
            try:
                result = measure()
            except Exception as error:  # the measurements after it are worth having
                result = {"error": f"{type(error).__name__}: {error}"}
            line = {"what": name, "machine": describe_machine(device), "result": result,
                    "took_seconds": round(time.monotonic() - began, 1)}  # fmt: skip
            print(json.dumps(line), file=file, flush=True)
            print(name, json.dumps(result), flush=True)
            if device.type == "cuda":
                torch.cuda.empty_cache()


def _queue(
    config: Config, settings: GpuSettings, device: torch.device
) -> dict[str, Callable[[], Any]]:
    amp = device.type == "cuda"  # mmengine's mixed precision asks for one
    queue: dict[str, Callable[[], Any]] = {
        f"recall {name}": functools.partial(recall, name, settings.rounds, device)
        for name in settings.sizes
    }
    for name, dtype in PRECISIONS.items():
        queue[f"step {name}"] = functools.partial(step, config, settings, dtype)
    for name, dtype in PRECISIONS.items():
        queue[f"gradients {name}"] = functools.partial(distances, device, dtype)
    queue["training"] = functools.partial(train, config, settings, amp)
    for batch in settings.batches:
        queue[f"memory batch {batch}"] = functools.partial(memory, config, settings, batch)
    queue["torchrun"] = functools.partial(train, config, settings, amp, distributed=True)
    queue["profile"] = functools.partial(hot_spots, config, settings, torch.bfloat16)
    return queue


def recall(name: str, rounds: int, device: torch.device) -> dict[str, Any]:
    """Time recall with the kernel and without, and compare the two results."""
    size = SIZES[name]
    rows, labels = (one.to(device) for one in synthetic(size))
    found = {}

    def run(title: str, kernel: bool) -> None:
        with contextlib.nullcontext() if kernel else _without_kernel():
            found[title] = recall_at_k(rows, labels, ks=size.ks)

    actions: dict[str, Callable[[], object]] = {
        "kernel": lambda: run("kernel", True),
        "without": lambda: run("without", False),
        "products": lambda: _products(rows.bfloat16()),
    }
    peak = {title: peak_bytes(action, device) for title, action in actions.items()}
    times = interleave(actions, max(1, min(rounds, 200_000 // size.rows)), device)
    same = torch.equal(found["kernel"].found_at, found["without"].found_at)
    seconds = {title: spread(time["wall"]) for title, time in times.items()}
    return {"seconds": seconds, "extra_bytes": peak, "same": same,
            "recall": {str(k): share for k, share in found["kernel"].recall.items()}}  # fmt: skip


def step(config: Config, settings: GpuSettings, dtype: torch.dtype) -> dict[str, Any]:
    """Time the distilled step, now and as it was, against its parts; and each term alone."""
    case, device = _case(config, settings, settings.batch), torch.device(settings.device)
    plain = case.actions()

    def before() -> None:
        with as_before(case.distiller):
            plain["distilled"]()

    actions = {
        name: _in_precision(action, device, dtype)
        for name, action in {**plain, "before": before}.items()
    }
    seconds, ratio = _times(actions, settings.rounds, device), {}
    parts = [seconds["student"], seconds["teacher"]]
    for name in ("distilled", "before"):
        ratio[name] = spread(ratios(seconds[name], *parts))
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        terms = case.term_actions()  # which capture the features in this precision
    alone = {name: _in_precision(action, device, dtype) for name, action in terms.items()}
    return {
        "seconds": {name: spread(one) for name, one in seconds.items()},
        "ratio": ratio,
        "terms_seconds": {
            name: spread(one) for name, one in _times(alone, settings.rounds, device).items()
        },
    }


def _times(
    actions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    interleave(actions, 2, device)
    return {name: one["wall"] for name, one in interleave(actions, rounds, device).items()}


@contextlib.contextmanager
def as_before(distiller: Any) -> Iterator[None]:
    """Compute each term's energies on their own, in chunks, and wait for finite losses."""
    late, distiller.finite.late = distiller.finite.late, False
    try:
        with (
            mock.patch("kd_core.distiller.shared_energies", lambda _: contextlib.nullcontext()),
            mock.patch.object(gram, "_in_one_kernel", lambda _: False),
            mock.patch.object(gram, "_CACHE_ELEMENTS", gram._CHUNK_ELEMENTS),
        ):
            yield
    finally:
        distiller.finite.late = late


def train(
    config: Config, settings: GpuSettings, amp: bool, distributed: bool = False
) -> dict[str, Any]:
    """Train for some iterations in a process of its own, with real loading of images."""
    from benchmarks.det.training import Training, measure_training

    training = Training(
        settings.size, settings.batch, settings.iterations, settings.workers, settings.data
    )
    return measure_training(config, training, amp, distributed) | {"amp": amp}


def memory(config: Config, settings: GpuSettings, batch: int) -> dict[str, int]:
    """Return the peak bytes of the student's step and of the distilled one."""
    case = _case(config, settings, batch)
    actions, device = case.actions(), torch.device(settings.device)
    interleave(actions, 1, device)
    return {name: peak_bytes(actions[name], device) for name in ("student", "distilled")}


def hot_spots(config: Config, settings: GpuSettings, dtype: torch.dtype) -> list[dict[str, Any]]:
    """Return the operators of a distilled step that take most time: milliseconds and calls."""
    case, device = _case(config, settings, settings.batch), torch.device(settings.device)
    distilled = _in_precision(case.actions()["distilled"], device, dtype)
    interleave({"distilled": distilled}, 2, device)
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as profiler:
        distilled()
    field = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    found = sorted(profiler.key_averages(), key=lambda one: -getattr(one, field))[:_OPERATORS]
    return [
        {"operator": one.key, "ms": getattr(one, field) / 1000, "calls": one.count} for one in found
    ]


def _in_precision(
    action: Callable[[], object], device: torch.device, dtype: torch.dtype
) -> Callable[[], None]:
    def run() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            action()

    return run


def _case(config: Config, settings: GpuSettings, batch: int) -> Any:
    from benchmarks.det.case import DetectorCase  # mmdet, which recall does not need

    return DetectorCase(config, settings.size, batch, torch.device(settings.device))


def _products(rows: Tensor) -> None:
    """Multiply all rows with all, in tiles: the least that recall without symmetry can cost."""
    for left in rows.split(_TILE):
        for right in rows.split(_TILE):
            torch.mm(left, right.T)


def _without_kernel() -> Any:
    return mock.patch.object(count, "tile_kernel", lambda *_: None)
