import math

import pytest
import torch

from kd_core.losses import DarkRankLoss


def test_authors_code(agrees_with_reference):
    # https://github.com/lenscloth/RKD, metric/loss.py,
    # commit 0a6c3c0c190722d428322bf71703c0ae86c25242.
    agrees_with_reference("hard_dark_rank", DarkRankLoss())


def test_hard_value_worked_out_by_hand():
    # Teacher order of the others: by distance. Two neighbors each, alpha 1, beta 1.
    teacher = torch.tensor([[0.0], [1.0], [3.0]])
    student = torch.tensor([[0.0], [3.0], [1.0]])  # distances 3, 1, 2 where the teacher has 1, 3, 2

    def unlikely(first, second):  # -log P that first comes before second
        return math.log(math.exp(-first) + math.exp(-second)) + first

    expected = (unlikely(3, 1) + unlikely(3, 2) + unlikely(2, 1)) / 3
    loss = DarkRankLoss(alpha=1.0, beta=1.0, length=2)
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-5)
    assert DarkRankLoss(length=1)(student, teacher).item() == 0  # one sample has one order


def test_soft_is_the_divergence_over_all_orders():
    teacher = torch.tensor([[0.0], [1.0], [3.0]])
    student = torch.tensor([[0.0], [3.0], [1.0]])

    def divergence(theirs, ours):  # distances of the two neighbors
        total = 0.0
        for first, second in ((0, 1), (1, 0)):
            p, q = (
                math.exp(-d[first]) / (math.exp(-d[first]) + math.exp(-d[second]))
                for d in (theirs, ours)
            )
            total += p * math.log(p / q)
        return total

    expected = divergence((1, 3), (3, 1)) + divergence((1, 2), (3, 2)) + divergence((2, 3), (2, 1))
    loss = DarkRankLoss("soft", alpha=1.0, beta=1.0, length=2)
    assert loss(student, teacher).item() == pytest.approx(expected / 3, rel=1e-5)


@pytest.mark.parametrize("form", ["hard", "soft"])
def test_rotation_and_translation_do_not_matter(form):
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4))
    loss = DarkRankLoss(form, alpha=0.1)
    moved = student @ rotation + torch.randn(4)
    assert loss(moved, teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-3)


@pytest.mark.parametrize("form", ["hard", "soft"])
def test_a_small_batch_has_shorter_lists(form):
    student, teacher = torch.randn(3, 4), torch.randn(3, 5)
    short, long = (DarkRankLoss(form, length=n)(student, teacher).item() for n in (2, 4))
    assert short == long
    assert DarkRankLoss(form)(student[:1], teacher[:1]).item() == 0


def test_the_longest_soft_lists():
    assert DarkRankLoss("soft", length=6).length == 6 and DarkRankLoss(length=7).length == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(form="medium"), "form must be one of"),
        (dict(alpha=0.0), "alpha must be above 0"),
        (dict(beta=0.5), "beta must be at least 1"),
        (dict(length=0), "length must be at least 1"),
        (dict(form="soft", length=1), "2 to 6 for form='soft', but it is 1"),
        (dict(form="soft", length=7), "2 to 6 for form='soft', but it is 7"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        DarkRankLoss(**options)
