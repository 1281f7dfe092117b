"""Report of the demo: table, curves and drawn detections of the trained detectors."""

from __future__ import annotations

import importlib
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import init_default_scope

from kd_core.checkpoint.atomic import write_whole
from kd_core.table import markdown_table
from kd_engine.evaluate import write_json
from kdkit.demo.curves import draw_curves, training_minutes
from kdkit.demo.detections import draw_detections
from kdkit.demo.measure import (
    evaluate,
    milliseconds,
    size_and_arithmetic,
    trained_model,
    validation_batches,
)
from kdkit.demo.runs import Run

FILES = ("results.md", "results.json", "curves.png", "detections.png")
NOISE = 2.0  # mAP points; the same config differs by as much from seed to seed


def report(runs: Mapping[str, Run], folder: Path) -> str:
    """Measure and draw, unless that has been done for these very runs.

    Args:
        runs: Name to finished run.
        folder: Where the files go.

    Returns:
        The table, a summary, and the paths of the files.
    """
    fingerprints = {name: run.fingerprint for name, run in runs.items()}
    if _known(folder) != fingerprints:
        result = _measure(runs, folder)
        result["fingerprints"] = fingerprints
        write_whole(folder / "results.md", f"{summary(result)}\n".encode())
        write_json(result, str(folder / "results.json"))  # the last: it stands for all four
    return (folder / "results.md").read_text(encoding="utf-8").rstrip()


def table(rows: Sequence[Mapping[str, Any]], size: str) -> str:
    """Write measurements as a Markdown table.

    Args:
        rows: ``title``, ``parameters``, ``gflops``, ``ms``, ``epochs``, ``minutes`` of training,
            ``map`` and ``map50`` of each model.
        size: Size of the input, such as ``96 x 96``.
    """
    head = ["model", "parameters", f"GFLOPs ({size})", "ms per image (CPU)"]
    head += ["epochs", "trained for", "mAP", "mAP50"]
    cells = [
        [
            row["title"],
            f"{row['parameters']:,}",
            f"{row['gflops']:.3f}",
            f"{row['ms']:.1f}",
            f"{row['epochs']}",
            f"{row['minutes']:.1f} min",
            f"{100 * row['map']:.1f}",
            f"{100 * row['map50']:.1f}",
        ]
        for row in rows
    ]
    return "\n".join(markdown_table(head, cells, "<>>>>>>>"))


def verdict(scores: Mapping[str, float]) -> str:
    """Say in a sentence or two whether distillation helped.

    Args:
        scores: mAP in points of the ``teacher``, the ``student`` alone, the student alone with
            ``equal_time``, and the ``distilled`` student.
    """
    gain = scores["distilled"] - scores["student"]
    longer = scores["distilled"] - scores["equal_time"]
    gains = (
        f"{scores['distilled']:.1f} mAP, {gain:+.1f} against the same student alone and "
        f"{longer:+.1f} against the student that trained alone for as long as distilling took"
    )
    if gain < -NOISE:
        return f"Distillation harmed: {gains}."
    if min(gain, longer) <= NOISE:
        why = "more epochs did as much" if gain > NOISE else f"a gain up to {NOISE:.0f} is noise"
        return f"Distillation did not clearly help here ({why}): {gains}."
    lead = scores["teacher"] - scores["student"]
    closed = f" It closed {gain / lead:.0%} of the gap to the teacher." if lead > NOISE else ""
    return f"Distillation helped: {gains}.{closed}"


def summary(result: Mapping[str, Any]) -> str:
    """Return the table, the verdict and the notes on it."""
    return "\n".join(
        [
            table(result["models"], result["size"]),
            "",
            verdict({row["name"]: 100 * row["map"] for row in result["models"]}),
            "",
            f"One seed ({result['seed']}) and {result['images']} validation images prove little; "
            "docs/results.md of kdkit's repository has more seeds. A training's time is without "
            "that of its teacher.",
            f"GFLOPs are multiply-adds. Times: median of single images, {result['threads']} "
            f"threads, torch {result['torch']}, {result['machine']}.",
        ]
    )


def _measure(runs: Mapping[str, Run], folder: Path) -> dict[str, Any]:
    init_default_scope("mmdet")
    importlib.import_module("kdkit.demo.imports")
    models = {name: trained_model(run) for name, run in runs.items()}
    first = next(iter(runs.values()))
    loader = validation_batches(first)
    batch = next(iter(loader))
    scores, found = {}, {}
    for name, run in runs.items():
        scores[name], samples = evaluate(run, models[name])
        found[f"{run.title}\n{100 * scores[name]['map']:.1f} mAP"] = samples
    times = milliseconds(models, batch)
    rows = [
        {"name": name, "title": run.title, **size_and_arithmetic(models[name], batch),
         "ms": times[name], "epochs": run.epochs, "minutes": training_minutes(run.folder),
         **scores[name]}
        for name, run in runs.items()
    ]  # fmt: skip
    draw_curves(runs, {name: score["map"] for name, score in scores.items()}, folder / "curves.png")
    draw_detections(found, first.config.classes, folder / "detections.png")
    height, width = batch["inputs"][0].shape[-2:]
    return {
        "models": rows,
        "size": f"{width} x {height}",
        "seed": first.config.randomness.seed,
        "images": len(loader.dataset),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _known(folder: Path) -> dict[str, str] | None:
    """Return the fingerprints of a report that is complete."""
    if not all((folder / name).is_file() for name in FILES):
        return None
    try:
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except ValueError:
        return None
    fingerprints: dict[str, str] = found.get("fingerprints")
    return fingerprints
