"""Missing files of weights: the command that fetches or trains them."""

from __future__ import annotations

from pathlib import Path

from kd_engine.config.builtin import SCOPE
from kd_engine.config.compose import is_file_here
from kd_engine.data.download.public import missing_data_message
from kd_engine.data.download.weight_sets import FETCHED_WEIGHTS


def require_weights(path: str) -> None:
    """Stop if a file of weights is missing that kdkit knows how to get.

    Args:
        path: A path or an address; nothing is said of addresses, and of files of other origins.

    Raises:
        FileNotFoundError: If nothing is there; names the command.
    """
    file = Path(path)
    if "://" in path or file.exists():
        return
    if file.name in FETCHED_WEIGHTS:
        raise FileNotFoundError(missing_data_message(file))
    _, below, config = file.parent.as_posix().rpartition("work_dirs/")
    if below and is_file_here(f"{SCOPE}{config}"):
        raise FileNotFoundError(
            f"{path} is missing: the training of {SCOPE}{config} writes it, and comes first. "
            f"Run: kdkit train {SCOPE}{config} - or name another checkpoint."
        )
