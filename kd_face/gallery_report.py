"""Report on a gallery: how well its people can be distinguished, and how sure that figure is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face.calibration import (
    Pairs,
    Share,
    all_pairs,
    chosen_rows,
    eer_interval,
    leave_one_out,
)
from kd_face.database.models import Embedding, Picture, from_bytes
from kd_face.errors import FaceError

_FEW_PEOPLE, _FEW_PICTURES = 20, 3


@dataclass(frozen=True)
class GalleryReport:
    """Figures of a gallery at the threshold for a wanted FAR.

    Args:
        people: Number of people.
        pictures: Number of pictures.
        pairs: All pairs, for curves.
        threshold: The least one with the wanted FAR.
        far: At this threshold.
        frr: At this threshold.
        eer: Equal error rate.
        eer_interval: Its 95 % interval.
        accepted_strangers: Pictures whose best match among the other people passes: the chance
            that a stranger is taken for somebody in a gallery of this size.
        rank_1: Pictures whose best match among all others is the same person's, of those whose
            person has another one.
        warnings: What makes the figures unsure, in sentences.
    """

    people: int
    pictures: int
    pairs: Pairs
    threshold: float
    far: Share
    frr: Share
    eer: float
    eer_interval: tuple[float, float]
    accepted_strangers: Share
    rank_1: Share
    warnings: tuple[str, ...]


def report(rows: NDArray[Any], people: NDArray[Any], wanted_far: float) -> GalleryReport:
    """Measure a gallery.

    Args:
        rows: Unit rows (N, D) of one space.
        people: Id of each picture's person (N,).
        wanted_far: Share of impostor pairs that may pass.

    Raises:
        FaceError: If there are too few pictures for any pair, or the FAR is none.
    """
    pairs = all_pairs(rows, people)
    threshold = pairs.threshold_for(wanted_far)
    far, frr = pairs.far(threshold), pairs.frr(threshold)
    strangers, rank_1 = leave_one_out(rows, people, threshold)
    return GalleryReport(
        people=len(np.unique(people)),
        pictures=len(rows),
        pairs=pairs,
        threshold=threshold,
        far=far,
        frr=frr,
        eer=pairs.eer()[0],
        eer_interval=eer_interval(rows, people),
        accepted_strangers=strangers,
        rank_1=rank_1,
        warnings=tuple(_warnings(people, pairs, wanted_far, frr)),
    )


def gallery_rows(session: Session, model_id: int) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Return rows and people of a space, and how many pictures it has.

    Of more than 3,000 pictures as many are drawn by chance, always the same ones.

    Args:
        session: Of the database.
        model_id: The space.

    Raises:
        FaceError: If it has no picture.
    """
    chosen = (
        select(Embedding.id, Picture.person_id)
        .join(Picture, Picture.id == Embedding.picture_id)
        .where(Embedding.model_id == model_id)
        .order_by(Embedding.id)
    )
    found = session.execute(chosen).all()
    if not found:
        raise FaceError("the gallery has no picture. Import some.")
    kept = chosen_rows(len(found))
    ids = [found[one][0] for one in kept]
    vectors: dict[int, bytes] = {}
    for begin in range(0, len(ids), 500):
        some = select(Embedding.id, Embedding.vector).where(
            Embedding.id.in_(ids[begin : begin + 500])
        )
        vectors.update({one: vector for one, vector in session.execute(some)})
    rows = np.stack([from_bytes(vectors[one]) for one in ids])
    return rows, np.array([found[one][1] for one in kept]), len(found)


def _warnings(people: NDArray[Any], pairs: Pairs, far: float, frr: Share) -> list[str]:
    _, counts = np.unique(people, return_counts=True)
    found = []
    if len(counts) < _FEW_PEOPLE:
        found.append(
            f"There are {len(counts)} people, fewer than {_FEW_PEOPLE}: figures from so few people "
            "say little about others."
        )
    if few := int((counts < _FEW_PICTURES).sum()):
        found.append(f"{few} of {len(counts)} people have fewer than {_FEW_PICTURES} pictures.")
    least = math.ceil(3 / far) if far else 0  # no error in n trials: at most 3 / n with 95 %
    if not far or len(pairs.impostor) < least:
        found.append(
            f"{len(pairs.impostor):,} impostor pairs cannot show a FAR of {far:g}: "
            f"{'no number can' if not far else f'at least {least:,} are needed'}."
        )
    mean = float(counts.mean())
    found.append(
        f"For an interval of the FAR half as wide, {len(counts)} more people are needed (four "
        f"times the pairs); for one of the FRR about {more_pictures(mean):.0f} more pictures of "
        f"each person, or {3 * len(counts)} more people."
    )
    return found


def more_pictures(mean: float) -> float:
    """Return how many more pictures a person make four times the genuine pairs.

    k pictures have k (k - 1) / 2 pairs, so K (K - 1) = 4 k (k - 1).

    Args:
        mean: Pictures of a person today, k.
    """
    return math.ceil((1 + math.sqrt(1 + 16 * mean * (mean - 1))) / 2 - mean)
