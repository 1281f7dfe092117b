"""Seeding by position: random numbers depend on where training is, not on what ran before.

mmengine seeds once, at the start of a run. A run that resumes would repeat the random numbers of
its first epochs, and its worker processes draw the same ones in every epoch unless they persist.
Here the generators are seeded anew for each batch of data and each iteration, from the run's seed
and their numbers. So a resumed run continues as if it had not stopped, with any number of workers.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader

from kd_engine.resume.position import KEY, Position, note_of

_EPOCH, _ITERATION, _BATCH, _VALIDATION = range(4)  # what is numbered


def seed_all(*numbers: int) -> None:
    """Seed Python, NumPy and torch, on the CPU and on the GPUs in use.

    Args:
        numbers: Not negative; other numbers give other random numbers.
    """
    words = np.random.SeedSequence(numbers).generate_state(4, np.uint32).tolist()
    random.seed(words[0])
    np.random.seed(words[1])
    wide = words[2] << 32 | words[3]
    torch.default_generator.manual_seed(wide)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(wide)


class SeededBatch(list[int]):
    """Indices of a batch; iterating over them seeds the process, which loads the data."""

    def __init__(self, indices: Any, numbers: tuple[int, ...]) -> None:
        super().__init__(indices)
        self.numbers = numbers

    def __iter__(self) -> Iterator[int]:
        """Seed, then go through the indices."""
        seed_all(*self.numbers)
        return super().__iter__()

    def __reduce__(self) -> Any:
        return SeededBatch, (self[:], self.numbers)


class SeededBatches:
    """A batch sampler whose batches are seeded by their number; otherwise the one that it wraps.

    Args:
        batches: The batch sampler.
        seed: The run's seed.
        skip: Batches of the first epoch that were trained before the run resumed.
    """

    def __init__(self, batches: Any, seed: int, skip: int = 0) -> None:
        self.batches = batches
        self.seed = seed
        self.skip = skip
        self.epoch = 0
        self.number = 0

    def start_epoch(self, epoch: int) -> None:
        """Count batches from 0 again, unless workers have already begun this epoch."""
        if epoch != self.epoch:
            self.epoch, self.number = epoch, 0

    def start_at(self, number: int) -> None:
        """Note that the sampler itself has left out some batches."""
        self.number = number

    def __iter__(self) -> Iterator[SeededBatch]:
        """Yield the indices of the batches."""
        batches = iter(self.batches)
        while self.skip:
            self.skip -= 1
            self.number += 1
            next(batches, None)
        for indices in batches:
            where = (self.seed, _BATCH, get_rank(), self.epoch, self.number)
            self.number += 1
            yield SeededBatch(indices, where)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __getattr__(self, name: str) -> Any:
        if name == "batches":  # not there yet while it is unpickled
            raise AttributeError(name)
        return getattr(self.batches, name)


class SeedHook(Hook):  # type: ignore[misc]
    """Hook that seeds epochs, iterations, training batches and validations by their numbers.

    A checkpoint gets a note of where in its epoch it was saved. A run that resumes within an epoch
    leaves out the batches that it has had.

    Args:
        position: Position of the checkpoint that the run resumes from.

    Attributes:
        in_epoch: Batches of the present epoch that were trained.
    """

    priority = "VERY_HIGH"

    def __init__(self, position: Position | None = None) -> None:
        self.position = position
        self._batches: SeededBatches | None = None
        self.in_epoch = 0

    def before_train(self, runner: Any) -> None:
        """Wrap the batch sampler of the data loader.

        Raises:
            ValueError: If the run resumes within an epoch that has another length now.
        """
        loop, loader = runner.train_loop, runner.train_loop.dataloader
        if self.position is not None and not isinstance(loop, IterBasedTrainLoop):
            self.in_epoch = self.position.trained_batches(len(loader))
        if not isinstance(loader, DataLoader) or loader.batch_sampler is None:
            return
        self._batches = SeededBatches(loader.batch_sampler, runner.seed, self.in_epoch)
        _note_skips(loader, self._batches)
        # DataLoader refuses a new sampler by plain assignment: its iterator may be running.
        object.__setattr__(loader, "batch_sampler", self._batches)
        if (begun := getattr(loop, "dataloader_iterator", None)) is not None:
            loop.dataloader_iterator = _begun_anew(begun, loader, self._batches)

    def before_train_epoch(self, runner: Any) -> None:
        """Seed the samplers and others that draw while an epoch starts."""
        seed_all(runner.seed, _EPOCH, runner.epoch)
        if self._batches is not None:
            self._batches.start_epoch(runner.epoch)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the random numbers of the model's step."""
        seed_all(runner.seed, _ITERATION, runner.iter)

    def after_train_iter(self, *_: Any, **__: Any) -> None:
        """Count the batch."""
        self.in_epoch += 1

    def after_train_epoch(self, runner: Any) -> None:
        """Restart the count; the checkpoint of the epoch is saved after this."""
        self.in_epoch = 0

    def before_val_epoch(self, runner: Any) -> None:
        """Seed a validation by the number of iterations before it."""
        seed_all(runner.seed, _VALIDATION, runner.iter)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Note the position at which the checkpoint is saved."""
        with contextlib.suppress(TypeError):  # data without a length has no epochs
            batches = len(runner.train_loop.dataloader)
            checkpoint["meta"][KEY] = note_of(batches, self.in_epoch)


def _begun_anew(begun: Any, loader: DataLoader[Any], batches: SeededBatches) -> Any:
    """Replace the iterator of an iteration-based loop: upstream's has begun without seeds."""
    inner = getattr(begun, "_iterator", None)
    if inner is not None:
        if hasattr(inner, "_shutdown_workers"):
            inner._shutdown_workers()
        loader._iterator = None  # where persistent workers are kept
        samplers: tuple[Any, ...] = (loader.sampler, batches.batches)
        for sampler in samplers:
            if hasattr(sampler, "_indices_of_rank"):  # its one generator ends with the iterator
                sampler.indices = sampler._indices_of_rank()
    return type(begun)(loader)


def _note_skips(loader: DataLoader[Any], batches: SeededBatches) -> None:
    """Learn of the samples that mmengine's iteration loop leaves out through the sampler."""
    sampler, size = loader.sampler, loader.batch_size
    skip = getattr(sampler, "skip", None)
    if skip is None or not size:
        return

    def noted(samples: int) -> None:
        skip(samples)
        batches.start_at(samples // size)

    sampler.skip = noted  # type: ignore[attr-defined]
