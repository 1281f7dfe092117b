"""Position of a checkpoint: its epoch, its iteration, and the batches within its epoch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size
from mmengine.logging import print_log

KEY = "kdkit"  # of a checkpoint's meta


@dataclass(frozen=True)
class Position:
    """Position in training at which a checkpoint was saved.

    Attributes:
        path: The checkpoint.
        epoch: Whole epochs that were trained.
        iteration: Iterations that were trained.
        in_epoch: Batches of the next epoch that were trained, if the file says so.
        batches: Batches of an epoch, if the file says so.
        processes: Processes that trained, if the file says so.
    """

    path: str
    epoch: int
    iteration: int
    in_epoch: int | None = None
    batches: int | None = None
    processes: int | None = None

    @classmethod
    def of(cls, path: str, meta: Mapping[str, Any]) -> Position:
        """Read the position from a checkpoint's meta."""
        own = meta.get(KEY)
        own = own if isinstance(own, Mapping) else {}
        values = (own.get(key) for key in ("in_epoch", "batches", "processes"))
        known = [value if type(value) is int and value >= 0 else None for value in values]
        return cls(path, meta["epoch"], meta["iter"], *known)

    def trained_batches(self, batches: int) -> int:
        """Return how many batches of the resumed epoch were trained.

        Args:
            batches: Batches of an epoch now.

        Raises:
            ValueError: If that is within an epoch whose length has changed.
        """
        done = self.in_epoch
        if done is None:  # written by another program
            is_within = Path(self.path).name.startswith("iter_")
            done = self.iteration - self.epoch * batches if is_within else 0
        before = self.batches or (self.iteration // self.epoch if self.epoch else batches)
        if done and (before != batches if self.batches else not 0 < done <= batches):
            raise ValueError(
                f"{self.path} was saved at iteration {self.iteration}, within epoch "
                f"{self.epoch + 1}, but an epoch has another number of batches now ({batches}"
                f"{f', then {self.batches}' if self.batches else ''}). Resume with the data, batch "
                "size and number of processes of then, or from a checkpoint of a whole epoch."
            )
        if not done and before != batches:
            _warn(
                f"An epoch has {batches} batches now and had {before} when {self.path} was saved, "
                "so what is counted in iterations (schedules, warm-up) falls on other epochs."
            )
        if self.processes not in (None, get_world_size()):
            _warn(
                f"{self.path} was trained by {self.processes} process(es), and now there are "
                f"{get_world_size()}: a step has another number of images."
            )
        return done


def note_of(batches: int, in_epoch: int) -> dict[str, int]:
    """Return the note that a checkpoint's meta keeps under `KEY`."""
    return dict(batches=batches, in_epoch=in_epoch, processes=get_world_size())


def _warn(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)
