"""What must be trained before a config: its teacher, or the networks of its first phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_engine.child_run import run_child


def references_of(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the trained models that a model config refers to.

    Args:
        model: Model config; what refers is a ``dict(config=, checkpoint=)`` or a list of them.

    Yields:
        The key, such as ``teacher`` or ``peers.0``, and the reference.
    """
    for key, value in model.items():
        many = isinstance(value, list | tuple)
        for number, item in enumerate(value if many else [value]):
            if isinstance(item, Mapping) and {"config", "checkpoint"} <= set(item):
                yield f"{key}.{number}" if many else key, item


def require_trained(config: Config) -> None:
    """Stop if a checkpoint that the config refers to is a local file that is missing.

    Raises:
        FileNotFoundError: Says how to get it.
    """
    for name, reference in references_of(config.model):
        path, source = reference["checkpoint"], reference["config"]
        if not _is_missing(path):
            continue
        training = f": python tools/train.py {source}" if isinstance(source, str) else ""
        raise FileNotFoundError(
            f"{name} is trained before this, but its checkpoint {path} is missing. Train the "
            f"{name} first{training}, let --with-teacher do it, or name another one: "
            f"--cfg-options model.{name}.checkpoint=FILE_OR_URL"
        )


def train_missing(config: Config, program: str) -> None:
    """Train to the end what the config refers to and is missing, or go on where that stopped.

    Each is a run of its own in the folder that its checkpoint is to lie in, and trains first what
    it needs itself. So a chain of phases is one command, and stops and goes on anywhere.

    Args:
        config: The run's config.
        program: The file ``tools/train.py``.

    Raises:
        ValueError: If something that is missing is no config file, or the run is distributed.
        SystemExit: If a training fails.
    """
    for name, reference in references_of(config.model):
        path, source = reference["checkpoint"], reference["config"]
        if not _is_missing(path):
            continue
        if config.launcher != "none" or not isinstance(source, str) or "::" in source:
            raise ValueError(
                f"--with-teacher trains what is a config file, in one process, but {name} is "
                f"{source!r} and the launcher {config.launcher!r}. Train it before."
            )
        work_dir = str(Path(path).parent)
        code = run_child([program, source, "--resume", "--with-teacher", "--work-dir", work_dir])
        if code:
            raise SystemExit(code)


def _is_missing(path: str | None) -> bool:
    return bool(path) and "://" not in str(path) and not Path(str(path)).expanduser().is_file()
