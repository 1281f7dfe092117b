import pytest
import torch

from kd_core.losses import DISTLoss


def two_classes(*first):
    """Logits of samples whose first class has these probabilities."""
    chance = torch.tensor(first)
    return torch.stack((chance, 1 - chance), dim=1).log()


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_value_worked_out_by_hand(temperature, form):
    # Of two classes, samples correlate by 1, or by -1 where the other class is ahead: the first
    # of three. Over the samples (0.2, 0, -0.2) meets (0, 0.3, -0.3), and the same for the other
    # class: 0.06 / 0.12.
    student = temperature * two_classes(0.8, 0.6, 0.4)
    teacher = temperature * two_classes(0.4, 0.7, 0.1)
    loss = DISTLoss(inter_weight=3.0, intra_weight=5.0, temperature=temperature, form=form)
    expected = temperature**2 * (3 * 2 / 3 + 5 * 0.5)
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_authors_code(agrees_with_reference):
    # https://github.com/open-mmlab/mmrazor, mmrazor/models/losses/dist_loss.py,
    # commit 90c7af1fdf35a606a2fceaaeb4b6be2f0dac4eb7; weights 1 and 1, temperature 1.
    agrees_with_reference("dist", DISTLoss())


def test_order_of_samples_and_classes_does_not_matter():
    student, teacher = torch.randn(5, 4), torch.randn(5, 4)
    rows, columns = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 3, 1])
    moved = (logits[rows][:, columns] for logits in (student, teacher))
    loss = DISTLoss()
    assert loss(*moved).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)


def test_only_the_papers_form_counts_classes_that_hardly_vary():
    # The last of three classes varies by some 1e-5 over the samples, in the opposite direction.
    rise = torch.tensor([[0.0], [1.0], [2.0]])
    student, teacher = (torch.cat([rise, -rise, sign * rise - 12], 1) for sign in (1, -1))
    code, paper = (
        DISTLoss(inter_weight=0.0, form=form)(student, teacher).item() for form in ("code", "paper")
    )
    assert paper > 0.5 and code == pytest.approx(1 / 3, abs=0.02)


def test_bad_form_is_refused():
    with pytest.raises(ValueError, match=r"form must be one of \['code', 'paper'\]"):
        DISTLoss(form="other")


def test_a_batch_of_one_has_no_relation_over_samples():
    student = torch.randn(1, 6, requires_grad=True)
    value = DISTLoss(inter_weight=0.0)(student, torch.randn(1, 6))
    value.backward()
    assert value.item() == 1 and not student.grad.any()


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("level", [0.0, 2.5, 31.7])
def test_equal_logits_give_no_gradient_out_of_rounding(level, form):
    student = torch.full((4, 1001), level, requires_grad=True)
    DISTLoss(form=form)(student, torch.randn(4, 1001)).backward()
    assert not student.grad.any()


@pytest.mark.parametrize("form", ["code", "paper"])
def test_equal_logits_of_one_sample_among_others(form):
    """Its correlation is 0, so its part is 1; it gets no gradient out of rounding."""
    torch.manual_seed(0)
    teacher = torch.randn(2, 1001)
    student = torch.stack([torch.full((1001,), 2.5), teacher[1]]).requires_grad_()
    value = DISTLoss(intra_weight=0.0, form=form)(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(0.5, abs=1e-2)
    assert not student.grad[0].any()


def test_bad_temperature_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, but it is 0"):
        DISTLoss(temperature=0)
