"""Several teachers of one term that share each sample by how sure they are."""

import copy

import pytest
import torch
from torch import nn

import kdkit
from kd_core import Term
from kd_core.cross_head import CrossHeadLoss
from kd_core.dense import binary_doubts
from kd_core.losses import (
    BoxResponseLoss,
    ClassResponseLoss,
    DistributionResponseLoss,
    DKDLoss,
    FeatureImitationLoss,
    RegionBoxLoss,
    SoftTargetLoss,
)
from kd_core.losses.soft_target import class_doubts
from kd_core.masks import SCORES as TEACHER_SCORES
from kd_core.methods import CAMKD
from kd_core.methods.adapter import TaskAdapter
from kd_core.several_teachers import split_terms
from kd_core.teacher import FrozenTeacher
from kd_core.teacher_shares import SHARES, TeacherShares, share_samples
from kd_core.term_options import term_of

LABELS = torch.tensor([0, 2, 1, 1])


class Net(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.head = nn.Linear(5, 3)
        self.runs = 0

    def forward(self, inputs, labels=None):
        self.runs += 1
        return self.head(inputs.flatten(1))


def nets():
    return Net(0), {"a": Net(1), "b": Net(2)}


INPUTS = 3 * torch.randn(4, 5, 1, 1, generator=torch.Generator().manual_seed(0))


def run(teachers, **options):
    """Losses of a step, and the gradient of the student's weights."""
    student = Net(0)
    term = dict(loss=SoftTargetLoss(), layers="head", **options)
    kdkit.distill(student, teachers, {"kd": term})
    student(INPUTS, labels=LABELS)
    found = student.distiller.losses()
    sum(one for name, one in found.items() if "loss" in name).backward()
    return found, student.head.weight.grad


def test_confidence_is_that_of_camkd_in_value_gradient_and_weights():
    student, teachers = nets()
    frozen = {name: FrozenTeacher(one) for name, one in copy.deepcopy(teachers).items()}
    method = CAMKD(frozen, "confidence", adapter=TaskAdapter("head"))
    method.attach(student)
    student(INPUTS)
    wanted = method.losses(labels=LABELS)
    wanted["loss_responses"].backward()
    found, gradient = run(teachers, teacher=["a", "b"], weighting="confidence")
    total = found["loss_kd_a"] + found["loss_kd_b"]
    torch.testing.assert_close(total, wanted["loss_responses"])
    torch.testing.assert_close(gradient, student.head.weight.grad)
    for name in "ab":
        torch.testing.assert_close(found[f"weight_kd_{name}"], wanted[f"weight_{name}"])
        assert teachers[name].runs == 1


def test_entropy_by_hand():
    """A teacher that is sure of everything against one that knows nothing: entropies 0, log 2."""
    sure, unsure = torch.tensor([[40.0, 0.0]]), torch.zeros(1, 2)
    group = TeacherShares("entropy")
    terms = {n: Term(SoftTargetLoss(), "0", teacher=n, shares=group) for n in ("sure", "unsure")}
    inputs = {name: {} for name in terms}
    means = share_samples(terms, {"sure": {"": sure}, "unsure": {"": unsure}}, inputs)
    # softmax of (0, log 2) is (1/3, 2/3)
    assert inputs["sure"][SHARES].item() == pytest.approx(2 / 3)
    assert inputs["unsure"][SHARES].item() == pytest.approx(1 / 3)
    assert means["weight_unsure"].item() == pytest.approx(1 / 3)


def test_doubts_by_hand():
    scores = torch.tensor([[0.0, 0.0], [50.0, 0.0]])
    torch.testing.assert_close(class_doubts(scores), torch.tensor([2.0, 1.0]).log())
    log2 = torch.tensor(2.0).log().item()
    assert binary_doubts(scores).tolist() == pytest.approx([2 * log2, log2], abs=1e-6)
    background_and_first = torch.tensor([2, 0])
    assert binary_doubts(scores, background_and_first).tolist() == pytest.approx(
        [2 * log2, log2], abs=1e-5
    )
    assert binary_doubts(scores, torch.tensor([2, 2]))[1].item() == pytest.approx(50 + log2)
    with pytest.raises(ValueError, match="below 2, but they go from 0 to 2"):
        class_doubts(scores, background_and_first)


@pytest.mark.parametrize("weighting", ["entropy", "confidence", "mean"])
def test_two_equal_teachers_are_one_and_one_in_a_list_too(weighting):
    _, teachers = nets()
    alone, gradient = run({"a": teachers["a"]}, teacher="a", weight=3.0)
    listed, same = run({"a": teachers["a"]}, teacher=["a"], weight=3.0, weighting=weighting)
    assert listed.keys() == alone.keys() and torch.equal(listed["loss_kd"], alone["loss_kd"])
    assert torch.equal(same, gradient)
    both = {"a": teachers["a"], "b": copy.deepcopy(teachers["a"])}
    found, close = run(both, teacher=["a", "b"], weight=3.0, weighting=weighting)
    torch.testing.assert_close(found["loss_kd_a"] + found["loss_kd_b"], alone["loss_kd"])
    torch.testing.assert_close(close, gradient)


MAPS = dict(scores=(2, 6, 3, 4), boxes=(2, 8, 3, 4))
SIDES = dict(scores=(2, 3, 3, 4), boxes=(2, 68, 3, 4))


@pytest.mark.parametrize(
    ("loss", "shapes", "labels"),
    [
        (SoftTargetLoss(), (4, 3), LABELS),
        (DKDLoss(), (4, 3), LABELS),
        (ClassResponseLoss("binary", anchors=2), (2, 6, 3, 4), torch.arange(48) % 4),
        (BoxResponseLoss(), MAPS, torch.arange(48) % 4),
        (DistributionResponseLoss(), SIDES, torch.arange(24) % 4),
    ],
)
@pytest.mark.parametrize("weighting", ["entropy", "confidence"])
def test_equal_teachers_give_each_loss_its_value(loss, shapes, labels, weighting):
    torch.manual_seed(0)
    student, teacher = (
        {role: torch.randn(*shape) for role, shape in shapes.items()}
        if isinstance(shapes, dict)
        else {"": torch.randn(*shapes)}
        for _ in range(2)
    )
    layers = dict.fromkeys(shapes, "0") if isinstance(shapes, dict) else "0"
    group = TeacherShares(weighting)
    terms = {name: Term(loss, layers, teacher=name, shares=group) for name in "abc"}
    inputs = {name: {"labels": labels} for name in terms}
    share_samples(terms, dict.fromkeys(terms, teacher), inputs)
    parts = [terms[name].compare(student, teacher, inputs[name])[""] for name in terms]
    alone = Term(loss, layers).compare(student, teacher, {"labels": labels})[""]
    torch.testing.assert_close(sum(parts), alone)
    # Where the second does not count, the first has its value on its own samples.
    shares = torch.zeros_like(inputs["a"][SHARES])
    shares[0] = 1.0
    some = terms["a"].compare(student, teacher, {"labels": labels, SHARES: shares})[""]
    rest = terms["a"].compare(student, teacher, {"labels": labels, SHARES: 1 - shares})[""]
    torch.testing.assert_close(some + rest, alone)
    assert 0 < some < alone


def test_cross_predictions_are_shared_as_the_teachers_own():
    loss = ClassResponseLoss()
    maps = {"features": torch.zeros(2, 8, 3, 4), "scores": torch.randn(2, 3, 3, 4)}
    crossed = CrossHeadLoss(loss, through=["head.act"])
    TeacherShares("entropy").require(crossed)
    assert torch.equal(crossed.doubts(maps), loss.doubts(maps["scores"]))


def test_a_batch_of_no_regions():
    group = TeacherShares("confidence")
    terms = {name: Term(SoftTargetLoss(), "0", teacher=name, shares=group) for name in "ab"}
    empty = {"": torch.zeros(0, 3)}
    inputs = {name: {"labels": torch.zeros(0).long()} for name in terms}
    means = share_samples(terms, dict.fromkeys(terms, empty), inputs)
    assert list(means.values()) == [0.0, 0.0]


def test_labels_are_required_of_confidence_alone():
    student, teachers = nets()
    term = dict(loss=SoftTargetLoss(), layers="head", teacher=["a", "b"], weighting="confidence")
    kdkit.distill(student, teachers, {"kd": term})
    student(INPUTS)
    with pytest.raises(ValueError, match=r"term 'kd_a' needs \['labels'\] besides the layers"):
        student.distiller.losses()
    found, _ = run(nets()[1], teacher=["a", "b"], weighting="entropy")
    assert found["weight_kd_a"] + found["weight_kd_b"] == pytest.approx(1.0)


def test_scores_of_several_layers_are_refused():
    group = TeacherShares("entropy")
    terms = {name: Term(SoftTargetLoss(), ["0", "1"], teacher=name, shares=group) for name in "ab"}
    scores = {"": [torch.zeros(4, 3), torch.zeros(4, 3)]}
    with pytest.raises(ValueError, match="of term 'a' weighs the samples of one layer, but there"):
        share_samples(terms, dict.fromkeys(terms, scores), {name: {} for name in terms})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(weighting="entropy"), "needs several teachers, .* but teacher is None"),
        (dict(teacher="a", weighting="entropy"), "but teacher is 'a'"),
        (dict(teacher=dict(a=1.0, b=2.0), weighting="entropy"), "but teacher is {'a': 1.0"),
        (dict(teacher=["a", "b"], weighting="sure"), "weighting must be one of"),
        (dict(teacher=["a", "b"], weighting=dict(layers="0")), "must have a kind and may have"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=f"term 'kd': .*{message}"):
        split_terms({"kd": dict(loss=SoftTargetLoss(), layers="0", **options)})


