"""Detection set of real handwritten digits, as COCO JSON and as Pascal VOC."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.random import RandomState
from numpy.typing import NDArray

from kd_core.checkpoint.atomic import put_in_place, temporary_folder
from kd_engine.data.digits import DIGIT_CLASSES, source_digits
from kd_engine.data.splits import split_inside_classes
from kdkit.demo.digit_scenes import PlacedDigit, SceneOptions, draw_scene

MARKER = "digits.json"
_OURS = re.compile(
    rf"{re.escape(MARKER)}|annotations/instances_(train|val)\.json|"
    r"ImageSets/Main/(train|val)\.txt|(JPEGImages|Annotations)/(train|val)_\d+\.(jpg|xml)"
)
_VERSION = 1  # raise it when the drawing changes, so that old folders are not taken for new ones


@dataclass(frozen=True)
class DigitSplit:
    """Digits of one split.

    Attributes:
        images: Ink from 0 to 1, float32 (N, 8, 8).
        labels: The digit each one shows, int64 (N,).
        rows: Rows of scikit-learn's ``load_digits`` that they come from, int64 (N,).
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    rows: NDArray[Any]


def load_digit_splits(
    seed: int = 0, shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
) -> dict[str, DigitSplit]:
    """Split the source digits into disjoint parts that have every class in the same proportion.

    Args:
        seed: Decides which digit goes where.
        shares: Shares of train, val and test; they sum to one.

    Returns:
        ``train``, ``val`` and ``test``, ordered by class.

    Raises:
        ValueError: If the shares are negative or do not sum to one.
        ModuleNotFoundError: If scikit-learn is not installed.
    """
    images, labels = source_digits()
    rows = split_inside_classes(labels, shares, seed)
    return {split: DigitSplit(images[row], labels[row], row) for split, row in rows.items()}


def make_detection_set(
    root: str | os.PathLike[str],
    train_images: int = 600,
    val_images: int = 150,
    seed: int = 0,
    scene: SceneOptions | None = None,
    overwrite: bool = False,
) -> bool:
    """Write a detection set of digits, as COCO JSON and as Pascal VOC over the same images.

    ``annotations/instances_{train,val}.json`` next to ``JPEGImages``, ``Annotations`` and
    ``ImageSets/Main/{train,val}.txt``. The same parameters give the same bytes. Digits of train
    and val come from different source digits. The folder appears whole or not at all, and a
    folder made with the same parameters is left as it is.

    Args:
        root: Folder to make.
        train_images: Number of training images.
        val_images: Number of validation images.
        seed: Decides everything that is random.
        scene: Size and difficulty of the images.
        overwrite: Replace a set that was made with other parameters.

    Returns:
        True if the set was made, False if it was there already.

    Raises:
        ValueError: If a count is below one, or the folder holds a set with other parameters.
        FileExistsError: If the folder holds something else, or its parameters cannot be read.
    """
    if train_images < 1 or val_images < 1:
        raise ValueError(
            "train_images and val_images must be at least 1, but they are "
            f"{train_images} and {val_images}."
        )
    scene = scene or SceneOptions()
    counts = {"train": train_images, "val": val_images}
    parameters = {"version": _VERSION, "images": counts, "seed": seed, **asdict(scene)}
    root = Path(root)
    if _is_finished(root, parameters, overwrite):
        return False
    sources = load_digit_splits(seed)
    with temporary_folder(root) as folder:
        for number, (split, count) in enumerate(counts.items()):
            _write_split(
                folder, split, sources[split], [(seed, number, i) for i in range(count)], scene
            )
        (folder / MARKER).write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")
        put_in_place(folder, root)
    return True


