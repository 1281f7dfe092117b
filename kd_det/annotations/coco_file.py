"""COCO annotation files, reduced to the entries that mmdet and pycocotools can use."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_det.annotations.coco_reader import needs_new_ids, read_coco
from kd_det.checks.report import DataReport, shown
from kd_engine.data.download.public import missing_data_message

Entry = dict[str, Any]

_WHOLE = 2**63  # ids become int64
_EXACT = 2**53  # up to here a float is exact
_LARGE = 2**31  # pixels


@dataclass(frozen=True)
class _Rule:
    """Rule of a field: what it must be, and how to correct it."""

    accepts: Callable[[Any], bool]
    text: str
    remedy: str = "Correct it"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGE  # neither bool, inf nor NaN


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_id(value: Any) -> bool:
    if type(value) is float:
        return value.is_integer() and abs(value) <= _EXACT
    return type(value) is int and abs(value) < _WHOLE


def _is_id_or_text(value: Any) -> bool:
    return isinstance(value, str) or _is_id(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_area(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGE**2


def _is_flag(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and value in (0, 1))


_ID = _Rule(_is_id_or_text, "a whole number below 2^63, or a text", "Renumber from 1")
_NAME = _Rule(_is_text, "a text")
_SIDE = _Rule(_is_positive, "a positive number below 2^31")
_RULES: dict[str, dict[str, _Rule]] = {
    "images": {"id": _ID, "file_name": _NAME, "width": _SIDE, "height": _SIDE},
    "annotations": {
        "id": _Rule(_is_id, "a whole number below 2^63 (pycocotools)", "Renumber from 1"),
        "image_id": _ID,
        "category_id": _ID,
        "bbox": _Rule(
            lambda value: (
                isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))
            ),
            "four finite numbers [x, y, w, h] below 2^31",
            "Correct or remove it",
        ),
        "area": _Rule(_is_area, "a finite number", "Put the box's width times its height"),
    },
    "categories": {"id": _ID, "name": _NAME},
}
_CROWD = _Rule(_is_flag, "0 or 1", "Write 0 for an ordinary box")


@dataclass
class _Repeats:
    """Collector of keys that occur twice in one JSON object, of which Python keeps the last."""

    keys: Counter[str] = field(default_factory=Counter)

    def __call__(self, pairs: list[tuple[str, Any]]) -> Entry:
        """Make the dict of one object."""
        content = dict(pairs)
        if len(content) < len(pairs):
            times = Counter(key for key, _ in pairs)
            self.keys.update(key for key in times if times[key] > 1)
        return content


def load_coco(report: DataReport, file: Path) -> dict[str, list[Entry]] | None:
    """Read the three lists of a COCO file.

    Args:
        report: Receives the errors.
        file: The JSON file.

    Returns:
        images, annotations and categories with only the complete entries, or None if the file
        cannot be used.
    """
    if not file.is_file():
        report.error("", missing_data_message(file))
        return None
    repeats = _Repeats()
    try:
        content = read_coco(file, repeats)
    except (ValueError, OSError) as error:
        report.error("", str(error))
        return None
    for key in _RULES:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            report.error("", f"the file must have a list '{key}', but it has none. Restore it.")
            return None
    for key, times in repeats.keys.items():
        report.error(
            "",
            f"a key must occur once in an object, but {shown(key)} occurs more often in {times} "
            "of them, and only its last value would count. Remove the others.",
        )
    complete = {key: _complete(report, key, content[key]) for key in _RULES}
    _check_kinds_of_ids(report, complete)
    return complete


def _complete(report: DataReport, key: str, entries: list[Any]) -> list[Entry]:
    rules = _RULES[key]
    good = []
    for position, entry in enumerate(entries):
        fault = _fault(entry, rules) or (_crowd_fault(entry) if key == "annotations" else "")
        if fault:
            name = shown(entry.get("id", "?")) if isinstance(entry, dict) else "?"
            report.error(f"{key}[{position}] (id {name})", fault)
        else:
            good.append(entry)
    return good


def _fault(entry: Any, rules: dict[str, _Rule]) -> str:
    """Return what is wrong with an entry, or nothing."""
    if not isinstance(entry, dict) or not rules.keys() <= entry.keys():
        lacks = ", ".join(sorted(rules.keys() - entry.keys())) if isinstance(entry, dict) else ""
        return (
            f"an entry must have {', '.join(rules)}, but this one lacks {lacks or 'everything'}. "
            "Add it."
        )
    for key, rule in rules.items():
        if not rule.accepts(entry[key]):
            return f"{key} must be {rule.text}, but it is {shown(entry[key])}. {rule.remedy}."
    return ""


def _crowd_fault(entry: Entry) -> str:
    if _CROWD.accepts(entry.get("iscrowd")):
        return ""
    return f"iscrowd must be {_CROWD.text}, but it is {shown(entry['iscrowd'])}. {_CROWD.remedy}."


def _check_kinds_of_ids(report: DataReport, content: dict[str, list[Entry]]) -> None:
    """Numbers and texts cannot be sorted together, and pycocotools sorts ids."""
    for key in ("images", "categories"):
        texts = [entry["id"] for entry in content[key] if isinstance(entry["id"], str)]
        if 0 < len(texts) < len(content[key]):
            report.error(
                key,
                f"the ids must be all numbers or all texts, but {len(texts)} of "
                f"{len(content[key])} are texts, such as {shown(texts[0])}. Renumber from 1.",
            )


def note_reading(report: DataReport, file: Path, annotations: list[Entry]) -> None:
    """Note what our reader reads and plain pycocotools does not."""
    if needs_new_ids(annotations):
        report.notes.append(
            "annotation ids below 1: our tools count from 1 instead; plain mmdet and pycocotools "
            "take id 0 for 'no match' and score too low, so renumber from 1 for them"
        )
    crowds = sum(annotation.get("iscrowd") is None for annotation in annotations)
    report.count(crowds, "boxes without iscrowd: read as 0; plain pycocotools cannot score them")
    with file.open("rb") as start:
        encoding = json.detect_encoding(start.read(4))
    if encoding != "utf-8":
        report.notes.append(f"the encoding is {encoding}: our tools read it, plain mmdet does not")
