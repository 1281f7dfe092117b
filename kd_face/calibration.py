"""Calibration of the threshold on the operator's own gallery.

Every pair of pictures is genuine (one person) or an impostor pair (two people):

    FAR(t) = share of impostor pairs with similarity >= t
    FRR(t) = share of genuine pairs with similarity < t
    EER    = (FAR + FRR) / 2 at the threshold where they are nearest to each other
    TAR(f) = 1 - FRR at the least threshold with FAR <= f

Intervals of shares are Wilson's (95 %), which takes pairs as independent. They are not: a person is
in many pairs, so the interval is too narrow, most of all with few people. Those of EER and TAR are
the 2.5 to 97.5 percentile of a bootstrap that draws people, not pairs.

Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_face.errors import FaceError

_Z = 1.959963984540054  # normal quantile of 97.5 %
_REPEATS = 200
_LEVELS = 4096  # steps of similarity in the bootstrap
_MOST = 3000  # pictures that are measured


@dataclass(frozen=True)
class Share:
    """A share with its interval.

    Args:
        hits: Number of pairs that count.
        total: Number of pairs.
    """

    hits: int
    total: int

    @property
    def value(self) -> float:
        """Return the share; NaN of nothing."""
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's 95 % interval."""
        return wilson(self.hits, self.total)


@dataclass(frozen=True)
class Pairs:
    """Similarities of all pairs, sorted.

    Args:
        genuine: (G,), ascending.
        impostor: (I,), ascending.
    """

    genuine: NDArray[Any]
    impostor: NDArray[Any]

    def far(self, threshold: float) -> Share:
        """Return the share of impostor pairs that a threshold accepts."""
        below = int(np.searchsorted(self.impostor, threshold, side="left"))
        return Share(len(self.impostor) - below, len(self.impostor))

    def frr(self, threshold: float) -> Share:
        """Return the share of genuine pairs that a threshold rejects."""
        return Share(int(np.searchsorted(self.genuine, threshold, side="left")), len(self.genuine))

    def threshold_for(self, far: float) -> float:
        """Return the least threshold whose FAR is at most a wanted one.

        Args:
            far: From 0 to below 1.

        Raises:
            FaceError: If it is not, or there is no impostor pair.
        """
        if not 0 <= far < 1 or not len(self.impostor):
            raise FaceError(
                f"a threshold needs a FAR from 0 to below 1 and impostor pairs, but the FAR is "
                f"{far} and there are {len(self.impostor)} pairs. Add people."
            )
        allowed = math.floor(far * len(self.impostor) + 1e-9)
        highest = self.impostor[len(self.impostor) - 1 - allowed]  # the first to be rejected
        return float(np.nextafter(highest, np.float32(np.inf), dtype=np.float32))

    def eer(self) -> tuple[float, float]:
        """Return the equal error rate and its threshold."""
        places = np.unique(np.concatenate([self.genuine, self.impostor]))
        far = 1 - np.searchsorted(self.impostor, places, side="left") / len(self.impostor)
        frr = np.searchsorted(self.genuine, places, side="left") / len(self.genuine)
        best = int(np.argmin(np.abs(far - frr)))
        return float((far[best] + frr[best]) / 2), float(places[best])

    def curve(self, points: int = 200) -> NDArray[Any]:
        """Return threshold, FAR and FRR (points, 3): 1 - FRR over FAR is ROC; both in probits DET.

        Args:
            points: Number of thresholds, evenly spaced over the similarities that occur.
        """
        low = min(self.genuine[0], self.impostor[0])
        high = np.nextafter(max(self.genuine[-1], self.impostor[-1]), np.float32(np.inf))
        places = np.linspace(low, high, points)
        far = 1 - np.searchsorted(self.impostor, places, side="left") / len(self.impostor)
        frr = np.searchsorted(self.genuine, places, side="left") / len(self.genuine)
        return np.column_stack([places, far, frr])


