"""Levels are paired by stride where their order does not pair them, and the table says so."""

import pytest
import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.losses import AttentionTransferLoss, HMATLoss, PearsonFeatureLoss
from kd_core.pairs import LevelPairs
from kd_core.shapes import ShapeTable


def maps(*sides):
    return [torch.randn(2, 4, side, side + 1) for side in sides]


def paired(student, teacher, layers="neck[0:4]", others=None):
    """Pairs of a term's levels, and what is said of them."""
    pairs = LevelPairs({"at": Term(AttentionTransferLoss(), layers, others)})
    own, other = pairs.select({"at": {"": student}}, {"at": {"": teacher}})
    found = pairs.of("at", "")
    if isinstance(student, list):
        assert all(one is student[pair[0]] for pair, one in zip(found, own["at"][""], strict=True))
        assert all(
            one is teacher[pair[1]] for pair, one in zip(found, other["at"][""], strict=True)
        )
    return found, pairs.notes()


class TestPyramids:
    def test_of_the_same_levels_are_paired_in_order_without_a_word(self):
        assert paired(maps(32, 16, 8), maps(32, 16, 8)) == ([(0, 0), (1, 1), (2, 2)], [])

    def test_a_map_that_is_rounded_otherwise_is_of_the_same_stride(self):
        assert paired(maps(33, 17, 9), maps(32, 16, 8)) == ([(0, 0), (1, 1), (2, 2)], [])

    def test_p3_to_p7_under_p2_to_p6_are_paired_by_stride(self):
        found, (note,) = paired(maps(32, 16, 8, 4, 2), maps(64, 32, 16, 8, 4))
        assert found == [(0, 1), (1, 2), (2, 3), (3, 4)]
        assert note == (
            "term 'at': levels are paired by stride, that is by their size; the student's "
            "#4 (2, 4, 2, 3) left out; the teacher's #0 (2, 4, 64, 65) left out."
        )

    def test_of_unequal_numbers_are_paired_by_stride(self):
        found, (note,) = paired(maps(16, 8), maps(32, 16, 8, 4))
        assert found == [(0, 1), (1, 2)] and "#0 (2, 4, 32, 33), #3 (2, 4, 4, 5) left out" in note

    def test_of_images_of_another_size_stay_in_order_and_are_named(self):
        found, (note,) = paired(maps(16, 8), maps(64, 50))
        assert found == [(0, 0), (1, 1)]
        assert "unequal strides, (2, 4, 16, 17) with (2, 4, 64, 65), (2, 4, 8, 9)" in note

    def test_without_a_common_size_and_of_unequal_numbers_are_refused(self):
        message = (
            r"'at' selects 2 levels of the student and 3 of .*\(2, 4, 16, 17\), \(2, 4, 8, 9\)"
        )
        with pytest.raises(ValueError, match=message):
            paired(maps(16, 8), maps(200, 100, 50))


class TestLayersThatAreNamed:
    """One by one: stages of a classifier may be meant as they are listed."""

    def test_stay_in_order_and_unequal_strides_are_named(self):
        found, (note,) = paired(maps(16, 8), maps(32, 16), ["a", "b"])
        assert found == [(0, 0), (1, 1)] and "teacher_layers" in note

    def test_a_single_one_too(self):
        found, (note,) = paired(maps(16)[0], maps(32)[0], "neck[0]")
        assert found == [(0, 0)] and "(2, 4, 16, 17) with (2, 4, 32, 33)" in note

    def test_vectors_have_no_size(self):
        vectors = [torch.randn(2, 5), torch.randn(2, 7)]
        assert paired(vectors, vectors[::-1]) == ([(0, 0), (1, 1)], [])

    def test_one_map_takes_that_of_its_size_among_several(self):
        found, _ = paired(maps(16)[0], maps(32, 16), "a", "neck")
        assert found == [(0, 1)]

    def test_of_unequal_numbers_are_refused(self):
        with pytest.raises(ValueError, match="'at' selects 2 levels of the student and 1 of"):
            paired(maps(16, 8), maps(16), ["a", "b"], "a")


class Pyramid(nn.Module):
    """Maps of some strides, as a tuple."""

    def __init__(self, width, *strides):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, width, 1, stride) for stride in strides)
        self.neck = nn.Identity()

    def forward(self, images):
        return self.neck(tuple(conv(images) for conv in self.convs))


@pytest.mark.parametrize("example", [True, False])
def test_a_distiller_compares_what_is_paired(example):
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    student, teacher = Pyramid(4, 8, 16, 32), Pyramid(4, 4, 8, 16)
    terms = {"pkd": Term(PearsonFeatureLoss(), "neck[0:3]")}
    Distiller(teacher, terms).attach(student, (images,) if example else None)
    own, others = student(images), teacher(images)
    loss = PearsonFeatureLoss()
    expected = loss(own[0], others[1]) + loss(own[1], others[2])
    assert student.distiller.losses()["loss_pkd"].item() == pytest.approx(expected.item())
    if example:
        text = str(student.distiller.shape_table)
        assert "neck[0:3] #0   2x4x8x8  neck[0:3] #1   2x4x8x8" in text
        assert "paired by stride" in text and "#0 (2, 4, 16, 16) left out" in text


def test_connectors_are_those_of_the_pairs():
    images = torch.randn(2, 3, 64, 64)
    student, teacher = Pyramid(4, 8, 16, 32), Pyramid(6, 4, 8, 16)
    Distiller(teacher, {"pkd": Term(PearsonFeatureLoss(), "neck")}).attach(student, (images,))
    assert sorted(student.distiller.connectors["pkd"]) == ["0", "1"]
    student(images)
    student.distiller.losses()["loss_pkd"].backward()
    assert student.convs[0].weight.grad.any() and student.convs[2].weight.grad is None


def test_each_role_is_paired_and_named_on_its_own():
    term = Term(HMATLoss(), dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"))
    student = {"low": maps(32)[0], "mid": maps(16, 8), "high": maps(4)[0]}
    teacher = {"low": maps(64)[0], "mid": maps(32, 16), "high": maps(8)[0]}
    table = ShapeTable({"hmat": term}, {"hmat": student}, {"hmat": teacher})
    assert [row.key for row in table.rows] == ["low_0", "mid_0", "high_0"]
    assert ["role 'low': compares maps of unequal strides" in one for one in table.notes] == [
        True, False, False
    ]  # fmt: skip
    assert "role 'mid': levels are paired by stride" in table.notes[1]
