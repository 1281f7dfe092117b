"""Training of a detector as `kdkit train` runs it, on images from files: images/s, loader's share.

The processes, the mixed precision, the loader with its workers, logging and the finite losses are
those of a real run. Weights are random and the learning rate is 0, so that nothing diverges.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from PIL import Image

from benchmarks.det.case import OPTIMIZER
from benchmarks.step_costs import without_weights
from kd_engine.build import student_config

_ROOT = Path(__file__).parents[2]
_TRAIN = ("-m", "kdkit", "train")
_TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1")
_FILES = "annotations/instances_train2017.json", "train2017/"  # as COCO has them
_PARTS = 10  # of a training, each a line of its log
_BOXES = 5  # on each random image
_WIDTH, _HEIGHT = 640, 480  # pixels, as most of COCO's have


@dataclass(frozen=True)
class Training:
    """Settings of a training.

    Attributes:
        size: Height and width in pixels to which the images are resized.
        batch: Number of images.
        iterations: How many.
        workers: Processes that load images.
        data: Folder with COCO's train2017 and its annotations; empty for random images.
        images: Number of the random ones.
    """

    size: tuple[int, int] = (800, 1333)
    batch: int = 8
    iterations: int = 100
    workers: int = 8
    data: str = ""
    images: int = 64


def measure_training(
    config: Config, training: Training, amp: bool, distributed: bool
) -> dict[str, Any]:
    """Train for some iterations in a process of its own, and read its log.

    Args:
        config: A distillation config; its data is not used.
        training: How to train.
        amp: Train in mixed precision (``--amp``: float16 with a scaled loss).
        distributed: Start it with ``torchrun``, as one process.

    Returns:
        Of the second half of the iterations ``images_per_second`` and ``loader_share``, the part of
        the time in which the next batch was waited for; ``peak_mb`` of a GPU's memory.

    Raises:
        RuntimeError: If the training fails; ends with what it printed last.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = Path(training.data) if training.data else root
        if not training.data:
            write_images(root, training.images, _classes(config))
        names = None if training.data else _classes(config)
        file = root / "training.py"
        Config(training_config(config, training, data, names)).dump(str(file))
        command = [*(_TORCHRUN if distributed else ()), *_TRAIN, str(file)]
        command += ["--work-dir", str(root / "run"), *["--amp"] * amp]
        command += ["--launcher", "pytorch"] * distributed
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            [sys.executable, *command], env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"the training ended with {done.returncode}: {done.stdout[-2000:]}")
        (log,) = (root / "run").rglob("scalars.json")
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return summary(lines, training.batch)


def summary(lines: list[dict[str, float]], batch: int) -> dict[str, Any]:
    """Return what the lines of a training's log say about the second half of its iterations."""
    counted = [line for line in lines if 2 * line["step"] > lines[-1]["step"]]
    whole = statistics.fmean(line["time"] for line in counted)
    waited = statistics.fmean(line["data_time"] for line in counted)
    return {"images_per_second": batch / whole, "loader_share": waited / whole,
            "peak_mb": counted[-1].get("memory")}  # fmt: skip


def training_config(
    config: Config, training: Training, data: Path, names: list[str] | None
) -> dict[str, Any]:
    """Return the config of a training whose log has a line for each tenth of it.

    Args:
        config: A distillation config.
        training: How to train.
        data: Folder laid out like COCO.
        names: Classes in the annotations; ``None`` for COCO's.
    """
    optimizer = {**config.get("optim_wrapper", OPTIMIZER)}
    optimizer["optimizer"] = {**optimizer["optimizer"], "lr": 0.0}
    interval = max(1, training.iterations // _PARTS)
    annotations, folder = _FILES
    dataset = {
        "type": "CocoDataset", "data_root": str(data), "ann_file": annotations,
        "data_prefix": {"img": folder}, "filter_cfg": {"filter_empty_gt": True},
        "pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True},
            {"type": "Resize", "scale": tuple(reversed(training.size)), "keep_ratio": True},
            {"type": "RandomFlip", "prob": 0.5},
            {"type": "PackDetInputs"},
        ],
    }  # fmt: skip
    loader = {
        "batch_size": training.batch, "num_workers": training.workers,
        "persistent_workers": training.workers > 0,
        "sampler": {"type": "InfiniteSampler", "shuffle": True},
        "dataset": dataset | ({} if names is None else {"metainfo": {"classes": names}}),
    }  # fmt: skip
    return {
        "default_scope": "mmdet",
        "custom_imports": {"imports": ["kd_det"]},
        "model": without_weights(config.model.to_dict()),
        "train_dataloader": loader,
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": training.iterations},
        "optim_wrapper": optimizer,
        "log_processor": {"type": "LogProcessor", "window_size": interval, "by_epoch": False},
        "default_hooks": {
            "logger": {"type": "LoggerHook", "interval": interval},
            "checkpoint": {"type": "CheckpointHook", "interval": training.iterations + 1,
                           "by_epoch": False, "save_last": False},
        },
    }  # fmt: skip


def write_images(folder: Path, count: int, names: list[str]) -> None:
    """Write random JPEG images, smooth as photographs are, and annotations as COCO has them."""
    generator = np.random.default_rng(0)
    annotations, images = (folder / name for name in _FILES)
    annotations.parent.mkdir()
    images.mkdir()
    for number in range(count):
        coarse = generator.integers(0, 256, (_HEIGHT // 16, _WIDTH // 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
        smooth.save(images / f"{number}.jpg", quality=90)
    corners = generator.integers(0, 300, (count * _BOXES, 2)).tolist()
    sides = generator.integers(40, 160, (count * _BOXES, 2)).tolist()
    content = {
        "images": [{"id": number, "file_name": f"{number}.jpg", "width": _WIDTH,
                    "height": _HEIGHT} for number in range(count)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        "annotations": [
            {"id": number, "image_id": number // _BOXES, "category_id": number % len(names),
             "bbox": [*corner, *side], "area": side[0] * side[1], "iscrowd": 0}
            for number, (corner, side) in enumerate(zip(corners, sides, strict=True))
        ],
    }  # fmt: skip
    annotations.write_text(json.dumps(content), encoding="utf-8")


def _classes(config: Config) -> list[str]:
    """Make names for as many classes as the student has; an RPN's one class is not counted."""
    return [f"class {number}" for number in range(max(_counts(student_config(config.model))))]


def _counts(node: Any) -> Iterator[int]:
    if isinstance(node, Mapping):
        if isinstance(node.get("num_classes"), int):
            yield node["num_classes"]
        for item in node.values():
            yield from _counts(item)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _counts(item)