def all_pairs(rows: NDArray[Any], people: NDArray[Any]) -> Pairs:
    """Return the similarities of all pairs of pictures.

    Memory: the block in work and 4 bytes for each of the N (N - 1) / 2 pairs, twice.

    Args:
        rows: Unit rows (N, D).
        people: Id of each picture's person (N,).

    Raises:
        FaceError: If there is no genuine or no impostor pair.
    """
    genuine, impostor = [], []
    for begin in range(0, len(rows), 512):
        block = rows[begin : begin + 512] @ rows[begin:].T  # (n, N - begin)
        upper = np.triu(np.ones(block.shape, bool), 1)
        same = people[begin : begin + 512, None] == people[None, begin:]
        genuine.append(block[upper & same])
        impostor.append(block[upper & ~same])
    found = Pairs(np.sort(_joined(genuine)), np.sort(_joined(impostor)))
    if not len(found.genuine) or not len(found.impostor):
        raise FaceError(
            f"calibration needs two people and a person with two pictures, but there are "
            f"{len(np.unique(people))} people with {len(people)} pictures. Add some."
        )
    return found


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share; (0, 1) of nothing.

    Args:
        hits: From 0 to ``total``.
        total: Number of trials.
    """
    if not total:
        return 0.0, 1.0
    share, z2 = hits / total, _Z * _Z
    center = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, center - half), min(1.0, center + half)


def eer_interval(
    rows: NDArray[Any], people: NDArray[Any], repeats: int = _REPEATS, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the EER, by a bootstrap over people.

    Args:
        rows: Unit rows (N, D).
        people: Id of each picture's person (N,).
        repeats: Number of draws.
        seed: Of the draws.
    """
    found = []
    for far, frr in _draws(rows, people, repeats, seed):
        best = int(np.argmin(np.abs(far - frr)))
        found.append((far[best] + frr[best]) / 2)
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def tar_interval(
    rows: NDArray[Any],
    people: NDArray[Any],
    wanted_far: float,
    repeats: int = _REPEATS,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % interval of the TAR at a FAR, by the same bootstrap.

    Each draw has a threshold of its own, so the interval holds that the threshold is not known.

    Args:
        rows: Unit rows (N, D).
        people: Id of each picture's person (N,).
        wanted_far: From 0 to below 1.
        repeats: Number of draws.
        seed: Of the draws.
    """
    found = [
        1 - frr[int(np.argmax(far <= wanted_far + 1e-9))]  # FAR falls; at the last step it is least
        for far, frr in _draws(rows, people, repeats, seed)
    ]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def leave_one_out(
    rows: NDArray[Any], people: NDArray[Any], threshold: float
) -> tuple[Share, Share]:
    """Search each picture among all others.

    Args:
        rows: Unit rows (N, D).
        people: Id of each picture's person (N,).
        threshold: Least similarity that passes.

    Returns:
        Pictures whose best match among the other people passes; and those whose best match of all
        is of the same person, of those whose person has another picture: rank-1.
    """
    strangers = right = able = 0
    for begin in range(0, len(rows), 512):
        similar = rows[begin : begin + 512] @ rows.T
        same = people[begin : begin + 512, None] == people[None]
        other = np.where(same, -np.inf, similar).max(1)
        strangers += int((other >= threshold).sum())
        own_place = np.arange(len(similar))
        similar[own_place, begin + own_place] = -np.inf
        own = np.where(same, similar, -np.inf).max(1)
        able += int(np.isfinite(own).sum())
        right += int((np.isfinite(own) & (own > other)).sum())
    return Share(strangers, len(rows)), Share(right, able)


def chosen_rows(count: int) -> list[int]:
    """Return which of so many pictures are measured: all, or 3,000 drawn by chance.

    They are always the same ones, and have 4.5 million pairs.
    """
    if count <= _MOST:
        return list(range(count))
    drawn: list[int] = np.random.default_rng(0).choice(count, _MOST, replace=False).tolist()
    return sorted(drawn)


def _draws(
    rows: NDArray[Any], people: NDArray[Any], repeats: int, seed: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Draw people, and yield FAR and FRR (4096,) at thresholds from low to high.

    A person who is drawn n times counts n-fold in genuine pairs, two of n and m n m-fold in their
    impostor pairs; pairs between two copies of a person are left out. Similarities are rounded to
    4,096 steps. Memory: about 80 bytes for each pair.
    """
    _, owner = np.unique(people, return_inverse=True)
    first, second = np.triu_indices(len(rows), 1)
    similar = np.concatenate([rows[one] @ rows[one + 1 :].T for one in range(len(rows) - 1)])
    step = np.clip((similar + 1) / 2 * (_LEVELS - 1), 0, _LEVELS - 1).astype(np.int64)
    first, second = owner[first], owner[second]
    same = first == second
    count, draw = int(owner.max()) + 1, np.random.default_rng(seed)
    for _ in range(repeats):
        times = np.bincount(draw.integers(0, count, count), minlength=count).astype(float)
        weight = np.where(same, times[first], times[first] * times[second])
        genuine = np.bincount(step[same], weight[same], _LEVELS)
        impostor = np.bincount(step[~same], weight[~same], _LEVELS)
        if genuine.sum() and impostor.sum():
            frr = (np.cumsum(genuine) - genuine) / genuine.sum()
            yield 1 - (np.cumsum(impostor) - impostor) / impostor.sum(), frr


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
