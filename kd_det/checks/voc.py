"""Checks of Pascal VOC annotations before mmdet reads them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from kd_det.annotations.box_table import VocBoxes
from kd_det.annotations.image_header import ImageLoading
from kd_det.checks.boxes import check_boxes
from kd_det.checks.images import check_image_files
from kd_det.checks.report import DataReport, ImageEntry, note_boxes, shown
from kd_engine.data.download.public import missing_data_message
from kd_engine.data.voc_file import (
    CORNERS,
    corners_of,
    extent_of,
    is_difficult,
    read_annotation,
    read_names,
)


@dataclass(frozen=True)
class VocFolders:
    """The folders of a Pascal VOC set, as mmdet's reader calls them.

    Attributes:
        images: The images, ``img_subdir``.
        annotations: The XML files, ``ann_subdir``.
    """

    images: str = "JPEGImages"
    annotations: str = "Annotations"


@dataclass
class _Findings:
    """Counts over all files of a split."""

    classes: Sequence[str]
    numbers: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    tiny: int = 0
    beyond: int = 0
    difficult: int = 0
    files: int = 0
    boxes: VocBoxes = field(default_factory=VocBoxes)


def check_voc(
    root: str | os.PathLike[str],
    split_file: str | os.PathLike[str],
    classes: Sequence[str],
    decode: bool = False,
    folders: VocFolders | None = None,
    loading: ImageLoading | None = None,
) -> DataReport:
    """Check one split of a Pascal VOC folder and its images.

    Boxes are checked as mmdet reads them: x = xmin - 1, w = xmax - xmin.

    Args:
        root: Folder with the folders of images and annotations.
        split_file: Text file with one image name per line.
        classes: Class names of the config.
        decode: Also read every image in full.
        folders: Where images and annotations are below the root; the default is JPEGImages and
            Annotations.
        loading: How the pipeline decodes images; the default is mmdet's.

    Returns:
        Errors and notes.
    """
    report = DataReport(str(split_file))
    folders = folders or VocFolders()
    annotations, images = Path(root, folders.annotations), Path(root, folders.images)
    missing = [path for path in (Path(split_file), annotations) if not path.exists()]
    for path in missing:
        report.error("", missing_data_message(path))
    if missing:
        return report
    findings, entries = _Findings(classes), []
    for name in _names(report, Path(split_file)):
        extent = _check_file(report, annotations, name, findings)
        if extent is not None:
            entries.append(ImageEntry(f"image {name}", str(images / f"{name}.jpg"), *extent))
    _note(report, findings, len(entries))
    table = findings.boxes.table()
    check_boxes(report, table, classes)
    sides = [min(one.width or np.inf, one.height or np.inf) for one in entries]
    report.short_sides = np.array(sides, dtype=np.float64)
    report.annotated = np.isin(np.arange(1, findings.files + 1), table.images)
    report.boxes, report.flat = table.useful, table.flat
    check_image_files(report, entries, decode, loading)
    return report


def _names(report: DataReport, split_file: Path) -> list[str]:
    try:
        lines = read_names(split_file)
    except (ValueError, OSError) as error:
        report.error("", str(error))
        return []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            report.error(f"line {number}", "a line must name an image, but it is empty. Remove it.")
    names = [line for line in lines if line.strip()]
    for name, times in Counter(names).items():
        if times > 1:
            report.error(
                f"image {name}",
                f"an image must be listed once, but it is listed {times} times. Remove the others.",
            )
    return list(dict.fromkeys(names))


def _check_file(
    report: DataReport, folder: Path, name: str, findings: _Findings
) -> tuple[int | None, int | None] | None:
    """Check the XML of an image; return the image's extent, or None without a readable file."""
    file = folder / f"{name}.xml"
    try:
        tree = read_annotation(file)
    except FileNotFoundError:
        report.error(
            f"image {name}",
            f"{file} is missing. Restore it, or take the name off the list.{_hint(folder, name)}",
        )
        return None
    except ValueError as error:
        report.error(f"image {name}", str(error))
        return None
    extent: tuple[int | None, int | None] = None, None
    try:
        extent = extent_of(tree)
    except ValueError as error:
        report.error(f"file {file.name}", str(error))
    objects = tree.findall("object")
    findings.empty += not objects
    findings.files += 1
    for number, entry in enumerate(objects, start=1):
        _check_object(report, entry, f"image {name}, object {number}", extent, findings)
    return extent


def _hint(folder: Path, name: str) -> str:
    """Return a hint if a listed name includes the file's suffix or further columns."""
    stem = Path(name.split()[0]).stem
    if stem == name or not (folder / f"{stem}.xml").is_file():
        return ""
    return f" A line must be a name without suffix and nothing more, such as {stem!r}."


def _check_object(
    report: DataReport,
    entry: Element,
    place: str,
    extent: tuple[int | None, int | None],
    findings: _Findings,
) -> None:
    name = entry.findtext("name", "")
    if name not in findings.classes:
        report.error(
            place,
            f"the class must be one of the config's {', '.join(findings.classes)}, but it is "
            f"{shown(name)}. Correct it, or add the class to the config's metainfo.",
        )
        return
    try:
        given, difficult = corners_of(entry), is_difficult(entry)
    except ValueError as error:
        report.error(place, str(error))
        return
    x0, y0, x1, y1 = (int(number) - 1 for number in given)
    findings.numbers[name] += 1
    findings.difficult += difficult
    label = list(findings.classes).index(name)
    findings.boxes.add(place, findings.files, label, given, extent, difficult)
    if x1 <= x0 or y1 <= y0:
        findings.tiny += 1
    elif extent[0] is not None and extent[1] is not None:
        if x0 >= extent[0] or y0 >= extent[1] or x1 <= 0 or y1 <= 0:
            report.error(
                place,
                f"the box must touch its image of {extent[0]} x {extent[1]}, but {given} "
                f"({', '.join(CORNERS)}) lies wholly outside. Correct or remove it.",
            )
        elif x0 < 0 or y0 < 0 or x1 > extent[0] or y1 > extent[1]:
            findings.beyond += 1


def _note(report: DataReport, findings: _Findings, images: int) -> None:
    report.notes.append(f"{images} images, {findings.numbers.total()} boxes")
    report.count(findings.empty, "images without boxes (legal)")
    report.count(
        findings.tiny,
        "boxes without width or height (mmdet's VOC reader keeps them, and one can make the box "
        "loss NaN: put dict(type='FilterAnnotations') into the training pipeline)",
    )
    report.count(findings.beyond, "boxes partly beyond the border (mmdet clips them)")
    report.count(findings.difficult, "difficult boxes (mmdet ignores them in training)")
    note_boxes(report, findings.numbers, findings.classes)
