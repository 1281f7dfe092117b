"""Files of an exported student: its weights, and the plain config next to them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from kd_engine.outputs import check_outputs

_MARK = "# A student that kdkit export took out of its distillation."
_SPECIAL = '"$`\\!'  # of a shell, between double quotes


def export_files(out: str) -> tuple[Path, Path]:
    """Return the paths of the weights and of the config of an export to ``out``."""
    return Path(out), Path(out).with_suffix(".py")


def check_export_files(out: str, inputs: Iterable[str | None], overwrite: bool = False) -> None:
    """Require that an export may write its files; only an exported config is ever replaced.

    Args:
        out: File of the weights; the config goes next to it.
        inputs: Files that the command reads.
        overwrite: Replace an earlier export.

    Raises:
        ValueError: If one of the two is an input, or the config is in the place of another one.
        OSError: If the weights are there already, as :func:`check_outputs` says.
    """
    weights, plain = export_files(out)
    if plain.is_file() and not is_exported_config(plain):
        raise ValueError(
            f"{weights} and the exported student's config {plain} are written side by side, but "
            f"{plain} is a config that no export has made. It is never replaced; choose another "
            f"name for the output, such as {weights.with_stem(f'{weights.stem}_alone')}."
        )
    check_outputs((weights,), inputs, overwrite)
    check_outputs((plain,), inputs, overwrite=True)  # wants_config compares what it holds


def wants_config(plain: Path, text: str, overwrite: bool = False) -> bool:
    """Return whether an exported config must be written; one model may have weights of two kinds.

    Args:
        plain: Where it goes; what is there is an exported config.
        text: The text of the new one.
        overwrite: Replace that of another student.

    Raises:
        FileExistsError: If that of another student is there and is not to be replaced.
    """
    if plain.is_file() and _body(plain.read_text(encoding="utf-8")) == _body(text):
        return False
    check_outputs((plain,), (), overwrite)
    return True


def exported_config(text: str, usage: str) -> str:
    """Return the text of an exported config: a mark, how the student is used, and the config."""
    return "\n".join([_MARK, *(f"# {line}" for line in usage.splitlines()), "", text])


def is_exported_config(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a config that an export has written."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\r\n") == _MARK


def python_command(code: str) -> str:
    """Return a shell command that runs one line of Python; it is readable where it can be."""
    quoted = shlex.quote(code) if set(code) & set(_SPECIAL) else f'"{code}"'
    return f"python -c {quoted}"


def kdkit_command(*arguments: str) -> str:
    """Return a shell command that runs a subcommand of kdkit."""
    return shlex.join(["kdkit", *arguments])


def _body(text: str) -> str:
    return text.partition("\n\n")[2]
