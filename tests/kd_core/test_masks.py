import pytest
import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.box_masks import covered_cells
from kd_core.losses import (
    AttentionTransferLoss,
    FeatureImitationLoss,
    HMATLoss,
    PearsonFeatureLoss,
    SoftTargetLoss,
    VIDLoss,
)
from kd_core.masks import MASKS, SCORES, MapMask
from kd_core.term_options import term_of

SIZE = (32, 48)  # height and width of the padded input
BOXES = [torch.tensor([[0.0, 0.0, 15.0, 9.0], [32.0, 16.0, 48.0, 32.0]]), torch.zeros(0, 4)]


def imitation(student, teacher, boxes, **options):
    term = Term(FeatureImitationLoss(), "x", mask="boxes", **options)
    inputs = {"boxes": boxes, "image_size": SIZE}
    return term.compare({"": student}, {"": teacher}, inputs)[""]


class TestCells:
    def test_of_a_box_are_those_it_covers_in_part(self):
        found = covered_cells(BOXES, SIZE, torch.zeros(2, 5, 4, 6))  # stride 8
        expected = torch.zeros(2, 4, 6)
        expected[0, 0:2, 0:2] = 1  # to x 15 and y 9
        expected[0, 2:4, 4:6] = 1
        assert torch.equal(found, expected)

    def test_do_not_go_beyond_a_box_that_ends_on_an_edge(self):
        box = [torch.tensor([[8.0, 8.0, 16.0, 16.0]])]
        assert covered_cells(box, SIZE, torch.zeros(1, 1, 4, 6)).nonzero().tolist() == [[0, 1, 1]]

    def test_of_a_tiny_box_are_one_and_of_one_without_area_none(self):
        boxes = [torch.tensor([[9.0, 9.0, 9.5, 9.5], [20.0, 20.0, 20.0, 30.0]])]
        assert covered_cells(boxes, SIZE, torch.zeros(1, 1, 4, 6)).nonzero().tolist() == [[0, 1, 1]]

    def test_outside_the_image_do_not_count(self):
        boxes = [torch.tensor([[-20.0, -20.0, 4.0, 4.0], [60.0, 60.0, 90.0, 90.0]])]
        assert covered_cells(boxes, SIZE, torch.zeros(1, 1, 4, 6)).nonzero().tolist() == [[0, 0, 0]]

    def test_scale_by_the_padded_input_in_both_directions(self):
        box = [torch.tensor([[24.0, 8.0, 48.0, 16.0]])]
        found = covered_cells(box, SIZE, torch.zeros(1, 1, 2, 8))
        assert found.nonzero().tolist() == [[0, 0, column] for column in range(4, 8)]


class TestBoxes:
    def test_leave_the_mean_of_the_squares_inside(self):
        torch.manual_seed(0)
        student, teacher = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 4, 6)
        inside = covered_cells(BOXES, SIZE, teacher).bool()
        squares = (student - teacher).square().mean(dim=1)
        found = imitation(student, teacher, BOXES)
        assert found.item() == pytest.approx(squares[inside].mean().item(), rel=1e-5)

    def test_keep_the_gradient_outside_at_0(self):
        student = torch.randn(2, 3, 4, 6, requires_grad=True)
        imitation(student, torch.randn(2, 3, 4, 6), BOXES).backward()
        inside = covered_cells(BOXES, SIZE, student).bool()[:, None].expand_as(student)
        assert not student.grad[~inside].any() and student.grad[inside].abs().min() > 0

    def test_of_a_whole_batch_that_are_none_give_0_and_no_nan(self):
        none = [torch.zeros(0, 4)] * 2
        student = torch.randn(2, 3, 4, 6, requires_grad=True)
        for loss in (FeatureImitationLoss(), PearsonFeatureLoss(), AttentionTransferLoss()):
            term = Term(loss, "x", mask="boxes")
            inputs = {"boxes": none, "image_size": SIZE}
            value = term.compare({"": student}, {"": torch.randn(2, 3, 4, 6)}, inputs)[""]
            value.backward()
            assert value.item() == 0 and torch.isfinite(student.grad).all()
            assert not student.grad.any()

    def test_give_0_even_where_the_loss_of_nothing_is_not_0(self):
        loss, maps = VIDLoss(), torch.randn(2, 3, 4, 6)
        loss.prepare(maps, maps)
        inputs = {"boxes": [torch.zeros(0, 4)] * 2, "image_size": SIZE}
        assert loss(torch.zeros_like(maps), torch.zeros_like(maps)) > 0.1
        found = Term(loss, "x", mask="boxes").compare({"": maps}, {"": maps}, inputs)
        assert found[""] == 0

    def test_of_levels_and_of_two_sizes(self):
        torch.manual_seed(0)
        student = [torch.randn(2, 3, 4, 6), torch.randn(2, 3, 2, 3)]
        teacher = [torch.randn(2, 3, 8, 12), torch.randn(2, 3, 2, 3)]
        roots = MapMask("boxes").roots(student, teacher, {"boxes": BOXES, "image_size": SIZE}, [])
        assert [tuple(one.shape[2:]) for pair in roots for one in pair] == [
            (4, 6), (8, 12), (2, 3), (2, 3)
        ]  # fmt: skip
        for pair in roots:
            for root in pair:
                assert root.square().mean().item() == pytest.approx(1, rel=1e-5)
        assert imitation(student, teacher, BOXES) > 0

    def test_come_after_normalization(self):
        torch.manual_seed(0)
        student, teacher = torch.randn(2, 3, 4, 6), 5 * torch.randn(2, 3, 4, 6) + 3
        seen = []

        def normalize(own, other):
            seen.append((own.shape, other.mean().item()))
            return own, other - other.mean()

        found = imitation(student, teacher, BOXES, normalize=normalize)
        expected = imitation(student, teacher - teacher.mean(), BOXES)
        assert seen == [(student.shape, pytest.approx(teacher.mean().item()))]
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_attention_is_that_of_the_teacher():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 4, 6)
    weights = torch.softmax(teacher.abs().mean(1).flatten(1) / 0.25, dim=1)
    weights = (weights * 24).reshape(2, 1, 4, 6)  # of mean 1
    mask = MapMask("attention", temperature=0.25)
    found = Term(FeatureImitationLoss(), "x", mask=mask).compare({"": student}, {"": teacher})
    expected = (weights * (student - teacher).square()).mean()
    assert found[""].item() == pytest.approx(expected.item(), rel=1e-5)


