"""Output files of a command: files that it did not make are never replaced."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config

from kd_engine.config.text import texts_in

_File = str | os.PathLike[str] | None


def check_outputs(
    outputs: Iterable[_File], inputs: Iterable[_File] = (), overwrite: bool = False
) -> None:
    """Require that a command may write its files; call it before anything slow.

    Args:
        outputs: Files to write; ``None`` is left out.
        inputs: Files that the command reads, URLs and ``None`` among them. They are never replaced.
        overwrite: Whether the user wants to replace existing files.

    Raises:
        ValueError: If an output is an input, or two outputs are one file.
        IsADirectoryError: If an output is a folder.
        FileExistsError: If an output is there already and ``overwrite`` is not wanted.
    """
    read = [str(path) for path in inputs if path]
    written: list[str] = []
    for path in (str(one) for one in outputs if one):
        if same := [one for one in read if _is_same(path, one)]:
            raise ValueError(
                f"a command must not replace what it reads, but {path} is to be written and is "
                f"read as {same[0]}. Choose another name for the output."
            )
        if any(_is_same(path, one) for one in written):
            raise ValueError(
                f"two outputs must be two files, but {path} is to be written twice. Choose "
                "another name for one of them."
            )
        written.append(path)
        if os.path.isdir(path):
            raise IsADirectoryError(f"{path} must be a file to write, but it is a folder.")
        if os.path.lexists(path) and not overwrite:
            raise FileExistsError(
                f"{path} is there already and would be replaced. Choose another name, move the "
                "file away, or add --overwrite."
            )


def files_of(config: Config) -> list[str]:
    """List the local files that a config is made of or names: bases, checkpoints, annotations."""
    lines = config.text.splitlines() if config.text else []
    named = [config.filename, *lines, *texts_in(config.to_dict())]
    return [path for path in dict.fromkeys(named) if path and _is_file(path)]


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a text too long for a name, or with a null byte
        return False


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them is not there
        return os.path.realpath(one) == os.path.realpath(other)
