"""Base class of methods whose weights follow the epoch."""

from __future__ import annotations

import math

from kd_core.methods.base import NetworksDistiller


class EpochsDistiller(NetworksDistiller):
    """A student and other networks, compared by weights that follow the epoch.

    A run of ``kdkit train`` says how long an epoch and the run are; in a loop of your own call
    ``set_run_length(epoch_length, total)`` before training.
    """

    _length: tuple[int, int | None] | None = None  # iterations of an epoch and of the run

    def set_run_length(self, epoch_length: int, total: int | None = None) -> None:
        """Keep the lengths."""
        self._length = epoch_length, total

    def epoch(self, iteration: int) -> int:
        """Return the epoch of an iteration, both counted from 0.

        Raises:
            ValueError: If the length of an epoch is not known.
        """
        return iteration // self._known()[0]

    def epochs(self) -> int:
        """Return the number of epochs of the run.

        Raises:
            ValueError: If the length of the run is not known.
        """
        epoch_length, total = self._known()
        if total is None:
            raise ValueError(
                f"{type(self).__name__} needs the length of the run, but it is not known. Give "
                "set_run_length a total."
            )
        return max(math.ceil(total / epoch_length), 1)

    def ramp(self, iteration: int, epochs: float) -> float:
        """Return exp(-5 * (1 - epoch / epochs)^2), and 1 from the last of these epochs on.

        Args:
            iteration: Counted from 0.
            epochs: How long the ramp is; 0 for none.
        """
        if not epochs:
            return 1.0
        return math.exp(-5 * max(1 - self.epoch(iteration) / epochs, 0) ** 2)

    def _known(self) -> tuple[int, int | None]:
        if self._length is None:
            raise ValueError(
                f"{type(self).__name__} needs the length of an epoch, but it is not known. Call "
                "its set_run_length(epoch_length, total) before training (a run of kdkit train "
                "does)."
            )
        return self._length
