"""Alignment, quality and the pose of a face."""

import numpy as np
import pytest

from kd_face.alignment import TEMPLATE, align, similarity
from kd_face.detection import Face
from kd_face.quality import Gate, pose

from .stand_ins import blocks


def face(points=TEMPLATE, box=(0.0, 0.0, 112.0, 112.0)):
    return Face(box, np.asarray(points, float), 1.0)


def turned(degrees, scale=1.0, shift=(0.0, 0.0)):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * (TEMPLATE - 56) @ turn.T + 56 + shift


def test_the_similarity_by_hand():
    # A quarter turn, twice the size, then (5, -1): (x, y) -> (-2 y + 5, 2 x - 1).
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    targets = np.array([[5.0, -1.0], [5.0, 1.0], [3.0, -1.0]])
    assert np.allclose(similarity(points, targets), [[0, -2, 5], [2, 0, -1]])


def test_it_never_mirrors():
    mirrored = TEMPLATE * [-1, 1]
    assert np.linalg.det(similarity(TEMPLATE, mirrored)[:, :2]) > 0


def test_points_that_are_all_the_same_are_refused():
    with pytest.raises(ValueError, match="must differ"):
        similarity(np.ones((5, 2)), TEMPLATE)


def test_a_face_in_its_place_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    assert np.abs(align(pixels, face()).astype(int) - pixels).max() <= 1


def test_a_turned_face_comes_out_upright():
    spots = np.zeros((300, 300, 3), np.uint8)
    points = turned(25, 1.5, (90, 80))
    for x, y in points.round().astype(int):
        spots[y - 2 : y + 3, x - 2 : x + 3] = 255
    found = align(spots, face(points))
    for x, y in TEMPLATE.astype(int):
        assert found[y, x].mean() > 200
    assert (found > 100).mean() < 0.02


@pytest.mark.parametrize(
    ("points", "box", "reason"),
    [
        (TEMPLATE, (0.0, 0.0, 40.0, 50.0), "too small: 40 pixels, at least 60"),
        (turned(45), (0.0, 0.0, 112.0, 112.0), "tilted: 45 degrees, at most 30"),
        (np.vstack([TEMPLATE[:4], [[74, 79]]]), (0.0, 0.0, 112.0, 112.0), "aside: 0.50"),
    ],
)
def test_reasons_of_the_gate(points, box, reason):
    (found,) = Gate().reasons(blocks(1), [face(points, box)])
    assert reason in found


def test_none_several_and_blurred():
    assert "no face" in Gate().reasons(blocks(1), [])[0]
    assert "2 faces" in Gate().reasons(blocks(1), [face(), face()])[0]
    gray = np.full((112, 112, 3), 128, np.uint8)
    assert "blurred: 0, at least 20" in Gate().reasons(gray, [face()])[0]
    assert not Gate().reasons(blocks(1), [face(box=(0.0, 0.0, 96.0, 96.0))])


def test_pose_does_not_depend_on_size_and_place():
    assert np.allclose(pose(face()), (0, 0))
    assert np.allclose(pose(face(turned(-20, 3.0, (7, 9)))), (-20, 0))
