"""Files of Pascal VOC: lists and XML, read as mmdet does but with clearer errors."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

CORNERS = ("xmin", "ymin", "xmax", "ymax")
_LARGE = 2**31  # pixels
_MARK = "\ufeff"


def read_names(split_file: Path) -> list[str]:
    """Read a list of image names, one a line; empty lines are kept.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not UTF-8, or begins with a byte order mark.
    """
    try:
        text = split_file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{split_file} must be UTF-8, but is not: {error}. Save it as UTF-8."
        ) from error
    if text.startswith(_MARK):
        raise ValueError(
            f"{split_file} must be UTF-8 without a byte order mark, which mmdet takes for a part "
            "of the first name, but it begins with one. Save it without."
        )
    return text.removesuffix("\n").split("\n") if text else []


def read_annotation(file: Path) -> ET.Element:
    """Read the XML of one image.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not XML, or declares entities, which may expand without end.
    """
    try:
        content = file.read_bytes()
        guard = expat.ParserCreate()
        guard.EntityDeclHandler = _refuse_entity
        guard.Parse(content, True)
        return ET.fromstring(content)
    except FileNotFoundError:
        raise
    except (expat.ExpatError, ET.ParseError, LookupError, OSError, ValueError) as error:
        raise ValueError(f"{file} must be XML, but it is broken ({error}). Restore it.") from error


def extent_of(tree: ET.Element) -> tuple[int | None, int | None]:
    """Return width and height; both None where there is no size, which mmdet allows.

    Raises:
        ValueError: If they are not positive whole numbers.
    """
    if tree.find("size") is None:
        return None, None
    texts = [tree.findtext(f"size/{key}", "") for key in ("width", "height")]
    numbers = [_whole(text) for text in texts]
    if any(number is None or not 0 < number < _LARGE for number in numbers):
        raise ValueError(
            f"size must have a positive whole width and height, but they are {texts}. "
            "Correct them, or remove the size so that mmdet measures the image."
        )
    return numbers[0], numbers[1]


def corners_of(entry: ET.Element) -> list[float]:
    """Return xmin, ymin, xmax and ymax of an object, as the file has them.

    Raises:
        ValueError: If one is not a finite number, or absurdly large.
    """
    texts = [entry.findtext(f"bndbox/{corner}", "") for corner in CORNERS]
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = []
    if not numbers or not all(abs(number) < _LARGE for number in numbers):
        raise ValueError(
            f"bndbox must have finite numbers {', '.join(CORNERS)} below 2^31, but they are "
            f"{texts}. Correct them."
        )
    return numbers


def is_difficult(entry: ET.Element) -> bool:
    """Return whether an object is marked as difficult; without a mark it is not.

    Raises:
        ValueError: If the mark is not a whole number.
    """
    text = entry.findtext("difficult")
    number = 0 if text is None else _whole(text)
    if number is None:
        raise ValueError(
            f"difficult must be 0 or 1, but it is {text!r}, at which mmdet stops. Write 0 for an "
            "ordinary object, or leave it out."
        )
    return bool(number)


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _refuse_entity(*_: object) -> NoReturn:
    raise ValueError("it declares entities, which no annotation needs")
