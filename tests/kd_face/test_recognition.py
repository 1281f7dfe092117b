"""Recognition: threshold and margin, the example that matched, several faces, verification."""

import numpy as np
import pytest

from kd_face.errors import FaceError
from kd_face.index import GalleryIndex
from kd_face.recognition import Rule, identify, quantized, set_rule, verify

from .stand_ins import blocks, enrol, make_networks, png


def ask(home, networks, pixels):
    return identify(home, GalleryIndex(home), networks, png(pixels), "a.png")


def test_the_person_and_the_example_that_matched(home, networks):
    enrol(home, networks, 1, range(20), "Ann")  # more than the first neighbors that are asked for
    person, (_, second) = enrol(home, networks, 2, [0, 5], "Bob")
    (found,) = ask(home, networks, blocks(2, 5))
    assert found.person == found.nearest == (person, "Bob") and found.picture_id == second
    assert found.similarity > 0.99 and found.face.box == (0, 0, 96, 96)
    (found,) = ask(home, networks, blocks(1))
    assert found.person[1] == "Ann" and 0.5 < found.margin < 2  # the lead over Bob, not over Ann


def test_a_stranger_is_unknown_by_the_threshold(home, networks):
    enrol(home, networks, 1, [0])
    (found,) = ask(home, networks, blocks(9))
    assert (
        found.person is None and found.nearest[1] == "p1" and "below the threshold" in found.reason
    )


def test_between_two_people_is_unknown_by_the_margin(home, networks):
    enrol(home, networks, 1, [0], "Ann")
    enrol(home, networks, 1, [1], "twin of Ann")
    (found,) = ask(home, networks, blocks(1, 0) // 2 + blocks(1, 1) // 2)
    assert found.similarity > 0.9 and found.person is None and "margin" in found.reason


def test_several_faces_and_none(home, networks):
    enrol(home, networks, 1, [0])
    enrol(home, networks, 2, [0])
    both = np.concatenate([blocks(2), blocks(1)], 1)
    assert [one.person[1] for one in ask(home, networks, both)] == ["p2", "p1"]
    assert ask(home, networks, blocks(1) * 0) == []


def test_an_empty_gallery_and_another_network_are_named(home, networks):
    with pytest.raises(FaceError, match="no picture yet"):
        ask(home, networks, blocks(1))
    enrol(home, networks, 1, [0])
    with pytest.raises(FaceError, match="Run: kdkit face reembed"):
        ask(home, make_networks("2"), blocks(1))


def test_the_calibrated_rule_is_used(home, networks):
    enrol(home, networks, 1, [0])
    assert ask(home, networks, blocks(1, 1))[0].person
    with home.write() as session:
        set_rule(session, networks, Rule(0.9999))
    assert not ask(home, networks, blocks(1, 1))[0].person


def test_verify(home, networks):
    person, _ = enrol(home, networks, 1, [0])
    accepted, similarity = verify(home, networks, person, png(blocks(1, 1)), "a")
    assert accepted and similarity > 0.9
    assert not verify(home, networks, person, png(blocks(2)), "a")[0]
    with pytest.raises(FaceError, match="exactly one face, but it has 0"):
        verify(home, networks, person, png(blocks(1) * 0), "a")
    with pytest.raises(FaceError, match="no person 9"):
        verify(home, networks, 9, png(blocks(1)), "a")


@pytest.mark.parametrize(
    ("margin", "similarity", "expected"),
    [(None, 0.5, True), (0.1, 0.5, True), (0.09, 0.5, False), (0.2, 0.49, False)],
)
def test_the_rule_at_its_edges(margin, similarity, expected):
    assert Rule(0.5, 0.1).decide(similarity, margin)[0] is expected


def test_scores_in_steps():
    assert [quantized(one) for one in (0.932, 0.951, -0.02, 1.0)] == [0.95, 0.95, 0.0, 1.0]
