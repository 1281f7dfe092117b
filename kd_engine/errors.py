"""Errors that end a command: one sentence each; the traceback goes to the log.

Our own errors state rule, values and remedy. Those of mmengine, mmdet, torch and Python often do
not, so the most common ones are rephrased here, with the nearest names.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import logging
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.logging import MMLogger
from mmengine.registry import root
from rich.console import Console
from rich.text import Text

_OURS = (ValueError, OSError, ImportError, FloatingPointError)
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
_LONGEST = 2000  # characters of a foreign message
_UNKNOWN_TYPE = re.compile(r"(\S+) is not in the (\S+)::(.+?) registry")
_UNKNOWN_ARGUMENT = re.compile(
    r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'"
)
_NO_ARGUMENT = re.compile(r"(\w+)(?:\.__init__)?\(\) missing \d+ required .* arguments?: (.+)")
_NO_ATTRIBUTE = re.compile(r"'(?:ConfigDict|Config)' object has no attribute '(\w+)'")
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory")


@contextlib.contextmanager
def clear_errors(interrupted: str = "interrupted") -> Iterator[None]:
    """End a command with one message; ``KD_TRACEBACK=1`` shows where the error arose.

    Where a run has a log file, the traceback is written there.

    Args:
        interrupted: Message after an interrupt from the keyboard.

    Raises:
        SystemExit: With code 1 after an error, 130 after an interrupt.
        BrokenPipeError: If the reader of the output is gone.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        print(f"\n{interrupted}", file=sys.stderr)
        raise SystemExit(130) from error
    except Exception as error:
        if os.environ.get("KD_TRACEBACK") or _has_no_reader(error):
            raise
        label = Text.assemble(("error:", "bold red"), f" {explain(error)}{_where(error)}")
        Console(stderr=True, soft_wrap=True).print(label)  # colored on a terminal alone
        raise SystemExit(1) from error


def _has_no_reader(error: Exception) -> bool:
    if not isinstance(error, BrokenPipeError):
        return False
    try:
        print(flush=True)
    except BrokenPipeError:  # ``| head`` has seen enough; the command group ends quietly
        return True
    return False


def explain(error: BaseException) -> str:
    """Return what is wrong, and the remedy where one is known.

    Args:
        error: An error with its traceback.

    Returns:
        The error's own message where that is a sentence, or one that says the same in words.
    """
    return _in_words(error) or _foreign(error)


def unknown_type(name: str, registry: str) -> str:
    """Return a message that a type of a config is not known, with the nearest names.

    Args:
        name: The type as the config has it, with or without its module.
        registry: Name of mmengine's registry, such as "model" or "data sampler".
    """
    package = name.rpartition(".")[0]
    if package and (reason := _import_error(name)):
        return f"type {name!r} cannot be imported: {reason}"
    rule = (
        f"type {name!r} is none of {package}."
        if package
        else f"type {name!r} is not known as a {registry}."
    )
    hint = nearest_names(name, _known_types(name, registry), show_all=False)
    return f"{rule}{hint} Correct it, or name its module in custom_imports."


def nearest_names(name: str, known: Collection[str], show_all: bool = True) -> str:
    """Return a sentence with the nearest of some names, or with all if none is near.

    Args:
        name: The name that was written.
        known: The names that exist.
        show_all: Whether to name all where none is near.
    """
    nearest = difflib.get_close_matches(name, sorted(known), n=3)
    if nearest:
        return f" Nearest names: {', '.join(nearest)}."
    shown = sorted(set(known) - {"self", "args", "kwargs"}) if show_all else []
    return f" It has: {', '.join(shown)}." if shown else ""


def _in_words(error: BaseException) -> str:
    """Return the text of our own error, or of a foreign one that is known here, otherwise ""."""
    text = _text(error)
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return f"{error.filename}: {error.strerror}. Correct the path, or its permissions."
    if _is_ours(error) and text:
        cause = error.__cause__
        if cause is not None and str(cause) and text.endswith(str(cause)):
            return text[: -len(str(cause))] + explain(cause)
        return text
    if of_config := _of_config(error, text):
        return of_config
    if any(words in text.lower() for words in _OUT_OF_MEMORY):
        return f"the memory is used up ({_shortened(text)}). Lower the batch size or image size."
    return ""


