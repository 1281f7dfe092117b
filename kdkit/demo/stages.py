"""Stages of the demo: data, trainings, report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from kd_core.checkpoint.file_lock import hold_lock
from kd_engine.config.builtin import configs_folder
from kdkit.demo.digit_scenes import SceneOptions
from kdkit.demo.digit_set import make_detection_set
from kdkit.demo.measure import quiet_logs
from kdkit.demo.report import FILES, report
from kdkit.demo.runs import DemoOptions, Run, demo_runs
from kdkit.demo.training import Progress, start_server, train_together

SCENE = SceneOptions(size=96, max_digits=4, min_side=20, max_side=48, occlusion=0.1)
# Runs that are trained side by side, and their seconds on two free cores.
STAGES = {("teacher", "student"): 150.0, ("equal_time", "distilled"): 130.0}
REPORT_SECONDS = 15.0


def run_demo(options: DemoOptions) -> None:
    """Make data, train the teacher and its students, and print the report.

    Raises:
        BlockingIOError: If another demo is at work in the folder.
        FileExistsError: If the folder holds files of the demo's names that no demo has made.
        ChildProcessError: If a training fails.
    """
    with _alone(options.folder):
        start_server()
        made = make_detection_set(
            options.data, options.train_images, options.val_images, scene=SCENE, overwrite=True
        )
        print(f"digits: {'made' if made else 'there already'} ({options.data})", flush=True)
        with quiet_logs():
            runs = demo_runs(configs_folder() / "demo", options)
        plan = {"+".join(names): seconds for names, seconds in STAGES.items()}
        progress = Progress({**plan, "report": REPORT_SECONDS})
        for names in STAGES:
            _train([runs[name] for name in names], "+".join(names), progress)
        print("measuring and drawing ...", flush=True)
        print(f"\n{report(runs, options.folder)}")


def _train(runs: Sequence[Run], stage: str, progress: Progress) -> None:
    todo, share = [], 0.0
    for run in runs:
        done = run.epochs_done()
        if done >= run.epochs:
            print(f"{run.title}: trained already")
        else:
            todo.append(run)
            share = max(share, 1 - done / run.epochs)
            begin = f"resumes after epoch {done}" if done else "starts"
            print(f"{run.title}: training {begin}, {run.epochs} epochs", flush=True)
    if todo:
        with progress.stage(stage) as show:
            train_together(todo, show)
    progress.close(stage, share)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse a second demo in the same folder at the same time."""
    _require_ours(folder)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(folder / ".lock"))
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another demo is at work in {folder}. Wait until it ends, or end it."
            ) from error
        yield


def _require_ours(folder: Path) -> None:
    """Refuse a folder with files of the demo's names that no demo has made."""
    found = [name for name in FILES if (folder / name).exists()]
    if found and not (folder / ".lock").exists():
        raise FileExistsError(
            f"{folder} holds {', '.join(found)}, which no demo has made there and this one would "
            "replace. Name another --work-dir, or move them away."
        )