def test_boxes_are_weighed_by_the_class_scores_of_their_regions():
    layers = "head.cls"
    term = dict(loss=RegionBoxLoss(classes=2), layers="head.reg", teacher=["a", "b"])
    made = split_terms({"boxes": term | dict(weighting=dict(kind="entropy", layers=layers))})
    terms = {name: term_of(name, options) for name, options in made.items()}
    assert terms["boxes_a"].shares is terms["boxes_b"].shares
    assert [path.text for path in terms["boxes_a"].teacher_layers[TEACHER_SCORES]] == [layers]
    labels = torch.tensor([0, 1])
    offsets = {"": torch.ones(2, 4)}
    sure = torch.tensor([[40.0, 0.0], [0.0, 0.0]])
    teacher = {
        "boxes_a": {"": torch.zeros(2, 4), TEACHER_SCORES: [sure]},
        "boxes_b": {"": torch.full((2, 4), 3.0), TEACHER_SCORES: [torch.zeros(2, 2)]},
    }
    inputs = {name: {"labels": labels} for name in terms}
    share_samples(terms, teacher, inputs)
    found = {n: terms[n].compare(offsets, teacher[n], inputs[n])[""].item() for n in terms}
    # Differences 4 and 8; shares 2/3 and 1/2 of a, 1/3 and 1/2 of b; two regions of foreground.
    assert found == {
        "boxes_a": pytest.approx(4 * (2 / 3 + 1 / 2) / 2),
        "boxes_b": pytest.approx(8 * (1 / 3 + 1 / 2) / 2),
    }


def test_boxes_without_scores_or_with_a_mask_are_refused():
    with pytest.raises(ValueError, match="by class scores, but RegionBoxLoss compares none. Name"):
        Term(RegionBoxLoss(), "0", shares=TeacherShares("entropy"))
    group = TeacherShares("entropy", "0")
    with pytest.raises(ValueError, match="no roles, but SoftTargetLoss gets a mask"):
        Term(SoftTargetLoss(), "0", shares=group, mask="attention")
    with pytest.raises(ValueError, match="no roles, but BoxResponseLoss has roles"):
        Term(BoxResponseLoss(), dict.fromkeys(("scores", "boxes"), "0"), shares=group)


def test_a_loss_without_samples_is_refused():
    with pytest.raises(ValueError, match="FeatureImitationLoss takes no weights of samples"):
        Term(FeatureImitationLoss(), "0", shares=TeacherShares("entropy"))
