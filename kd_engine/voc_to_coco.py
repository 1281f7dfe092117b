"""Turns Pascal VOC annotations into COCO JSON, with boxes as mmdetection reads VOC."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_coco_splits(root: Path, classes: Sequence[str]) -> None:
    """Write ``annotations_coco/<split>.json`` for every split of ``ImageSets/Main``.

    Args:
        root: Folder with Annotations, ImageSets and JPEGImages.
        classes: Class names; the first one gets id 1.

    Raises:
        ValueError: If an annotation names another class.
    """
    folder = root / "annotations_coco"
    folder.mkdir(exist_ok=True)
    for split_file in sorted((root / "ImageSets/Main").glob("*.txt")):
        temporary = folder / f".{split_file.stem}.json"
        temporary.write_text(json.dumps(voc_to_coco(root, split_file, classes)), encoding="utf-8")
        os.replace(temporary, folder / f"{split_file.stem}.json")


def voc_to_coco(root: Path, split_file: Path, classes: Sequence[str]) -> dict[str, Any]:
    """Convert one split: x = xmin - 1, y = ymin - 1, w = xmax - xmin, h = ymax - ymin.

    Boxes without width or height are left out; difficult objects become crowds, which mmdetection
    ignores in the same way.

    Args:
        root: Folder with Annotations and JPEGImages.
        split_file: Text file with one image name per line.
        classes: Class names; the first one gets id 1.

    Returns:
        The content of a COCO annotation file.

    Raises:
        ValueError: If an annotation names another class.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name in split_file.read_text(encoding="utf-8").split():
        file = root / f"Annotations/{name}.xml"
        tree = ET.parse(file).getroot()
        number = len(images) + 1
        size = {key: int(tree.findtext(f"size/{key}", "0")) for key in ("width", "height")}
        images.append({"id": number, "file_name": f"{name}.jpg", **size})
        for entry in tree.findall("object"):
            annotation = _annotation(entry, file, classes)
            if annotation["area"] > 0:
                ids = {"id": len(annotations) + 1, "image_id": number}
                annotations.append({**ids, **annotation})
    categories = [
        {"id": number, "name": name, "supercategory": ""}
        for number, name in enumerate(classes, start=1)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(entry: ET.Element, file: Path, classes: Sequence[str]) -> dict[str, Any]:
    name = entry.findtext("name", "")
    if name not in classes:
        raise ValueError(
            f"classes must be among {', '.join(classes)}, but {file} has {name!r}. "
            "Correct the annotation or add the class."
        )
    x0, y0, x1, y1 = (
        float(int(float(entry.findtext(f"bndbox/{key}", "nan"))))
        for key in ("xmin", "ymin", "xmax", "ymax")
    )
    width, height = max(x1 - x0, 0.0), max(y1 - y0, 0.0)
    return {
        "category_id": list(classes).index(name) + 1,
        "bbox": [x0 - 1, y0 - 1, width, height],
        "area": width * height,
        "iscrowd": int(entry.findtext("difficult", "0") == "1"),
        "segmentation": [],
    }
