"""Composition of configs: a method's config on another dataset, written ``METHOD+DATASET``.

    configs/cls/kd+fashion_mnist      configs/cls/kd.py on configs/cls/data/fashion_mnist.py
    configs/cls/kd+my/flowers.py      the same method on a file of your own
    my/method.py+digits               a method of your own on a dataset of the folder of its base

A method is a config that inherits one file of a folder ``data``: ``_base_ = "data/digits.py"``. The
name after the ``+`` takes the place of that file. So each method is a config that runs as it
stands, each dataset is one file, and no pair of them needs a file. A composed name stands wherever
a config's name does: on the command line, in ``_base_``, as a teacher's config, as the name of a
work dir.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_engine.config.builtin import DATASET_BASE, config_path, own_dataset


@dataclass(frozen=True)
class ComposedConfig:
    """A method and the dataset that takes the place of its own.

    Attributes:
        method: File of the method.
        dataset: File of the dataset.
    """

    method: Path
    dataset: Path

    @property
    def name(self) -> str:
        """The name, without folders and suffixes: ``kd+digits``."""
        return f"{self.method.stem}+{self.dataset.stem}"

    @property
    def text(self) -> str:
        """The method's text with the dataset as its base."""
        source = self.method.read_text(encoding="utf-8")
        return DATASET_BASE.sub(lambda _: f"_base_ = {self.dataset.as_posix()!r}", source, count=1)


def find_composed(name: str) -> ComposedConfig | None:
    """Split the name of a composed config.

    Args:
        name: Name of a config.

    Returns:
        The method and the dataset; None if ``name`` is that of a file, or of no method.

    Raises:
        FileNotFoundError: If there is a method, but not that dataset; names the nearest.
        ValueError: If what stands before the ``+`` is a config, but inherits no dataset.
    """
    name = config_path(name)
    if "+" not in name or Path(name).is_file():
        return None
    places = [place for place, letter in enumerate(name) if letter == "+"]
    for place in places:
        method = _method_file(name[:place])
        if method is not None:
            return ComposedConfig(method, _dataset_file(method, name[place + 1 :]))
    return None


def is_file_here(source: Any) -> bool:
    """Return whether a config is a file here, alone or composed, and not a model or ``mmdet::``."""
    if not isinstance(source, str):
        return False
    return Path(config_path(source)).is_file() or find_composed(source) is not None


def full_name(name: str) -> str:
    """Return a config's name with its dataset: a method alone stands for itself on its own one.

    Args:
        name: Name of a config, such as ``configs/cls/kd.py``, or anything else.

    Returns:
        The path without suffix and with the dataset, ``configs/cls/kd+digits``; ``name`` itself if
        no dataset belongs to it.
    """
    name = config_path(name)
    composed = find_composed(name)
    if composed is None and Path(name).is_file():
        own = own_dataset(Path(name))
        composed = ComposedConfig(Path(name), own) if own else None
    return str(composed.method.with_name(composed.name)) if composed else name


def _method_file(name: str) -> Path | None:
    path = Path(name if name.endswith(".py") else f"{name}.py").expanduser()
    return path if path.is_file() else None


def _dataset_file(method: Path, name: str) -> Path:
    own = own_dataset(method)
    if own is None:
        raise ValueError(
            f"a name after '+' takes the place of the dataset that a method inherits, but {method} "
            "inherits none. Give its _base_ one file of a folder 'data', as configs/cls/kd.py does."
        )
    if "/" in name or name.endswith(".py"):
        file = Path(name).expanduser().absolute()
    else:
        file = (own.parent / f"{name}.py").absolute()
    if file.is_file():
        return file
    known = sorted(path.stem for path in own.parent.glob("*.py"))
    nearest = difflib.get_close_matches(name, known, n=3)
    raise FileNotFoundError(
        f"there is no dataset {name!r} for {method}."
        + (f" Nearest: {', '.join(nearest)}." if nearest else "")
        + f" Its datasets are {', '.join(known)}; a file of your own ends in .py."
    )
