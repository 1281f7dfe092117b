"""Checks of image headers: size, orientation tag and depth, of a sample or of all images."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kd_det.annotations.image_header import ImageHeader, ImageLoading, read_header
from kd_det.checks.report import DataReport, ImageEntry

_SAMPLE = (
    1_000  # headers: a second from disk; a fault in 1 % of the images is missed once in 20,000
)
_DECODED = 8  # images of 16 bits whose values are looked at
_SHOWN = 3  # images in a message
_TWELVE_BITS, _FOURTEEN_BITS = 4095, 16383
_WHITE = 255


def check_headers(
    report: DataReport,
    entries: Sequence[ImageEntry],
    loading: ImageLoading,
    everything: bool = False,
) -> None:
    """Compare the headers of image files with the annotations and with what mmdet loads.

    Args:
        report: Receives the findings.
        entries: Images whose files are there.
        loading: How the pipeline decodes.
        everything: Look at all of them; otherwise at 1,000 drawn at random, always the same.
    """
    chosen = list(entries)
    if not everything and len(entries) > _SAMPLE:
        rows = np.random.default_rng(0).choice(len(entries), _SAMPLE, replace=False)
        chosen = [entries[row] for row in np.sort(rows)]
    with ThreadPoolExecutor(8) as pool:
        headers = [header for header in pool.map(read_header, chosen) if header is not None]
    looked = f"{len(chosen):,} images" + (
        f" looked at (of {len(entries):,})" if len(chosen) < len(entries) else ""
    )
    _check_sizes(report, headers, loading, looked)
    _check_depth(report, headers, loading, looked)
    _check_float(report, headers, loading, looked)


def _check_sizes(
    report: DataReport, headers: Sequence[ImageHeader], loading: ImageLoading, looked: str
) -> None:
    known = [header for header in headers if None not in (header.entry.width, header.entry.height)]
    turned, agreeing = [], 0
    for header in known:
        entry, loaded = header.entry, header.loaded_size(loading)
        if loaded == (entry.width, entry.height):
            agreeing += header.sideways and loaded[0] != loaded[1]
        elif header.sideways and loaded[::-1] == (entry.width, entry.height):
            turned.append(header)
        else:
            report.error(
                entry.place,
                f"the image {entry.file} must have the annotated size {entry.width} x "
                f"{entry.height}, but it is loaded as {loaded[0]} x {loaded[1]}. Correct the "
                "annotation, or restore the image.",
            )
    if turned:
        report.error("images", _turned_text(turned, loading, looked))
    elif not agreeing and loading.turns:
        _warn_undecided(report, known, looked)


def _turned_text(turned: Sequence[ImageHeader], loading: ImageLoading, looked: str) -> str:
    first = turned[0]
    width, height = first.loaded_size(loading)
    text = (
        "sizes in the annotations must be those of the images as mmdet loads them, but in "
        f"{len(turned):,} of {looked} width and height are exchanged, such as "
        f"{first.entry.file}: stored as {first.size[0]} x {first.size[1]} with EXIF orientation "
        f"{first.orientation}, annotated as {first.entry.width} x {first.entry.height}, loaded as "
        f"{width} x {height}."
    )
    if (width, height) == first.size:
        return (
            f"{text} The boxes were drawn on upright images, so have them loaded upright: leave "
            "color_type and imdecode_backend of every LoadImageFromFile at their defaults."
        )
    return (
        f"{text} If the boxes were drawn on the images as stored, set "
        "color_type='color_ignore_orientation' in every LoadImageFromFile, or remove the tags; if "
        "they were drawn on upright images, exchange width and height in the annotations."
    )


def _warn_undecided(report: DataReport, headers: Sequence[ImageHeader], looked: str) -> None:
    """Warn of turns that sizes do not show: by 180 degrees, mirrored, or of a square."""
    found = [header for header in headers if header.orientation in range(2, 9)]
    if found:
        some = ", ".join(header.entry.file for header in found[:_SHOWN])
        report.warn(
            "images",
            f"{len(found):,} of {looked} have an EXIF tag that makes mmdet turn or mirror them "
            f"({some}), and their sizes do not tell whether the boxes were drawn on upright images "
            "or on those stored. Look at some of them; for the latter set "
            "color_type='color_ignore_orientation' in every LoadImageFromFile, or remove the tags.",
        )


def _check_depth(
    report: DataReport, headers: Sequence[ImageHeader], loading: ImageLoading, looked: str
) -> None:
    """Look at values of 16-bit images: 12-bit values are nearly black when mmdet loads them."""
    deep = [header for header in headers if header.deep]
    if not deep or loading.color_type == "unchanged":
        return
    rows = np.unique(np.linspace(0, len(deep) - 1, _DECODED).astype(int))
    images = {row: loading.read(deep[row].entry.file, unchanged=True) for row in rows}
    peaks = {
        row: int(image.max())
        for row, image in images.items()
        if image is not None and image.dtype == np.uint16
    }
    if not peaks:
        return
    brightest = max(peaks, key=lambda row: peaks[row])
    highest, loaded = peaks[brightest], loading.read(deep[brightest].entry.file)
    text = (
        f"{len(deep):,} of {looked} have 16 bits a value, such as {deep[0].entry.file}, and the "
        f"highest value in {len(peaks)} of them is {highest}"
    )
    if loading.backend == "pillow" and deep[0].mode.startswith("I") and highest > _WHITE:
        report.error(
            "images",
            f"{text}: imdecode_backend='pillow' cuts gray values off at 255. Convert the images to "
            "8 bits.",
        )
    elif highest <= _FOURTEEN_BITS:
        (report.error if highest <= _TWELVE_BITS else report.warn)(
            "images",
            f"{text}: mmdet's loader keeps the upper 8 of 16 bits, so that they become 0 to "
            f"{0 if loaded is None else int(loaded.max())} of 255. Stretch the values to 16 bits, "
            "or convert the images to 8 bits.",
        )
    else:
        report.notes.append(f"{text}; mmdet's loader keeps the upper 8 bits")


def _check_float(
    report: DataReport, headers: Sequence[ImageHeader], loading: ImageLoading, looked: str
) -> None:
    """Try to load one of the images of 32-bit values: OpenCV does not load all of them."""
    found = [header for header in headers if header.mode in ("F", "I") and not header.deep]
    if found and loading.read(found[0].entry.file) is None:
        report.error(
            "images",
            f"images must have 8 or 16 bits a value, but {len(found):,} of {looked}, such as "
            f"{found[0].entry.file}, have 32, and mmdet does not load them. Convert them.",
        )
