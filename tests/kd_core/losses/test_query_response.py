import math

import pytest
import torch

from kd_core.losses import QueryResponseLoss


def sides(queries=5, classes=3, seed=0, images=2):
    torch.manual_seed(seed)
    center, size = torch.rand(2, images, queries, 2)
    boxes = torch.cat((center, 0.1 + 0.3 * size), 2)
    return {"scores": torch.randn(images, queries, classes), "boxes": boxes}


class TestQueryResponseLoss:
    def test_by_hand(self):
        """p = 3/4 against q = 1/2; a box of side 0.4 against one of 0.2 with its center."""
        teacher = {
            "scores": torch.full((1, 1, 1), math.log(3.0)),
            "boxes": torch.tensor([[[0.5, 0.5, 0.4, 0.4]]]),
        }
        student = {
            "scores": torch.zeros(1, 1, 1),
            "boxes": torch.tensor([[[0.5, 0.5, 0.2, 0.2]]]),
        }
        found = QueryResponseLoss()(student, teacher)
        divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
        assert found["class"].item() == pytest.approx(0.75 * divergence, rel=1e-5)
        assert found["box"].item() == pytest.approx(0.75 * 5 * 0.4, rel=1e-5)
        assert found["overlap"].item() == pytest.approx(0.75 * 2 * 0.75, rel=1e-5)

    @pytest.mark.parametrize("form", ["sigmoid", "softmax"])
    def test_matching_undoes_an_order_of_queries(self, form):
        teacher = sides()
        order = torch.tensor([3, 0, 4, 1, 2])
        student = {role: one[:, order] for role, one in teacher.items()}
        matched = QueryResponseLoss(form)(student, teacher)
        assert sum(matched.values()).item() == pytest.approx(0.0, abs=1e-5)
        plain = QueryResponseLoss(form, match="query")(student, teacher)
        assert sum(plain.values()).item() > 0.1

    def test_a_student_of_fewer_queries_takes_the_most_confident(self):
        teacher = sides(queries=5)
        teacher["scores"][:] = torch.tensor([-9.0, 5.0, -9.0, 6.0, -9.0])[None, :, None]
        student = {role: one[:, [3, 1]] for role, one in teacher.items()}
        assert sum(QueryResponseLoss()(student, teacher).values()).item() < 1e-5

    def test_each_image_is_matched_alone(self):
        teacher = sides()
        student = {role: torch.stack((one[0].flip(0), one[1])) for role, one in teacher.items()}
        assert sum(QueryResponseLoss()(student, teacher).values()).item() < 1e-5

    def test_the_last_decoder_layer_counts(self):
        student, teacher = sides(seed=1), sides(seed=2)
        layered = [
            {role: torch.stack((torch.rand_like(one), one)) for role, one in side.items()}
            for side in (student, teacher)
        ]
        expected = QueryResponseLoss()(student, teacher)
        assert QueryResponseLoss()(*layered) == expected

    @pytest.mark.parametrize("match", ["matched", "query"])
    def test_queries_of_denoising_come_first_and_do_not_count(self, match):
        student, teacher = sides(seed=1), sides(seed=2)
        more = {role: torch.cat((one.flip(2), one), 1) for role, one in student.items()}
        loss = QueryResponseLoss(match=match)
        assert loss(more, teacher) == loss(student, teacher)

    def test_an_unsure_teacher_teaches_next_to_nothing(self):
        student, teacher = sides(seed=1), sides(seed=2)
        teacher["scores"] -= 20.0
        assert sum(QueryResponseLoss()(student, teacher).values()).item() < 1e-5

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="student has 4 and teacher has 5. Take match='matc"):
            QueryResponseLoss(match="query")(sides(queries=4), sides())
        with pytest.raises(ValueError, match="scores of student is .*2, 5, 3.* of teacher"):
            QueryResponseLoss()(sides(), sides(classes=4))
        with pytest.raises(ValueError, match="match must be one of"):
            QueryResponseLoss(match="greedy")


def test_queries_with_one_box_are_matched_by_their_classes():
    scores = torch.tensor([[[6.0, -6.0], [-6.0, 6.0]]])
    boxes = torch.full((1, 2, 4), 0.5)
    turned = QueryResponseLoss()(
        dict(scores=scores.flip(1), boxes=boxes), dict(scores=scores, boxes=boxes)
    )
    assert turned["class"].item() == pytest.approx(0.0, abs=1e-6)
