"""Trainings of the demo, in processes of their own which end with the demo."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, TaskID, TextColumn

from kd_engine.progress import bars
from kdkit.cli import main
from kdkit.demo.runs import Run

_STEP = re.compile(r"Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].*?\bloss: ([\d.]+|nan)")
_SCORE = re.compile(r"Epoch\(val\).*?coco/bbox_mAP: (-?[\d.]+)")
_POLL = 1.0  # seconds
_INTERVAL = 10.0  # seconds between two lines


class Watch:
    """Follower of a run's log.

    Args:
        run: The run.
        log: The file that its output goes to.
    """

    def __init__(self, run: Run, log: Path) -> None:
        self.run, self.log = run, log
        self.began = run.epochs_done() / run.epochs
        self.done = self.began
        self.state, self.score = "starting", ""
        self._read = log.stat().st_size if log.exists() else 0

    def update(self) -> None:
        """Read new lines of the log."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            text, _, rest = file.read().rpartition(b"\n")
        self._read += len(text) + bool(text)
        steps = _STEP.findall(text.decode(errors="replace"))
        scores = _SCORE.findall(text.decode(errors="replace"))
        if steps:
            epoch, step, length, loss = steps[-1]
            self.done = (int(epoch) - 1 + int(step) / int(length)) / self.run.epochs
            self.state = f"epoch {epoch}/{self.run.epochs}, loss {float(loss):.2f}"
        if scores:
            self.score = f", mAP {float(scores[-1]):.3f}"

    def __str__(self) -> str:
        return f"{self.run.title}: {self.state}{self.score}"


def train_together(runs: Sequence[Run], show: Callable[[list[Watch]], None]) -> None:
    """Train runs side by side, each with its share of the cores.

    Args:
        runs: What to train or resume.
        show: Called about once a second with the progress of each run.

    Raises:
        ChildProcessError: If a training fails; the others are ended.
    """
    context = _context()
    threads = max(1, (os.cpu_count() or 1) // len(runs))
    watches, processes = [], []
    try:
        for run in runs:
            config, log = run.prepare(), run.folder / "train.log"
            log.touch()
            watches.append(Watch(run, log))
            arguments = ["train", str(config), "--work-dir", str(run.folder), "--resume"]
            process = context.Process(target=_train, args=(arguments, str(log), threads))
            process.start()
            processes.append(process)
        while any(process.is_alive() for process in processes):
            alive = [process.sentinel for process in processes if process.is_alive()]
            connection.wait(alive, _POLL)
            for watch, process in zip(watches, processes, strict=True):
                watch.update()
                if process.exitcode:
                    raise ChildProcessError(_failure(watch, process.exitcode))
            show(watches)
    finally:
        for process in processes:
            process.kill()
            process.join()


def start_server() -> None:
    """Start the server of the trainings, so that its imports run while the images are drawn."""
    if _context().get_start_method() == "forkserver":
        forkserver.ensure_running()


def _context() -> Any:
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["kdkit.demo.imports"])
    return context


def _train(arguments: list[str], log: str, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the demo ends it
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    with open(log, "a", encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", threads)))
    main(arguments)


def _end_with(sentinel: int) -> None:
    """End this process at once when the demo's has ended, however it ended."""
    connection.wait([sentinel])
    os._exit(1)


def _failure(watch: Watch, code: int) -> str:
    lines = watch.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
    return (
        f"the training of the {watch.run.title} ended with exit code {code}. The whole log is in "
        f"{watch.log}; its last lines are:\n" + "\n".join(lines)
    )


class Progress:
    """Progress of the demo: bars on a terminal, a line every few seconds elsewhere.

    Args:
        plan: Stage to its seconds on two free cores; they set the proportions of the rest.
    """

    def __init__(self, plan: dict[str, float]) -> None:
        self.plan = dict(plan)
        self.finished = 0.0  # planned seconds of the stages that this call has finished
        self.began = time.monotonic()
        self.next = self.began

    @contextlib.contextmanager
    def stage(self, stage: str) -> Iterator[Callable[[Sequence[Watch]], None]]:
        """Show the trainings of a stage while the block runs.

        Yields:
            A function to call about once a second with the progress of each training.
        """
        eta = TextColumn("{task.fields[eta]}")
        with bars(TextColumn("{task.description}"), BarColumn(), eta, stderr=False) as shown:
            tasks: list[TaskID] = []

            def show(watches: Sequence[Watch]) -> None:
                if shown.disable:
                    self._print(stage, watches)
                    return
                if not tasks:
                    tasks.extend(shown.add_task("", total=1.0, eta="") for _ in watches)
                for task, watch in zip(tasks, watches, strict=True):
                    shown.update(task, completed=watch.done, description=str(watch))
                shown.update(tasks[-1], eta=self.eta(stage, watches))

            yield show

    def _print(self, stage: str, watches: Sequence[Watch]) -> None:
        """Print a line if it is time for one."""
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + _INTERVAL
            said = " | ".join([*map(str, watches), self.eta(stage, watches)])
            print(said, flush=True)

    def eta(self, stage: str, watches: Sequence[Watch]) -> str:
        """Estimate the rest of a stage and of the whole demo."""
        slowest = min(watches, key=lambda watch: watch.done)
        share = slowest.done - slowest.began
        done = self.finished + self.plan[stage] * share
        factor = (time.monotonic() - self.began) / done if share > 0 else 1.0
        here = self.plan[stage] * (1 - slowest.done) * factor
        later = [name for name in self.plan if name != stage]
        rest = here + factor * sum(self.plan[name] for name in later)
        return f"ETA {_clock(here)}, whole demo {_clock(rest)}"

    def close(self, stage: str, share: float) -> None:
        """Note that a stage is over, and the share of it that this call has done."""
        self.finished += self.plan.pop(stage) * share


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
