"""Built-in configs: found from any folder as ``kdkit::cls/kd.py``, listed, and copied.

An installed kdkit has them in its package; a checkout has them in its folder ``configs``. This
module imports neither mmengine nor torch at its top, so that listing them is fast.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SCOPE = "kdkit::"
DATASET_BASE = re.compile(
    r"""^_base_ *= *(["'])(?P<base>(?:[^"'\n]*/)?data/[^"'/\n]+\.py)\1""", re.MULTILINE
)
_PARTS = ("_base_", "data")  # folders whose files are parts of configs


@dataclass(frozen=True)
class BuiltinConfig:
    """A config that comes with kdkit.

    Attributes:
        name: ``kdkit::<folders>/<file>``, as every command takes it.
        summary: First line of its docstring; "" if it has none.
    """

    name: str
    summary: str


def configs_folder() -> Path:
    """Return the folder of the built-in configs."""
    root = Path(__file__).resolve().parents[2]
    installed = root / "kdkit" / "configs"
    return installed if installed.is_dir() else root / "configs"


def config_path(name: str) -> str:
    """Return the path of a config's name.

    Args:
        name: Any name of a config; ``kdkit::...`` is one of ours, with or without ``.py``, and
            with or without ``+DATASET``.

    Returns:
        The path of a built-in config, whether it exists or not; any other name as it is.
    """
    if not name.startswith(SCOPE):
        return name
    path = configs_folder() / name.removeprefix(SCOPE)
    with_suffix = Path(f"{path}.py")
    return str(with_suffix if with_suffix.is_file() else path)


def builtin_name(path: str | os.PathLike[str]) -> str | None:
    """Return the name ``kdkit::...`` of a file, or None if it is not among the built-in configs."""
    file = Path(os.path.abspath(path)).resolve()
    folder = configs_folder()
    return SCOPE + file.relative_to(folder).as_posix() if file.is_relative_to(folder) else None


def own_dataset(method: Path) -> Path | None:
    """Return the dataset's file that a method inherits, or None if a config is not a method."""
    if method.suffix != ".py":
        return None
    found = DATASET_BASE.search(method.read_text(encoding="utf-8"))
    return Path(method.parent, config_path(found["base"])) if found else None


def no_such_builtin(name: str) -> str:
    """Return a message that there is no built-in config of this name, with the nearest.

    Args:
        name: ``kdkit::...``.
    """
    wanted = name.removesuffix(".py")
    known = [one.name.removesuffix(".py") for one in list_configs()]
    nearest = difflib.get_close_matches(wanted, known, n=3)
    hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
    return f"there is no built-in config {name}.{hint} 'kdkit configs' lists them."


def list_configs(word: str | None = None) -> list[BuiltinConfig]:
    """List the built-in configs that run, in the order of their names.

    Args:
        word: Only those that have it in name or summary, in small or capital letters; where it is
            in the name of a dataset, the methods on that dataset.
    """
    folder = configs_folder()
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    found = [
        BuiltinConfig(SCOPE + name, _summary(folder / name))
        for name in names
        if not set(_PARTS) & set(name.split("/"))
    ]
    if not word:
        return found
    chosen = [one for one in found if word.lower() in f"{one.name} {one.summary}".lower()]
    composed = [one for one in list_composed() if word.lower() in one.name.partition("+")[2]]
    return sorted([*chosen, *composed], key=lambda one: one.name)


def list_composed() -> list[BuiltinConfig]:
    """List each built-in method on each dataset of its own, ``kdkit::cls/kd+digits``."""
    return [
        BuiltinConfig(f"{method.name.removesuffix('.py')}+{dataset.stem}", method.summary)
        for method in list_configs()
        if (own := own_dataset(Path(config_path(method.name))))
        for dataset in sorted(own.parent.glob("*.py"))
    ]


def copy_config(name: str, folder: str | os.PathLike[str] = ".") -> Path:
    """Copy a built-in config to a folder, where it works the same: ``_base_`` is named in full.

    Args:
        name: ``kdkit::...``; the scope may be left out.
        folder: Where the copy goes, under the config's own file name.

    Returns:
        The copy.

    Raises:
        FileNotFoundError: If there is no such config; names the nearest.
        FileExistsError: If a file of that name is in the folder.
    """
    name = SCOPE + name.removeprefix(SCOPE)
    source, text = _source(name)
    target = Path(folder, source.name)
    if target.exists():
        raise FileExistsError(
            f"a copy must not replace a file of yours, but {target} exists. Name another folder, "
            "or move that file away."
        )
    own = (builtin_name(source) or name).removeprefix(SCOPE)
    target.parent.mkdir(parents=True, exist_ok=True)
    from kd_core.checkpoint.atomic import write_whole  # its package imports torch

    write_whole(target, _names_itself(_full_bases(text, source), own, target).encode())
    return target


def _source(name: str) -> tuple[Path, str]:
    """Return a config's file and text; those of a composed one have its dataset in them."""
    path = Path(config_path(name))
    if path.is_file():
        return path, path.read_text(encoding="utf-8")
    from kd_engine.config.compose import find_composed  # imports mmengine, which takes seconds

    composed = find_composed(name)
    if composed is None:
        raise FileNotFoundError(no_such_builtin(name))
    return composed.method.with_name(f"{composed.name}.py"), composed.text


def _summary(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def _full_bases(text: str, source: Path) -> str:
    """Write each relative ``_base_`` of a config as ``kdkit::...``."""
    lines = text.splitlines(keepends=True)
    for place in sorted(_bases(text), key=lambda one: (one.lineno, one.col_offset), reverse=True):
        base = str(place.value)
        full = None if "::" in base else builtin_name(source.parent / base)
        if full is not None:
            line = lines[place.lineno - 1].encode()
            line = line[: place.col_offset] + f'"{full}"'.encode() + line[place.end_col_offset :]
            lines[place.lineno - 1] = line.decode()
    return "".join(lines)


def _bases(text: str) -> Iterator[ast.Constant]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_base_":
            for inner in ast.walk(node.value):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield inner


def _names_itself(text: str, own: str, target: Path) -> str:
    """Let the command in the first line name the copy."""
    first, end, rest = text.partition("\n")
    if first.startswith("#"):
        name = re.escape(own.removesuffix(".py"))
        pattern = rf"(?<=\s)(?:{SCOPE}|configs/)?{name}(?:\.py|\+\w+)?(?=\s|$)"
        first = re.sub(pattern, lambda _: target.name, first, count=1)
    return first + end + rest
