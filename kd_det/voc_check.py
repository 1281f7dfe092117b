"""Checks Pascal VOC annotations before mmdet reads them."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kd_det.box_check import check_boxes
from kd_det.box_table import VocBoxes
from kd_det.data_report import DataReport, ImageEntry, check_image_files, note_boxes
from kd_engine.download import missing_data_message

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class _Findings:
    """What is counted over all files of a split."""

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
) -> DataReport:
    """Check one split of a Pascal VOC folder and its pictures.

    Boxes are judged as mmdet reads them: x = xmin - 1, w = xmax - xmin.

    Args:
        root: Folder with Annotations and JPEGImages.
        split_file: Text file with one image name per line.
        classes: Class names of the config.
        decode: Also read every picture in full.

    Returns:
        Errors and notes.
    """
    report = DataReport(str(split_file))
    root = Path(root)
    missing = [path for path in (Path(split_file), root / "Annotations") if not path.exists()]
    for path in missing:
        report.error("", missing_data_message(path))
    if missing:
        return report
    findings, entries = _Findings(classes), []
    for name in _names(report, Path(split_file)):
        entry = _check_file(report, root, name, findings)
        if entry is not None:
            entries.append(entry)
    _note(report, findings, len(entries))
    check_boxes(report, findings.boxes.table(), classes)
    check_image_files(report, entries, decode)
    return report


def _names(report: DataReport, split_file: Path) -> list[str]:
    lines = split_file.read_text(encoding="utf-8").splitlines()
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
    report: DataReport, root: Path, name: str, findings: _Findings
) -> ImageEntry | None:
    file = root / f"Annotations/{name}.xml"
    try:
        tree = ET.parse(file).getroot()
    except FileNotFoundError:
        report.error(
            f"image {name}", f"{file} is missing. Restore it, or take the name off the list."
        )
        return None
    except (ET.ParseError, OSError, ValueError) as error:
        report.error(
            f"image {name}", f"{file} must be XML, but it is broken ({error}). Restore it."
        )
        return None
    width, height = _extent(report, tree, file)
    objects = tree.findall("object")
    findings.empty += not objects
    findings.files += 1
    for number, entry in enumerate(objects, start=1):
        place = f"image {name}, object {number}"
        _check_object(report, entry, place, (width, height), findings)
    return ImageEntry(f"image {name}", str(root / f"JPEGImages/{name}.jpg"), width, height)


def _extent(report: DataReport, tree: ET.Element, file: Path) -> tuple[int | None, int | None]:
    """Return width and height; both None where the file has no size, which mmdet allows."""
    if tree.find("size") is None:
        return None, None
    texts = [tree.findtext(f"size/{key}", "") for key in ("width", "height")]
    if all(text.strip().isdecimal() and int(text) > 0 for text in texts):
        return int(texts[0]), int(texts[1])
    report.error(
        f"file {file.name}",
        f"size must have a positive whole width and height, but they are {texts}. "
        "Correct them, or remove the size so that mmdet measures the image.",
    )
    return None, None


def _check_object(
    report: DataReport,
    entry: ET.Element,
    place: str,
    extent: tuple[int | None, int | None],
    findings: _Findings,
) -> None:
    name = entry.findtext("name", "")
    if name not in findings.classes:
        report.error(
            place,
            f"the class must be one of the config's {', '.join(findings.classes)}, but it is "
            f"{name!r}. Correct it, or add the class to the config's metainfo.",
        )
        return
    texts = [entry.findtext(f"bndbox/{corner}", "") for corner in _CORNERS]
    try:
        x0, y0, x1, y1 = (int(float(text)) - 1 for text in texts)
    except (ValueError, OverflowError):
        report.error(
            place,
            f"bndbox must have numbers {', '.join(_CORNERS)}, but they are {texts}. Correct them.",
        )
        return
    findings.numbers[name] += 1
    difficult = entry.findtext("difficult", "0").strip() == "1"
    findings.difficult += difficult
    given = [float(text) for text in texts]
    label = list(findings.classes).index(name)
    findings.boxes.add(place, findings.files, label, given, extent, difficult)
    if x1 <= x0 or y1 <= y0:
        findings.tiny += 1
    elif extent[0] is not None and extent[1] is not None:
        if x0 >= extent[0] or y0 >= extent[1] or x1 <= 0 or y1 <= 0:
            report.error(
                place,
                f"the box must touch its image of {extent[0]} x {extent[1]}, but {texts} "
                f"({', '.join(_CORNERS)}) lies wholly outside. Correct or remove it.",
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