def _is_finished(root: Path, parameters: dict[str, Any], overwrite: bool) -> bool:
    """Return whether the wanted set is there; refuse a folder that must not be replaced."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / MARKER
    if not marker.is_file():
        raise FileExistsError(
            f"{root} exists and was not made by this tool (it has no {MARKER}). "
            "Name another folder, or move this one away."
        )
    try:
        found = dict(json.loads(marker.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise FileExistsError(
            f"{marker} must hold the parameters of a set, but reading it fails ({error}). Remove "
            f"{root}, so that the set is made again, or name another folder."
        ) from error
    if found == parameters and _is_complete(root, parameters["images"]):
        return True
    if found == parameters or overwrite:
        _require_alone(root)
        return False
    names = [key for key in {**parameters, **found} if found.get(key) != parameters.get(key)]
    changes = ", ".join(f"{key} {found.get(key)} -> {parameters.get(key)}" for key in names)
    raise ValueError(
        f"{root} holds digits made with other parameters ({changes}). "
        "Name another folder with --out, or replace this one with --overwrite."
    )


def _require_alone(root: Path) -> None:
    """Refuse a folder with other files than the set's: they would be removed with the set."""
    files = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    if other := sorted(name for name in files if not _OURS.fullmatch(name)):
        raise FileExistsError(
            f"{root} is replaced as a whole, but it holds files that this tool has not made: "
            f"{', '.join(other[:3])}. Move them away, or name another folder."
        )


def _is_complete(root: Path, counts: dict[str, int]) -> bool:
    """Return whether all files of a finished set are still there; if not, it is made again."""
    names = [f"{split}_{i:05d}" for split, count in counts.items() for i in range(1, count + 1)]
    files = [root / f"annotations/instances_{split}.json" for split in counts]
    files += [root / f"ImageSets/Main/{split}.txt" for split in counts]
    files += [root / f"JPEGImages/{name}.jpg" for name in names]
    files += [root / f"Annotations/{name}.xml" for name in names]
    return all(file.is_file() and file.stat().st_size > 0 for file in files)


def _write_split(
    folder: Path,
    split: str,
    source: DigitSplit,
    seeds: Sequence[tuple[int, int, int]],
    scene: SceneOptions,
) -> None:
    """Draw and write the images of a split; each has a seed of its own."""
    for part in ("annotations", "JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, seed in enumerate(seeds, start=1):
        picture, placed = draw_scene(source.images, RandomState(seed), scene)
        name = f"{split}_{number:05d}"
        picture.save(folder / f"JPEGImages/{name}.jpg", quality=92, subsampling=0)
        width, height = picture.size
        images.append({"id": number, "file_name": f"{name}.jpg", "width": width, "height": height})
        for digit in placed:
            annotations.append(_coco_entry(len(annotations) + 1, number, digit, source))
        ET.ElementTree(_voc_tree(name, picture.size, placed, source)).write(
            folder / f"Annotations/{name}.xml", encoding="utf-8"
        )
    names = "".join(f"{split}_{number:05d}\n" for number in range(1, len(seeds) + 1))
    (folder / f"ImageSets/Main/{split}.txt").write_text(names, encoding="utf-8")
    categories = [{"id": i, "name": name} for i, name in enumerate(DIGIT_CLASSES, start=1)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"annotations/instances_{split}.json").write_text(json.dumps(coco), encoding="utf-8")


def _coco_entry(number: int, image: int, digit: PlacedDigit, source: DigitSplit) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": int(source.labels[digit.source]) + 1,
        "bbox": list(digit.box),
        "area": digit.box[2] * digit.box[3],
        "iscrowd": 0,
        "occluded": int(digit.occluded),
        "source_row": int(source.rows[digit.source]),
    }


def _voc_tree(
    name: str, size: tuple[int, int], placed: Sequence[PlacedDigit], source: DigitSplit
) -> ET.Element:
    """Describe an image the VOC way; mmdet reads x = xmin - 1 and w = xmax - xmin back."""
    tree = ET.Element("annotation")
    ET.SubElement(tree, "filename").text = f"{name}.jpg"
    extent = ET.SubElement(tree, "size")
    for key, value in (("width", size[0]), ("height", size[1]), ("depth", 3)):
        ET.SubElement(extent, key).text = str(value)
    for digit in placed:
        x, y, width, height = digit.box
        entry = ET.SubElement(tree, "object")
        ET.SubElement(entry, "name").text = DIGIT_CLASSES[int(source.labels[digit.source])]
        for key, flag in (("truncated", 0), ("occluded", int(digit.occluded)), ("difficult", 0)):
            ET.SubElement(entry, key).text = str(flag)
        corners = ET.SubElement(entry, "bndbox")
        ends = (x + 1, y + 1, x + width + 1, y + height + 1)
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), ends, strict=True):
            ET.SubElement(corners, key).text = str(value)
    ET.indent(tree)
    return tree
