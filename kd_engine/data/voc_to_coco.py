"""Conversion of Pascal VOC annotations to COCO JSON, with boxes as mmdetection reads VOC."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from kd_core.checkpoint.atomic import write_whole
from kd_engine.data.voc_file import corners_of, extent_of, is_difficult, read_annotation, read_names


def write_coco_splits(root: Path, classes: Sequence[str]) -> None:
    """Write ``annotations_coco/<split>.json`` for every split of ``ImageSets/Main``.

    Args:
        root: Folder with Annotations, ImageSets and JPEGImages.
        classes: Class names; the first one gets id 1.

    Raises:
        FileNotFoundError: If an XML file is missing.
        ValueError: If one is broken; see :func:`voc_to_coco`.
    """
    folder = root / "annotations_coco"
    folder.mkdir(exist_ok=True)
    for split_file in sorted((root / "ImageSets/Main").glob("*.txt")):
        content = json.dumps(voc_to_coco(root, split_file, classes))
        write_whole(folder / f"{split_file.stem}.json", content.encode())


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
        FileNotFoundError: If the list or an XML file is missing.
        ValueError: If one of them is broken, or an annotation has no size, another class, or
            something else than numbers; names file and object.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name in filter(str.strip, read_names(split_file)):
        file = root / f"Annotations/{name}.xml"
        tree = read_annotation(file)
        number = len(images) + 1
        images.append({"id": number, "file_name": f"{name}.jpg", **_size(tree, file)})
        for place, entry in enumerate(tree.findall("object"), start=1):
            annotation = _annotation(entry, f"{file}, object {place}", classes)
            if annotation["area"] > 0:
                ids = {"id": len(annotations) + 1, "image_id": number}
                annotations.append({**ids, **annotation})
    categories = [
        {"id": number, "name": name, "supercategory": ""}
        for number, name in enumerate(classes, start=1)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def _size(tree: Element, file: Path) -> dict[str, int]:
    try:
        width, height = extent_of(tree)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if width is None or height is None:
        raise ValueError(f"{file}: COCO needs a size with width and height. Add it.")
    return {"width": width, "height": height}


def _annotation(entry: Element, place: str, classes: Sequence[str]) -> dict[str, Any]:
    name = entry.findtext("name", "")
    if name not in classes:
        raise ValueError(
            f"classes must be among {', '.join(classes)}, but {place} has {name!r}. "
            "Correct the annotation or add the class."
        )
    try:
        x0, y0, x1, y1 = (float(int(corner)) for corner in corners_of(entry))
        difficult = is_difficult(entry)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    width, height = max(x1 - x0, 0.0), max(y1 - y0, 0.0)
    return {
        "category_id": list(classes).index(name) + 1,
        "bbox": [x0 - 1, y0 - 1, width, height],
        "area": width * height,
        "iscrowd": int(difficult),
        "segmentation": [],
    }
