"""Sampler of batches that hold several images of each of their classes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


class MPerClassBatchSampler:
    """Batches of ``batch_size / samples_per_class`` classes, each with that many images.

    The classes are drawn in rounds: every class comes once before any comes again, so that an
    epoch covers every class. (pytorch-metric-learning's MPerClassSampler draws them anew for each
    batch, so that some may not come at all.) Of a class, every image comes before any comes again;
    a class with fewer images than ``samples_per_class`` repeats some within a batch. The order
    depends on the sampler's seed and epoch alone.

    Ranks take turns: batch i of an epoch belongs to rank ``i mod world size``. All ranks have
    equally many, and together they have exactly the batches of one epoch. By default that is as
    many as the images fill, rounded down to whole batches of all ranks, or as many as cover all
    classes if that is more.

    Args:
        sampler: mmengine's DefaultSampler of a dataset whose ``labels`` are int64 (n,).
        batch_size: Images of a batch.
        samples_per_class: Images of a class in a batch.
        num_batches: Batches of an epoch on each rank; None takes as many as the data fills. Too
            few do not cover all classes.

    Raises:
        ValueError: If the batch does not hold a whole number of classes, the data has fewer
            classes or several labels an image, or num_batches is not positive.
    """

    def __init__(
        self,
        sampler: Any,
        batch_size: int,
        samples_per_class: int,
        num_batches: int | None = None,
    ) -> None:
        if samples_per_class < 1 or batch_size < 1 or batch_size % samples_per_class:
            raise ValueError(
                "a batch must hold a whole number of classes, but batch_size is "
                f"{batch_size} and samples_per_class {samples_per_class}. Make the one a multiple "
                "of the other."
            )
        if num_batches is not None and num_batches < 1:
            raise ValueError(f"an epoch needs a batch, but num_batches is {num_batches}.")
        self.sampler = sampler
        self.batch_size = batch_size
        self.samples_per_class = samples_per_class
        self.members = _members(sampler.dataset)
        self.classes_per_batch = batch_size // samples_per_class
        if self.classes_per_batch > len(self.members):
            raise ValueError(
                f"a batch has {self.classes_per_batch} classes, but the data has only "
                f"{len(self.members)}. Take more samples_per_class or a smaller batch_size."
            )
        self.num_batches = self._fill() if num_batches is None else num_batches

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[int]]:
        seed = (getattr(self.sampler, "seed", 0) or 0, getattr(self.sampler, "epoch", 0))
        rng = np.random.default_rng(seed)
        world = getattr(self.sampler, "world_size", 1)
        rank = getattr(self.sampler, "rank", 0)
        classes = self._classes(rng)
        images = [_Deck(members, rng) for members in self.members]
        for number in range(self.num_batches * world):
            batch = [
                image
                for label in next(classes)
                for image in images[label].draw(self.samples_per_class)
            ]
            if number % world == rank:
                yield batch

    def _fill(self) -> int:
        world = getattr(self.sampler, "world_size", 1)
        total = sum(len(members) for members in self.members)
        covering = -(-len(self.members) // self.classes_per_batch)
        return max(-(-covering // world), total // (self.batch_size * world), 1)

    def _classes(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Deal classes in rounds; no batch has one twice."""
        left: deque[int] = deque()
        while True:
            batch = [left.popleft() for _ in range(min(self.classes_per_batch, len(left)))]
            if missing := self.classes_per_batch - len(batch):
                fresh = rng.permutation(len(self.members)).tolist()
                held = set(batch)  # the last of the round before: not twice in this batch
                added = [label for label in fresh if label not in held][:missing]
                batch += added
                held = set(added)
                left = deque(label for label in fresh if label not in held)
            yield batch


class _Deck:
    """The images of a class, dealt without repetition until all have come."""

    def __init__(self, members: NDArray[Any], rng: np.random.Generator) -> None:
        self.members, self.rng = members, rng
        self.left: list[int] = []

    def draw(self, count: int) -> list[int]:
        drawn: list[int] = []
        while len(drawn) < count:
            if not self.left:
                fresh = self.rng.permutation(self.members).tolist()
                later = [image for image in fresh if image in drawn]
                self.left = [image for image in fresh if image not in drawn] + later
            take = count - len(drawn)
            drawn, self.left = drawn + self.left[:take], self.left[take:]
        return drawn


def _members(dataset: Any) -> list[NDArray[Any]]:
    """Return the indices of the images of each class."""
    labels = getattr(dataset, "labels", None)
    if isinstance(labels, list | tuple) and all(isinstance(one, int) for one in labels):
        labels = np.array(labels, dtype=np.int64)
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            "an M-per-class batch needs a dataset whose labels are one integer an image, but "
            f"{type(dataset).__name__} has not. Use mmengine's own batches for it."
        )
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return list(np.split(order, starts))
