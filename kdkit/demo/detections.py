"""Detections of several models, drawn side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image
from torch import Tensor
from torchvision.ops import box_iou

from kd_core.checkpoint.atomic import temporary_file

RIGHT, WRONG, MISSED, TRUE = "#17a34a", "#dc2626", "#f5a400", "#38bdf8"
THRESHOLD = 0.4
_OVERLAP = 0.5


def draw_detections(
    results: Mapping[str, Sequence[Any]], classes: Sequence[str], path: Path, count: int = 3
) -> None:
    """Draw the ground truth and what each model finds.

    The images are the first ones with at least three objects, whatever the models do there.

    Args:
        results: Title of the model to its detections on all validation images.
        classes: Names of the classes.
        path: PNG file to write.
        count: How many images.
    """
    samples = next(iter(results.values()))
    wanted = [i for i, sample in enumerate(samples) if len(true_boxes(sample)[1]) >= 3][:count]
    wanted = wanted or list(range(min(count, len(samples))))
    columns = 1 + len(results)
    figure = Figure(figsize=(3.2 * columns, 3.3 * len(wanted) + 0.6), layout="constrained")
    grid = figure.subplots(len(wanted), columns, squeeze=False)
    for row, index in zip(grid, wanted, strict=True):
        picture = Image.open(samples[index].img_path).convert("RGB")
        _show(row[0], picture)
        for box, label in zip(*true_boxes(samples[index]), strict=True):
            _box(row[0], box, classes[label], TRUE)
        for axes, found in zip(row[1:], results.values(), strict=True):
            _show(axes, picture)
            _draw_found(axes, found[index], classes)
    for axes, title in zip(grid[0], ["ground truth", *results], strict=True):
        axes.set_title(title, fontsize=14)
    kinds = {"ground truth": TRUE, "right": RIGHT, "wrong class, place or double": WRONG}
    handles = [Patch(fill=False, edgecolor=c, linewidth=2, label=n) for n, c in kinds.items()]
    handles.append(Patch(fill=False, edgecolor=MISSED, linestyle="--", linewidth=2, label="missed"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=11,
        title=f"scores of {THRESHOLD:.0%} and more; right: class correct, IoU at least {_OVERLAP}",
    )  # fmt: skip
    with temporary_file(path) as file:
        figure.savefig(file, format="png", dpi=80)


def true_boxes(sample: Any) -> tuple[list[list[float]], list[int]]:
    """Return boxes (xyxy, pixels of the file) and labels of the ground truth."""
    instances = sample.instances
    return [one["bbox"] for one in instances], [one["bbox_label"] for one in instances]


def match_detections(boxes: Tensor, labels: Tensor, true: Tensor, true_labels: Tensor) -> list[int]:
    """Match detections, best first, to ground truth of their class; each is taken once.

    Args:
        boxes: Detected boxes (B, 4), sorted by falling score.
        labels: Their classes (B,).
        true: True boxes (K, 4).
        true_labels: Their classes (K,).

    Returns:
        For each detection the index of the true box, or -1.
    """
    overlap = box_iou(boxes, true) * (labels[:, None] == true_labels)  # (B, K)
    matches = []
    for row in range(len(boxes)):
        best = int(overlap[row].argmax()) if len(true) else -1
        if best >= 0 and overlap[row, best] < _OVERLAP:
            best = -1
        if best >= 0:
            overlap[:, best] = 0.0
        matches.append(best)
    return matches


def _draw_found(axes: Any, sample: Any, classes: Sequence[str]) -> None:
    found = sample.pred_instances.cpu()
    found = found[found.scores.argsort(descending=True)]
    found = found[found.scores >= THRESHOLD]
    boxes, labels = true_boxes(sample)
    true = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    matches = match_detections(
        found.bboxes.float(), found.labels, true, torch.tensor(labels).long()
    )
    for index in sorted(set(range(len(labels))) - set(matches)):
        _box(axes, boxes[index], "", MISSED, dashed=True)
    rows = zip(found.bboxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    for (box, label, score), match in zip(rows, matches, strict=True):
        _box(axes, box, f"{classes[label]}  {score:.0%}", RIGHT if match >= 0 else WRONG)


def _show(axes: Any, picture: Image.Image) -> None:
    axes.imshow(picture, interpolation="bicubic", extent=(0, picture.width, picture.height, 0))
    axes.set(xticks=[], yticks=[], xlim=(0, picture.width), ylim=(picture.height, 0))


def _box(axes: Any, box: Sequence[float], text: str, color: str, dashed: bool = False) -> None:
    left, top, right, bottom = box
    axes.add_patch(
        Rectangle(
            (left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=2,
            linestyle="--" if dashed else "-",
        )
    )  # fmt: skip
    if text:
        inside = top < 8  # no room above
        axes.text(
            left, top + 0.6 if inside else top - 0.6, text, fontsize=9, color="white",
            va="top" if inside else "bottom", clip_on=True,
            bbox=dict(facecolor=color, edgecolor="none", pad=1.2),
        )  # fmt: skip
