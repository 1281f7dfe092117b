"""Measurements for a GPU in one command, most important first: each is appended to a file.

    python -m benchmarks gpu --out gpu.jsonl

1. recall_at_k with the Triton kernel and without: 60,502 and 1,000,000 rows of 512.
2. A distilled step at 800 x 1333 and batch 8, against student and teacher alone, in float32,
   bfloat16 and float16; with energies shared and finite losses looked at late, and without.
3. Values and gradients of HMAT and ASCKD against the CPU's, in the three precisions.
4. Peak memory of student and distilled step at batch 2, 4, 8 and 16.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from torch import nn

from benchmarks.measure import (
    describe_machine,
    interleave,
    peak_bytes,
    ratios,
    require_device,
    spread,
)
from benchmarks.recall.case import SIZES, synthetic
from kd_core.losses import ASCKDLoss, AttentionTransferLoss, HMATLoss
from kd_core.relations import gram
from kd_retrieval.recall import count
from kd_retrieval.recall.at_k import recall_at_k

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class GpuSettings:
    """Settings of the measurements.

    Attributes:
        device: Where to run.
        sizes: Sets of embeddings, of ``benchmarks.recall.case.SIZES``.
        size: Height and width in pixels of the images of a step.
        batch: Number of images of a step.
        batches: Those of the memory measurement.
        rounds: Rounds that count; two come before them.
    """

    device: str = "cuda"
    sizes: tuple[str, ...] = ("sop512", "1m")
    size: tuple[int, int] = (800, 1333)
    batch: int = 8
    batches: tuple[int, ...] = (2, 4, 8, 16)
    rounds: int = 8


def measure_all(config: Config, settings: GpuSettings, out: str) -> None:
    """Measure everything, and append each result to a file of one JSON object a line.

    An error, such as too little memory, is the result of its measurement; the others follow.

    Args:
        config: A detector's distillation config; its weights are not loaded.
        settings: How to measure.
        out: The file.

    Raises:
        ValueError: If the device is a GPU and there is none.
    """
    device = torch.device(settings.device)
    require_device(device)
    queue: dict[str, Callable[[], Any]] = {
        f"recall {name}": functools.partial(recall, name, settings.rounds, device)
        for name in settings.sizes
    }
    for name, dtype in PRECISIONS.items():
        queue[f"step {name}"] = functools.partial(step, config, settings, dtype)
    queue |= {
        f"gradients {name}": functools.partial(gradients, device, dtype)
        for name, dtype in PRECISIONS.items()
    }
    for batch in settings.batches:
        queue[f"memory batch {batch}"] = functools.partial(memory, config, settings, batch)
    with Path(out).open("a", encoding="utf-8") as file:
        for name, measure in queue.items():
            try:
                result = measure()
            except Exception as error:  # the measurements after it are worth having
                result = {"error": f"{type(error).__name__}: {error}"}
            line = {"what": name, "machine": describe_machine(device), "result": result}
            print(json.dumps(line), file=file, flush=True)
            print(name, json.dumps(result), flush=True)
            if device.type == "cuda":
                torch.cuda.empty_cache()


def recall(name: str, rounds: int, device: torch.device) -> dict[str, Any]:
    """Time recall with the kernel and without, and compare the two results."""
    size = SIZES[name]
    rows, labels = (one.to(device) for one in synthetic(size))
    found = {}

    def run(title: str, kernel: bool) -> None:
        with contextlib.nullcontext() if kernel else _without_kernel():
            found[title] = recall_at_k(rows, labels, ks=size.ks)

    actions = {"kernel": lambda: run("kernel", True), "without": lambda: run("without", False)}
    peak = {title: peak_bytes(action, device) for title, action in actions.items()}
    times = interleave(actions, max(1, min(rounds, 200_000 // size.rows)), device)
    same = torch.equal(found["kernel"].found_at, found["without"].found_at)
    seconds = {title: spread(time["wall"]) for title, time in times.items()}
    return {"seconds": seconds, "extra_bytes": peak, "same": same,
            "recall": {str(k): share for k, share in found["kernel"].recall.items()}}  # fmt: skip


def step(config: Config, settings: GpuSettings, dtype: torch.dtype) -> dict[str, Any]:
    """Time the distilled step, now and as it was, against its parts."""
    case, device = _case(config, settings, settings.batch), torch.device(settings.device)

    def run(action: Callable[[], None], before: bool = False) -> None:
        amp = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        with amp, as_before(case.distiller) if before else contextlib.nullcontext():
            action()

    plain = case.actions()
    actions: dict[str, Callable[[], object]] = {
        name: functools.partial(run, action) for name, action in plain.items()
    }
    actions["before"] = functools.partial(run, plain["distilled"], before=True)
    interleave(actions, 2, device)
    times = {
        name: one["wall"] for name, one in interleave(actions, settings.rounds, device).items()
    }
    parts = [times["student"], times["teacher"]]
    return {
        "seconds": {name: spread(one) for name, one in times.items()},
        "ratio": {name: spread(ratios(times[name], *parts)) for name in ("distilled", "before")},
    }


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


def gradients(device: torch.device, dtype: torch.dtype) -> dict[str, dict[str, float]]:
    """Return how far values and gradients are from the CPU's in float32, relative to the largest.

    A map in half precision is the same on both sides: what differs is the arithmetic.
    """
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 32, 50, 84, generator=generator).to(dtype) for _ in "st")
    losses: dict[str, nn.Module] = {"at": AttentionTransferLoss(), "asckd": ASCKDLoss()}
    losses |= {"hmat": HMATLoss(preset="detector")}
    found = {}
    for name, loss in losses.items():
        ours = _gradient(loss, student.to(device), teacher.to(device))
        plain = _gradient(loss, student.float(), teacher.float())
        apart = [
            float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, plain, strict=True)
        ]
        found[name] = {"value": apart[0], "gradient": apart[1]}
    return found


def memory(config: Config, settings: GpuSettings, batch: int) -> dict[str, int]:
    """Return the peak bytes of the student's step and of the distilled one."""
    case = _case(config, settings, batch)
    actions, device = case.actions(), torch.device(settings.device)
    interleave(actions, 1, device)
    return {name: peak_bytes(actions[name], device) for name in ("student", "distilled")}


def _case(config: Config, settings: GpuSettings, batch: int) -> Any:
    from benchmarks.det.case import DetectorCase  # mmdet, which recall does not need

    return DetectorCase(config, settings.size, batch, torch.device(settings.device))


def _without_kernel() -> Any:
    return mock.patch.object(count, "tile_kernel", lambda *_: None)


def _gradient(loss: nn.Module, student: torch.Tensor, teacher: torch.Tensor) -> list[torch.Tensor]:
    student = student.detach().requires_grad_()
    roles = hasattr(loss, "roles")
    sides = [dict.fromkeys(("low", "mid", "high"), s) if roles else s for s in (student, teacher)]
    value = loss(*sides)
    value = torch.stack(list(value.values())).sum() if roles else value
    (gradient,) = torch.autograd.grad(value, student)
    return [value.detach().float().cpu(), gradient.float().cpu()]
