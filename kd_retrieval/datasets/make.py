"""Retrieval sets caltech100 and omniglot, made from their unpacked public archives."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from kd_core.checkpoint.atomic import put_in_place, temporary_folder
from kd_retrieval.datasets.list_file import LISTS, Caltech100, Omniglot

LEFT_OUT = ("BACKGROUND_Google", "Faces_easy")
MOST, SHORT_SIDE, QUALITY = 60, 144, 82  # images of a class, pixels, of JPEG
SEARCHED = ("Japanese_(katakana)", "Sanskrit", "Tagalog")  # alphabets


def make_caltech100(source: Path, out: Path) -> None:
    """Draw at most 60 images of each class and shrink them; the first half is to train on."""
    rng = random.Random(0)
    folders = [path for path in source.iterdir() if path.is_dir() and path.name not in LEFT_OUT]
    folders.sort(key=lambda path: path.name.lower())
    classes = []
    for folder in folders:
        files = sorted(folder.glob("image_*.jpg"))
        drawn = sorted(rng.sample(files, min(MOST, len(files))))
        for file in drawn:
            _shrink(file, out / "images" / folder.name / file.name)
        classes.append([f"images/{folder.name}/{file.name}" for file in drawn])
    half = len(classes) // 2
    _write_lists(out, classes[:half], classes[half:])


def make_omniglot(sources: Sequence[Path], out: Path) -> None:
    """Join the folders of alphabets; what is in both of them is taken once."""
    parts: tuple[dict[str, list[str]], ...] = ({}, {})
    for source in sources:
        for file in sorted(source.glob("*/character*/*.png")):
            below = file.relative_to(source)
            target = out / "images" / below
            if target.exists():
                if target.read_bytes() != file.read_bytes():
                    raise ValueError(f"{below} must be the same in all folders, but it differs.")
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            part = parts[below.parts[0] in SEARCHED]
            part.setdefault(below.parent.as_posix(), []).append(f"images/{below.as_posix()}")
    train, test = ([part[name] for name in sorted(part)] for part in parts)
    _write_lists(out, train, test)


def make_retrieval_set(name: str, sources: Sequence[Path], out: Path) -> dict[str, tuple[int, int]]:
    """Make a set; its folder appears when it is complete and its counts are right.

    Args:
        name: ``caltech100`` or ``omniglot``.
        sources: Unpacked folders: one for caltech100, two for omniglot.
        out: Folder to make.

    Returns:
        Split to its numbers of images and classes.

    Raises:
        ValueError: If the sources are not those, ``out`` is there already, or a count is wrong.
    """
    _check(name, sources, out)
    with temporary_folder(out) as place:
        if name == "caltech100":
            make_caltech100(sources[0], place)
        else:
            make_omniglot(sources, place)
        kind = Caltech100 if name == "caltech100" else Omniglot
        made = {split: kind(str(place), split) for split in ("trainval", "test")}  # counts
        put_in_place(place, out)
    return {split: (len(data), len(data.class_names)) for split, data in made.items()}


def _check(name: str, sources: Sequence[Path], out: Path) -> None:
    wanted = 1 if name == "caltech100" else 2
    if len(sources) != wanted or not all(source.is_dir() for source in sources):
        raise ValueError(
            f"{name} is made from {wanted} unpacked folder(s), but given are "
            f"{', '.join(map(str, sources))}. 'kdkit make-retrieval-sets --help' names them."
        )
    if out.exists():
        raise ValueError(f"{out} must not be there yet. Remove it, or choose another --out.")


def _shrink(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(file) as image:
        share = min(1.0, SHORT_SIDE / min(image.size))
        size = (round(image.width * share), round(image.height * share))
        image.resize(size, Image.Resampling.LANCZOS).save(target, quality=QUALITY)


def _write_lists(out: Path, *parts: Iterable[Sequence[str]]) -> None:
    for name, classes in zip(LISTS, parts, strict=True):
        lines = [f"{path} {label}\n" for label, paths in enumerate(classes) for path in paths]
        (out / name).write_text("".join(lines), encoding="utf-8")
