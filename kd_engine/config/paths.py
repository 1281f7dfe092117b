"""Paths in config files: what a relative one is relative to.

The rule, for teachers' configs and for checkpoints of any kind (``config``, ``checkpoint``,
``pretrained``, ``load_from``, the ``file`` of stored embeddings):

- A relative path is relative to the folder of the config file that it stands in, as ``_base_`` is;
  the dataset's file in ``METHOD+FILE`` too.
- One below ``work_dirs/``, and a checkpoint below ``data/`` (or ``$KD_DATA``), is relative to the
  current folder, where trainings and downloads put their files.
- On the command line every path is relative to the current folder.

Names such as ``kdkit::...`` and ``mmdet::...``, URLs and absolute paths stay as they are. So do
files inside another installed package, and paths of data (``data_root``, ``ann_file``), which are
relative to the current folder throughout OpenMMLab.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_engine.config.builtin import SCOPE, config_path, no_such_builtin
from kd_engine.config.compose import ComposedConfig, find_composed

_KEYS = ("checkpoint", "pretrained", "load_from")
_STORED = "StoredEmbeddings"
_TRAININGS, _DOWNLOADS = "work_dirs", "data"  # of the current folder
_find_base = Config._get_cfg_path  # mmengine's own
_TAKEN = re.compile(r"\w*::\w*/")  # by mmengine; mmdet has a folder gn+ws too
_READERS = {name: getattr(Config, name) for name in ("_file2dict", "_parse_lazy_import")}


def use_path_rule() -> None:
    """Let mmengine apply the rule of this module to every config file that it reads."""
    for name, reader in _READERS.items():
        setattr(Config, name, staticmethod(partial(_read_with_rule, reader)))
    Config._get_cfg_path = staticmethod(_find_base_with_builtin)


def read_composed(composed: ComposedConfig, *arguments: Any, **options: Any) -> Any:
    """Read a composed config as mmengine reads a file.

    Args:
        composed: A method with a dataset.
        arguments: Those of mmengine's ``Config._file2dict`` after the file.
        options: Those by keyword.

    Returns:
        What it returns: values, text, environment variables.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{composed.name}.py")
        file.write_text(composed.text, encoding="utf-8")
        found = _READERS["_file2dict"](str(file), *arguments, **options)
    return _with_rule(found, composed.method.absolute())


def resolve_paths(values: Any, folder: Path) -> None:
    """Make the relative paths of a config absolute, in place, by the rule of this module.

    Args:
        values: Plain values of a config, or a part of them.
        folder: What they are relative to.
    """
    if isinstance(values, dict):
        for key, value in dict.items(values):  # a ConfigDict's own would import lazy names
            if isinstance(value, str) and _is_path(key, values):
                resolve = _resolved_name if key == "config" else _resolved_file
                dict.__setitem__(values, key, resolve(value, folder))
            else:
                resolve_paths(value, folder)
    elif isinstance(values, list | tuple):
        for item in values:
            resolve_paths(item, folder)


def installed_path(name: str) -> str:
    """Return the file of a config of another package whose folder's name mmengine refuses.

    Args:
        name: Any name of a config, such as ``mmdet::gn+ws/NAME.py``.

    Returns:
        The file, if there is one; any other name as it is.
    """
    package, scope, file = name.partition("::")
    if not scope or not package.isidentifier() or _TAKEN.match(name):
        return name
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    files = [Path(folder, ".mim", "configs", file) for folder in folders]
    return next((str(one) for one in files if one.is_file()), name)


def shown_path(name: str) -> str:
    """Return a path as a user would write it: relative, if it is below the current folder."""
    path = Path(name)
    with contextlib.suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd())) if path.is_absolute() else name
    return name


def _read_with_rule(
    reader: Callable[..., Any], filename: str, *arguments: Any, **options: Any
) -> Any:
    path = Path(os.path.abspath(os.path.expanduser(filename)))
    composed = None if path.is_file() else find_composed(str(path))
    if composed:
        return read_composed(composed, *arguments, **options)
    return _with_rule(reader(filename, *arguments, **options), path)


def _with_rule(found: Any, path: Path) -> Any:
    if ".mim" not in path.parts:
        resolve_paths(found[0], path.parent)
    return found


def _find_base_with_builtin(cfg_path: str, filename: str) -> tuple[str, str | None]:
    name = _resolved_name(cfg_path, Path(filename).parent)
    if find_composed(name):
        return config_path(name), None
    if not cfg_path.startswith(SCOPE):
        found: tuple[str, str | None] = _find_base(installed_path(cfg_path), filename)
        return found
    path = config_path(cfg_path)
    if not Path(path).is_file():
        raise FileNotFoundError(no_such_builtin(cfg_path))
    return path, None


def _is_path(key: Any, values: dict[Any, Any]) -> bool:
    if key == "config":
        return "checkpoint" in values
    if key == "file":
        return str(dict.get(values, "type")).endswith(_STORED)
    return key in _KEYS


def _resolved_name(name: str, folder: Path) -> str:
    """Resolve a config's name; of a composed one the method and the dataset's file."""
    for place in [place for place, letter in enumerate(name) if letter == "+"]:
        method, dataset = _resolved(name[:place], folder), name[place + 1 :]
        file = config_path(method)
        if Path(file).is_file() or Path(f"{file}.py").is_file():
            is_file = "/" in dataset or dataset.endswith(".py")
            return f"{method}+{_resolved(dataset, folder) if is_file else dataset}"
    return _resolved(name, folder)


def _resolved_file(name: str, folder: Path) -> str:
    downloads = (_DOWNLOADS, os.environ.get("KD_DATA", _DOWNLOADS))
    return name if _is_below(name, *downloads) else _resolved(name, folder)


def _resolved(name: str, folder: Path) -> str:
    stays = not name or "::" in name or "://" in name or name.startswith("~")
    return name if stays or _is_below(name, _TRAININGS) else os.path.normpath(folder / name)


def _is_below(name: str, *folders: str) -> bool:
    return any(Path(name).is_relative_to(folder) for folder in folders)
