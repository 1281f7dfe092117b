"""Images that two splits of the data share, by their paths or by their bytes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 300_000  # training images, above which bytes are not compared: listing takes too long
_COMPARED = 2_000  # images of a split whose bytes are compared; 1 % of leaks is missed once in 10^9
_BLANK = 3  # equal training images: more than these are blank, and prove nothing
_PART = 1024  # bytes in the middle and at the end that decide which files are read in full
_SHOWN = 3  # pairs in a message

ALLOW = "allow_val_on_train"  # key of a config, and the remedy in the message


@dataclass(frozen=True)
class SharedImages:
    """Images that two splits share.

    Attributes:
        pairs: Paths of the same image in the training data and in the other split.
        compared: Number of images of the other split that were looked for.
        total: How many it has.
    """

    pairs: list[tuple[str, str]]
    compared: int
    total: int

    @property
    def all_shared(self) -> bool:
        """Whether every image that was looked for is a training image."""
        return 0 < self.compared == len(self.pairs)

    def describe(self, scored: str) -> str:
        """Return how many are shared, with examples.

        Args:
            scored: Name of the split that is scored.
        """
        some = ", ".join(
            one if one == other else f"{one} = {other}" for one, other in self.pairs[:_SHOWN]
        )
        sample = f" that were compared (of {self.total:,})" if self.compared < self.total else ""
        return (
            f"{len(self.pairs):,} of the {self.compared:,} images of the {scored} data{sample} are "
            f"training images, by path or by content: {some}"
        )


def shared_images(train: Mapping[str, int], scored: Mapping[str, int]) -> SharedImages:
    """Find images of one split in the training data.

    Paths are compared first. Where the splits are different files, those of equal size are
    compared by a part of their bytes, and where these are equal by all of them. Of more than
    2,000 images a random 2,000 are looked for, always the same; above 300,000 training images
    paths alone are compared. Bytes that more than three training images have, such as those of
    blank images, do not count.

    Args:
        train: Path to bytes of each training image.
        scored: The same of the split that is scored.
    """
    places = {real: path for path, real in _real_paths(train)}
    pairs = [(places[real], path) for path, real in _real_paths(scored) if real in places]
    named = {path for _, path in pairs}
    rest = [path for path in scored if path not in named]
    chosen = _choose(rest)
    if len(train) > MOST:
        return SharedImages(pairs, len(scored), len(scored))
    pairs += _same_bytes(train, {path: scored[path] for path in chosen})
    return SharedImages(pairs, len(named) + len(chosen), len(scored))


def judge_shared(shared: SharedImages, scored: str, allowed: bool) -> str | None:
    """Refuse a score on training images only, and return a warning if some are training images.

    Args:
        shared: What the training data and the split share.
        scored: Name of the split, such as ``val``.
        allowed: Whether the config says that this is intended.

    Returns:
        The warning, or None if nothing is shared.

    Raises:
        ValueError: If every image of the split is a training image and that is not allowed.
    """
    if not shared.pairs:
        return None
    text = shared.describe(scored)
    if shared.all_shared and not allowed:
        raise ValueError(
            f"images to be scored must not be trained on, but {text}. Take other {scored} data, "
            f"or say in the config that this is intended: {ALLOW} = True."
        )
    return f"{text}. The score will be too good."


def _real_paths(files: Mapping[str, int]) -> list[tuple[str, str]]:
    """Resolve folders, each once; a link to a single file is found by its bytes."""
    folders = {folder: os.path.realpath(folder) for folder in {os.path.dirname(f) for f in files}}
    return [
        (file, os.path.join(folders[os.path.dirname(file)], os.path.basename(file)))
        for file in files
    ]


def _choose(paths: Sequence[str]) -> list[str]:
    if len(paths) <= _COMPARED:
        return list(paths)
    rows = np.random.default_rng(0).choice(len(paths), _COMPARED, replace=False)
    return [paths[row] for row in np.sort(rows)]


def _same_bytes(train: Mapping[str, int], scored: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pair each of the other images with a training image of the same bytes."""
    sizes = np.intersect1d(_sizes(train), _sizes(scored))
    ones, others = _of_size(train, sizes), _of_size(scored, sizes)
    keys, other_keys = _read(_part_of, ones), _read(_part_of, others)
    both = set(keys.values()) & set(other_keys.values())
    keys = _read(_all_of, [path for path, key in keys.items() if key in both])
    other_keys = _read(_all_of, [path for path, key in other_keys.items() if key in both])
    times = Counter(keys.values())
    path_of = {key: path for path, key in keys.items() if times[key] <= _BLANK}
    return [(path_of[key], path) for path, key in other_keys.items() if key in path_of]


def _sizes(files: Mapping[str, int]) -> NDArray[np.int64]:
    return np.fromiter(files.values(), dtype=np.int64, count=len(files))


def _of_size(files: Mapping[str, int], sizes: NDArray[np.int64]) -> list[str]:
    kept = np.flatnonzero(np.isin(_sizes(files), sizes[sizes > 0]))
    paths = list(files)
    return [paths[row] for row in kept]


def _read(key_of: Callable[[str], bytes], paths: Sequence[str]) -> dict[str, bytes]:
    with ThreadPoolExecutor(16) as pool:
        return dict(zip(paths, pool.map(key_of, paths), strict=True))


def _part_of(path: str) -> bytes:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 2)
        middle = file.read(_PART)
        file.seek(max(0, size - _PART))
        return size.to_bytes(8, "little") + middle + file.read()


def _all_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.blake2b(file.read()).digest()
