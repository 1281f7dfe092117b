"""Trainings as child processes: one after another, or several side by side, a GPU for each."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from kd_engine.compare.origin import Origin, origin
from kd_engine.run import child

_POLL = 0.2  # seconds


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        title: Its name in messages.
        arguments: Arguments of Python that run it.
        log: File for its output where several run side by side.
    """

    title: str
    arguments: tuple[str, ...]
    log: Path


# Called at the end of each: the job, its exit code, and where it ran.
OnEnd = Callable[[Job, int, Origin], None]


def run_one_by_one(jobs: Sequence[Job], on_end: OnEnd) -> None:
    """Run jobs one after another, with their output on the terminal.

    Args:
        jobs: What to run.
        on_end: Called at the end of each, also of one that failed.
    """
    here = origin()
    for number, job in enumerate(jobs, 1):
        print(f"{number} of {len(jobs)}: {job.title}", flush=True)
        on_end(job, child.run_child(list(job.arguments)), here)


def run_side_by_side(jobs: Sequence[Job], at_once: int, on_end: OnEnd) -> None:
    """Run several jobs at a time, their output in files.

    Each has its share of the processors (unless OMP_NUM_THREADS is set) and, where there are
    GPUs, one of them. If this process ends, so do they.

    Args:
        jobs: What to run.
        at_once: How many at a time.
        on_end: As for :func:`run_one_by_one`.
    """
    here, devices = origin(), gpus()
    threads = str(max(1, (os.cpu_count() or 1) // at_once))
    waiting = list(enumerate(jobs, 1))
    running: dict[int, tuple[Job, subprocess.Popen[bytes]]] = {}
    with child.signals_raise():
        try:
            while waiting or running:
                for slot in range(at_once):
                    if slot in running or not waiting:
                        continue
                    number, job = waiting.pop(0)
                    settings = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
                    if devices:
                        settings["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
                    print(f"{number} of {len(jobs)}: {job.title}, log {job.log}", flush=True)
                    running[slot] = job, child.start_child(job.arguments, settings, job.log)
                time.sleep(_POLL)
                for slot, (job, process) in list(running.items()):
                    if process.poll() is not None:
                        del running[slot]
                        on_end(job, process.returncode, here)
        finally:
            for _, process in running.values():
                process.kill()
                process.wait()


def gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def last_lines(log: Path, number: int = 5) -> str:
    """Return the last lines of a job's output; "" if there is none."""
    if not log.is_file():
        return ""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-number:])
