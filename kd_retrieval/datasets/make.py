"""Make the retrieval sets caltech100 and omniglot from their unpacked public archives.

    python tools/make_retrieval_sets.py caltech100 101_ObjectCategories
    python tools/make_retrieval_sets.py omniglot images_background_small1 images_background_small2

docs/retrieval_data.md says where the archives are and what cannot be reproduced bit for bit. The
folder appears when it is complete and its counts are right; what a killed run left beside it
(.NAME.*.tmp) is removed by the next one, and named.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
import random
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from kd_core.checkpoint.atomic import put_in_place, temporary_folder
from kd_engine.data.download.public import data_root
from kd_engine.errors import clear_errors
from kd_retrieval.datasets import Caltech100, Omniglot
from kd_retrieval.datasets.list_file import LISTS

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=("caltech100", "omniglot"))
    parser.add_argument("source", nargs="+", type=Path, help="unpacked folders, as shown above")
    parser.add_argument("--out", type=Path, help="new folder (default: below KD_DATA, else data)")
    options = parser.parse_args(arguments)
    out = options.out or data_root() / options.name
    with clear_errors():
        _check(options.name, options.source, out)
        with temporary_folder(out) as place:
            if options.name == "caltech100":
                make_caltech100(options.source[0], place)
            else:
                make_omniglot(options.source, place)
            kind = Caltech100 if options.name == "caltech100" else Omniglot
            made = {split: kind(str(place), split) for split in ("trainval", "test")}  # counts
            put_in_place(place, out)
        for split, data in made.items():
            print(f"{out}, {split}: {len(data):,} images of {len(data.class_names)} classes")
    return 0


def _check(name: str, sources: Sequence[Path], out: Path) -> None:
    wanted = 1 if name == "caltech100" else 2
    if len(sources) != wanted or not all(source.is_dir() for source in sources):
        raise ValueError(
            f"{name} is made from {wanted} unpacked folder(s), but given are "
            f"{', '.join(map(str, sources))}. See docs/retrieval_data.md."
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


if __name__ == "__main__":
    sys.exit(main())