def _text(error: BaseException) -> str:
    """Return an error's message; a KeyError's own str() would quote it."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _is_ours(error: BaseException) -> bool:
    """Return whether the error was raised in this project, or is one that a test has made."""
    if not isinstance(error, _OURS):
        return False
    frames = [*_frames(error)]
    if not frames:
        return True
    module, file = frames[-1].f_globals.get("__name__", ""), frames[-1].f_code.co_filename
    return str(module).startswith("kd") or not file.startswith(_LIBRARIES)


def _of_config(error: BaseException, text: str) -> str:
    """Return a clear text for an error of mmengine or Python about a config, otherwise ""."""
    if found := _UNKNOWN_TYPE.search(text):
        return unknown_type(found[1], found[3])
    if found := _UNKNOWN_ARGUMENT.search(text):
        hint = nearest_names(found[2], _parameters(_built(error, found[1])))
        return f"{found[1]} has no setting {found[2]!r}.{hint} Correct the config."
    if found := _NO_ARGUMENT.search(text):
        return f"{found[1]} needs {found[2]}, which the config does not set. Add it."
    if found := _NO_ATTRIBUTE.search(text):
        return f"the config must set {found[1]!r}, but it does not. Add it."
    if 'must contain the key "type"' in text:
        return f"a part of the config must say its 'type', but it does not: {text[-300:]}"
    return ""


def _import_error(name: str) -> ImportError | None:
    """Return why a dotted name cannot be imported; mmengine reports it as an unknown name."""
    package, _, own = name.rpartition(".")
    try:
        getattr(importlib.import_module(package), own, None)
    except ImportError as error:
        return error
    return None


def _known_types(name: str, registry: str) -> set[str]:
    """Return names that may be meant: those of the module, or of all registries of a kind."""
    package = name.rpartition(".")[0]
    if package:
        module = importlib.import_module(package)
        own = [k for k, value in vars(module).items() if callable(value) and k[0] != "_"]
        return {f"{package}.{key}" for key in getattr(module, "__all__", own)}
    kinds = [item for item in vars(root).values() if getattr(item, "name", None) == registry]
    return {known for kind in kinds for known in _names(kind)}


def _names(registry: Any) -> Iterable[str]:
    yield from registry.module_dict
    for child in registry.children.values():
        yield from _names(child)


def _parameters(built: Any) -> list[str]:
    try:
        return list(inspect.signature(built).parameters)
    except (TypeError, ValueError):
        return []


def _built(error: BaseException, name: str = "") -> Any:
    """Return the class or function that mmengine was building when the error arose.

    Args:
        error: The error.
        name: Only one of this name.
    """
    found = None
    for frame in _frames(error):
        if frame.f_code.co_name == "build_from_cfg":
            built = frame.f_locals.get("obj_cls")
            if not name or getattr(built, "__name__", "") == name:
                found = built if built is not None else found
    return found


def _foreign(error: BaseException) -> str:
    text = _text(error)
    if text.startswith("Caught ") and "\n" in text:  # from a worker of a data loader
        text = text.strip().splitlines()[-1]
    built = getattr(_built(error), "__name__", "")
    place = f" while {built} was made" if built else ""
    if not text and (lines := traceback.extract_tb(error.__traceback__)):
        text = f"{lines[-1].line} ({Path(lines[-1].filename).name}, line {lines[-1].lineno})"
    return f"{type(error).__name__}{place}: {_shortened(text)}"


def _shortened(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _frames(error: BaseException) -> Iterator[FrameType]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield frame


def _where(error: Exception) -> str:
    """Write the traceback to the run's log; return where it is, unless the message is our own."""
    files = _log_traceback(error)
    if _in_words(error):
        return ""
    kept = f"is in {files[0]}; KD_TRACEBACK=1 shows it here" if files else "shows: KD_TRACEBACK=1"
    return f"\nThe traceback {kept}."


def _log_traceback(error: Exception) -> list[str]:
    if not MMLogger._instance_dict:  # no run has begun; making a logger would import torch
        return []
    logger = MMLogger.get_current_instance()
    handlers = [one for one in logger.handlers if isinstance(one, logging.FileHandler)]
    text = "".join(traceback.format_exception(error))
    for handler in handlers:
        handler.emit(logging.LogRecord(logger.name, logging.ERROR, "", 0, text, None, None))
    return [os.path.relpath(handler.baseFilename) for handler in handlers]
