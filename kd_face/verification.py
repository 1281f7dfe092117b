"""Face verification on a labeled set: TAR at wanted FARs, EER and rank-1, with intervals.

All pairs of the set are compared, not a list of some. The thresholds are those of the set itself,
as a ROC curve has them; a promise for other people they are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_face.calibration import (
    all_pairs,
    chosen_rows,
    eer_interval,
    leave_one_out,
    tar_interval,
)
from kd_face.embedders import unit_rows

FARS = (0.01, 0.001)


def verify(
    rows: NDArray[Any], people: NDArray[Any], fars: Sequence[float] = FARS
) -> dict[str, float]:
    """Measure how well embeddings distinguish people.

    Of more than 3,000 pictures as many are drawn by chance, always the same ones.

    Args:
        rows: Embeddings (N, D), of any length.
        people: Person of each (N,).
        fars: Wanted shares of impostor pairs that pass.

    Returns:
        In percent ``TAR@FAR=f`` for each, ``EER`` and ``rank-1``; then the ends of their 95 %
        intervals (``..._low``, ``..._high``), and the numbers of pairs. The intervals are those of
        a bootstrap over people, that of rank-1 is Wilson's over pictures.

    Raises:
        ValueError: If there is no genuine or no impostor pair, an embedding is zero or not finite,
            or a FAR is not from 0 to below 1.
    """
    kept = chosen_rows(len(rows))
    rows, people = unit_rows(rows[kept]), np.asarray(people)[kept]
    pairs = all_pairs(rows, people)
    values: dict[str, float] = {}
    ends: dict[str, tuple[float, float]] = {}
    for far in fars:
        name = f"TAR@FAR={far:g}"
        values[name] = 1 - pairs.frr(pairs.threshold_for(far)).value
        ends[name] = tar_interval(rows, people, far)
    values["EER"], ends["EER"] = pairs.eer()[0], eer_interval(rows, people)
    rank_1 = leave_one_out(rows, people, 1.0)[1]
    values["rank-1"], ends["rank-1"] = rank_1.value, rank_1.interval
    found = {name: 100 * value for name, value in values.items()}
    for name, (low, high) in ends.items():
        found |= {f"{name}_low": 100 * low, f"{name}_high": 100 * high}
    return found | dict(
        genuine_pairs=float(len(pairs.genuine)), impostor_pairs=float(len(pairs.impostor))
    )


def check_fars(fars: Sequence[float]) -> None:
    """Require shares from 0 to below 1.

    Raises:
        ValueError: If one is not, or there is none.
    """
    if not fars or not all(0 <= far < 1 for far in fars):
        raise ValueError(f"fars must be some shares from 0 to below 1, but they are {fars}.")
