"""Config files: read with errors that name the file and the line, and YAML without code.

A Python config is a program and runs when it is read. YAML and JSON configs hold data alone:
mmengine's own YAML loader would build any Python object that a tag names, so it is replaced.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import yaml
from mmengine.config import Config, ConfigDict
from mmengine.fileio import register_handler
from mmengine.fileio.handlers.pickle_handler import PickleHandler
from mmengine.fileio.handlers.yaml_handler import YamlHandler

from kd_engine.config.builtin import SCOPE, config_path, no_such_builtin
from kd_engine.config.compose import ComposedConfig, find_composed
from kd_engine.config.paths import (
    installed_path,
    read_composed,
    shown_path,
    use_path_rule,
)

_SUFFIXES = (".py", ".json", ".yaml", ".yml")


class ConfigError(ValueError):
    """Error of a config file that cannot be read."""


class SafeYamlHandler(YamlHandler):  # type: ignore[misc]
    """YAML reader of mmengine, except that a tag cannot build a Python object."""

    def load_from_fileobj(self, file: IO[Any], **kwargs: Any) -> Any:
        """Read plain values from an open YAML file."""
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class NoPickleHandler(PickleHandler):  # type: ignore[misc]
    """Pickle handler of mmengine that only writes: reading a pickle can run any code."""

    def load_from_fileobj(self, file: IO[Any], **kwargs: Any) -> Any:
        """Refuse to read.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "a data file must not be a pickle (.pkl, .pickle), because reading one can run any "
            "code. Save its content as JSON and name that file in the config."
        )


def use_safe_files() -> None:
    """Make mmengine read YAML as plain values and no pickle at all, in this whole process."""
    register_handler(["yaml", "yml"])(SafeYamlHandler)
    register_handler(["pickle", "pkl"])(NoPickleHandler)


def require_config(name: str) -> None:
    """Require that there is a config of this name; it is not read yet.

    Args:
        name: As for :func:`read_config`.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If it belongs to a package that is not installed, or is of another kind.
    """
    if find_composed(name) is None:
        _existing(name)


def read_config(name: str) -> Config:
    """Read a config file, a composed config, a built-in one, or one of another package.

    Paths in it are made absolute, as :mod:`kd_engine.config.paths` says.

    Args:
        name: A file, a method with a dataset as :mod:`kd_engine.config.compose` composes them,
            ``kdkit::...`` or ``mmdet::...``.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If it, or a file that it inherits, cannot be read; names file and line.
        ImportError: If a package that it imports is not installed or does not import.
    """
    use_safe_files()
    use_path_rule()
    composed = find_composed(name)
    if composed is None:
        name = installed_path(_existing(name))
    try:
        if composed:
            return _read_composed(composed)
        return _of_package(name) if "::" in name else Config.fromfile(name)
    except ImportError as error:
        raise ImportError(f"{_place(name, error)}: {_import_reason(error)}") from error
    except Exception as error:  # a Python config can raise anything
        raise ConfigError(f"{_place(name, error)}: {_reason(error)}") from error


def _read_composed(composed: ComposedConfig) -> Config:
    """Read a composed config; its filename names copies of it: the method's with the dataset."""
    values, text, variables = read_composed(composed)
    filename = str(composed.method.with_name(f"{composed.name}.py"))
    return Config(values, cfg_text=text, filename=filename, env_variables=variables)


def _of_package(name: str) -> Config:
    from mmengine.hub import get_config  # imports mmengine's runner, a second

    return get_config(name)


def _existing(name: str) -> str:
    """Return the path of a config's name, or the name in another package; both must exist."""
    path = config_path(name)
    if "::" in path:
        _require_scope(path)
    elif not Path(path).is_file():
        if name.startswith(SCOPE):
            raise FileNotFoundError(no_such_builtin(name))
        raise FileNotFoundError(
            f"there is no config file {shown_path(name)}. Paths are relative to the folder from "
            "which the command runs, and in a config file to its own folder; configs of installed "
            "packages are written 'kdkit::...' and 'mmdet::...'." + _nearest_file(Path(name))
        )
    elif Path(path).suffix not in _SUFFIXES:
        raise ConfigError(f"a config must end in {', '.join(_SUFFIXES)}, but it is {name}.")
    return path


def _require_scope(name: str) -> None:
    """Require that ``package::config`` names an installed package; mmengine would install one."""
    from importlib.util import find_spec

    package = name.split("::")[0]
    if not package.isidentifier() or find_spec(package) is None:
        raise ConfigError(
            f"{name} names a config of the package {package!r}, which is not installed. Install "
            "it, or give a file."
        )


def _place(name: str, error: Exception) -> str:
    """Name the file that failed, which may be one that ``name`` inherits, and its line."""
    file, line = name, None
    written = method = ""  # of a composed config: a file that is gone, and what it was made from
    for code_file, function, code_line, variables in _frames(error.__traceback__):
        if function == "read_composed":
            written, method = str(variables["file"]), str(variables["composed"].method)
        elif function == "_file2dict" or function == "_parse_lazy_import":
            file, line = str(variables.get("filename", file)), None
        elif code_file == file or Path(code_file) == Path(file).absolute():
            line = code_line
    if isinstance(error, SyntaxError):
        line = error.lineno
    file = method if file == written else file
    return f"config {shown_path(os.path.abspath(file))}" + (f", line {line}" if line else "")


def _frames(
    traceback: TracebackType | None,
) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield code.co_filename, code.co_name, traceback.tb_lineno, traceback.tb_frame.f_locals
        traceback = traceback.tb_next


def _reason(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        shown = f" near {error.text.strip()!r}" if error.text else ""
        return f"the syntax is wrong{shown} ({error.msg}). Correct it."
    if isinstance(error, yaml.YAMLError):
        text = " ".join(str(error).split())
        return f"it must be plain YAML without tags of Python objects ({text})."
    if isinstance(error, KeyError) or _lacks_name(error):
        lost = error.name if isinstance(error, AttributeError) else error.args[0]
        return f"{lost!r} is not there. A name after '_base_.' must be set in an inherited config."
    if isinstance(error, FileNotFoundError):
        return f"{error}. Correct the path; '_base_' is relative to the config's own folder."
    if isinstance(error, UnicodeDecodeError):
        return f"it must be UTF-8 text ({error}). Save it as UTF-8."
    return f"{type(error).__name__}: {error}"


def _lacks_name(error: Exception) -> bool:
    """Return whether an error is that of ``_base_.name``, which no inherited config sets."""
    return isinstance(error, AttributeError) and isinstance(error.obj, ConfigDict)


def _import_reason(error: ImportError) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    return f"an import failed ({cause}). Install what it names, or set PYTHONPATH to its folder."


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    names = [entry.name for entry in path.parent.iterdir() if entry.suffix in _SUFFIXES]
    wanted = path.name.split("+")[0]
    wanted = wanted if Path(wanted).suffix in _SUFFIXES else f"{wanted}.py"
    nearest = difflib.get_close_matches(wanted, names, n=3)
    found = ", ".join(str(path.parent / name) for name in nearest)
    return f" Nearest files: {found}." if found else ""
