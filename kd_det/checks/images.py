"""Checks of the image files that annotations name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from kd_det.annotations.image_header import ImageLoading
from kd_det.checks.headers import check_headers
from kd_det.checks.report import DataReport, ImageEntry
from kd_engine.data.file_sizes import file_sizes

# as cameras and tools write them; also in capitals
_SUFFIXES = [
    one
    for suffix in (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
    for one in (suffix, suffix.upper())
]


def check_image_files(
    report: DataReport,
    entries: Sequence[ImageEntry],
    decode: bool,
    loading: ImageLoading | None = None,
) -> None:
    """Look for missing, empty and mis-sized images, and with ``decode`` for broken ones.

    Args:
        report: Receives the findings.
        entries: The images.
        decode: Read every image in full, and look at the headers of all of them instead of
            1,000.
        loading: How the pipeline decodes; the default is mmdet's.
    """
    sizes = file_sizes({os.path.dirname(entry.file) for entry in entries})
    whole = []
    for entry in entries:
        size = sizes.get(entry.file)
        if size is None:
            report.error(entry.place, f"the image {entry.file} is missing{_remedy(entry, sizes)}")
        elif size == 0:
            report.error(entry.place, f"the image {entry.file} is empty. Restore it.")
        else:
            whole.append(entry)
            report.files[entry.file] = size
    check_headers(report, whole, loading or ImageLoading(), everything=decode)
    if decode:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for entry, fault in zip(whole, pool.map(_decoding_fault, whole), strict=True):
                if fault:
                    report.error(entry.place, fault)


def _remedy(entry: ImageEntry, sizes: Mapping[str, int]) -> str:
    """Name a file that is there with another suffix, such as .JPG."""
    stem = os.path.splitext(entry.file)[0]
    for suffix in _SUFFIXES:
        if stem + suffix in sizes:
            return (
                f", but {stem + suffix} is there. Rename that file, or correct the entry: mmdet "
                "looks for this name alone, and reads any format under it."
            )
    return ". Restore it."


def _decoding_fault(entry: ImageEntry) -> str:
    try:
        with Image.open(entry.file) as image:
            image.load()  # in full: OpenCV would fill the rest of a truncated image with gray
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return (
            f"the image {entry.file} cannot be decoded ({error}). Restore it or remove the entry."
        )
    return ""
