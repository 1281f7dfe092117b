"""Show the whole of it: make data, train teacher, student and distilled student, compare.

    python tools/demo.py

Everything goes to work_dirs/demo: results.md and results.json (the table), curves.png (the
training), detections.png (what the models see), and a folder for each model. What is there
already is used again; an interrupted training goes on from its last whole checkpoint.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

with contextlib.redirect_stdout(io.StringIO()):  # mmdet's banners
    import kd_det  # noqa: F401  before mmdet
    from kdkit.demo.report import FILES, report
    from kdkit.demo.runs import DemoOptions, Run, demo_runs
    from kdkit.demo.training import Progress, train_together

from kd_core.checkpoint.file_lock import hold_lock
from kd_engine.data.digit_scenes import SceneOptions
from kd_engine.data.digits import make_detection_set
from kd_engine.errors import clear_errors
from kd_engine.weights.checkpoint import use_safe_checkpoints

ROOT = Path(__file__).resolve().parents[1]
SCENE = SceneOptions(size=96, max_digits=4, min_side=20, max_side=48, occlusion=0.1)
# What runs side by side, and its seconds on two free cores.
STAGES = {("teacher", "student"): 180.0, ("distilled",): 140.0}
REPORT_SECONDS = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = _parser().parse_args(arguments)
    start = time.monotonic()
    options = DemoOptions(given.work_dir.resolve(), given.train_images, given.val_images,
                          given.epochs)  # fmt: skip
    with clear_errors():
        os.chdir(ROOT)
        use_safe_checkpoints()
        with _alone(options.folder):
            try:
                _demo(options)
            except KeyboardInterrupt:
                print("\ninterrupted; the same command goes on from the last checkpoint")
                return 130
    print(f"\nfinished after {time.monotonic() - start:.0f} s; files are in {given.work_dir}")
    return 0


def _demo(options: DemoOptions) -> None:
    made = make_detection_set(
        options.data, options.train_images, options.val_images, scene=SCENE, overwrite=True
    )
    print(f"digits: {'made' if made else 'there already'} ({options.data})", flush=True)
    runs = demo_runs(ROOT / "configs" / "demo", options)
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
            begin = f"goes on after epoch {done}" if done else "starts"
            print(f"{run.title}: training {begin}, {run.epochs} epochs", flush=True)
    if todo:
        train_together(
            ROOT / "tools" / "train.py", todo, lambda watches: progress.show(stage, watches)
        )
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--work-dir", type=Path, default=Path("work_dirs/demo"), help="(%(default)s)")
    add("--train-images", type=int, default=480, help="pictures to train on (%(default)s)")
    add("--val-images", type=int, default=96, help="pictures to measure on (%(default)s)")
    add("--epochs", type=int, help="epochs of each training (the configs')")
    return parser


if __name__ == "__main__":
    sys.exit(main())