def test_scores_are_those_of_the_nearest_size_and_of_the_best_class():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 4, 6)
    scores = [torch.randn(2, 9, side, side) for side in (16, 1)] + [torch.randn(2, 9, 4, 6)]
    term = Term(FeatureImitationLoss(), "x", mask=MapMask("scores", layers="head"))
    assert [path.text for path in term.layers("teacher")[SCORES]] == ["head"]
    found = term.compare({"": student}, {"": teacher, SCORES: scores})[""]
    weights = scores[2].amax(dim=1, keepdim=True).sigmoid()
    expected = (weights / weights.mean() * (student - teacher).square()).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


class Net(nn.Module):
    """A detector's skeleton: a stage and scores of 5 classes."""

    def __init__(self, width):
        super().__init__()
        self.stage = nn.Conv2d(3, width, 3, 8, 1)
        self.scores = nn.Conv2d(width, 5, 1)

    def forward(self, images):
        return self.scores(self.stage(images))


@pytest.mark.parametrize("kind", MASKS)
def test_a_distiller_masks_every_loss_on_maps(kind):
    torch.manual_seed(0)
    images, student, teacher = torch.randn(2, 3, *SIZE), Net(4), Net(6)
    mask = {"kind": kind, "layers": "scores"} if kind == "scores" else kind
    options = {"layers": "stage", "mask": mask}
    roles = dict.fromkeys(HMATLoss.roles, "stage")
    terms = {
        "imitation": term_of("imitation", {"loss": FeatureImitationLoss(), **options}),
        "hmat": term_of("hmat", {"loss": HMATLoss(), **options, "layers": roles}),
    }
    plain = {"plain": Term(FeatureImitationLoss(), "stage")}
    Distiller(teacher, terms | plain).attach(student, (images,))
    connectors = student.distiller.connectors
    connectors["plain"].load_state_dict(connectors["imitation"].state_dict())
    student(images)
    losses = student.distiller.losses(boxes=BOXES)
    assert len(losses) == 5 and all(torch.isfinite(one) for one in losses.values())
    assert losses["loss_imitation"] != losses["loss_plain"]
    sum(losses.values()).backward()
    assert student.stage.weight.grad.any()
    assert teacher.stage.weight.grad is None


def test_logits_are_not_masked():
    features, logits = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    roles = dict.fromkeys(HMATLoss.roles, features) | {"logits": logits}
    term = Term(HMATLoss(soft_target_weight=1.0), dict.fromkeys(roles, "x"), mask="attention")
    found = term.compare(roles, {**roles, "logits": 2 * logits})
    expected = SoftTargetLoss()(logits, 2 * logits).item()
    assert [one.item() for key, one in found.items() if "target" in key] == [
        pytest.approx(expected)
    ]


def test_what_is_wrong_is_named():
    loss = FeatureImitationLoss()
    with pytest.raises(ValueError, match="term 't': mask must be one of .*'scores'.*'gt'"):
        term_of("t", {"loss": loss, "layers": "x", "mask": "gt"})
    with pytest.raises(ValueError, match="only the mask 'scores' has layers, but 'boxes' got 'x'"):
        MapMask("boxes", layers="x")
    with pytest.raises(ValueError, match="'scores' needs the teacher's layers of class scores"):
        Distiller(Net(6), {"t": Term(loss, "stage", mask="scores")}).attach(
            Net(4), (torch.randn(2, 3, *SIZE),)
        )
    vectors = torch.randn(2, 5)
    with pytest.raises(ValueError, match=r"a mask takes maps.*student is \(2, 5\)"):
        Term(loss, "x", mask="attention").compare({"": vectors}, {"": vectors})
