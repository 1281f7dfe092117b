import pytest
import torch
from torch import nn

from kd_core import Distiller, GradientShares, Term


class TwoTerms(nn.Module):
    """One weight w that both losses share: f = w x, and a layer behind it."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(1, 1, bias=False)
        self.behind = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.shared.weight)
        nn.init.constant_(self.behind.weight, 2.0)

    def forward(self, x):
        out = self.behind(self.shared(x))
        return {"loss_out": [out.sum()], "accuracy": out.detach().sum()} if self.training else out


class Mean(nn.Module):
    def forward(self, student, teacher):
        return student.sum() - teacher.sum()


def attached(**shares):
    student = TwoTerms()
    terms = {"a": Term(Mean(), "shared", weight=3.0), "b": Term(Mean(), "behind", weight=1.5)}
    return Distiller(TwoTerms(), terms, GradientShares(**shares)).attach(student)


ONE = torch.ones(1, 1)


def test_shares_worked_out_by_hand():
    # By w: a = 3 w gives 3; b = 1.5 * 2 w gives 3; the task 2 w gives 2.
    logged = attached(layer="shared")(ONE)
    assert float(logged["gradient_share_a"]) == pytest.approx(3 / 8)
    assert float(logged["gradient_share_b"]) == pytest.approx(3 / 8)
    assert float(logged["gradient_share_task"]) == pytest.approx(2 / 8)


def test_a_term_before_the_layer_has_no_share():
    # By the weight behind: a gives 0, b gives 1.5, the task 1.
    logged = attached(layer="behind")(ONE)
    shares = [float(logged[f"gradient_share_{name}"]) for name in ("a", "b", "task")]
    assert shares == pytest.approx([0.0, 0.6, 0.4])


def test_shares_of_a_plain_network_are_those_of_the_terms():
    student = nn.Sequential(TwoTerms().eval())
    terms = {"a": Term(Mean(), "0.shared"), "b": Term(Mean(), "0.behind", weight=1.5)}
    Distiller(nn.Sequential(TwoTerms()), terms, GradientShares("0.shared")).attach(student)
    student.training = True
    student(ONE)
    logged = student.distiller.losses()
    assert float(logged["gradient_share_a"]) == pytest.approx(1 / 4)  # 1 of 1 + 1.5 * 2


def test_they_are_looked_at_every_interval():
    student = attached(layer="shared", interval=3)
    looked = ["gradient_share_a" in student(ONE) for _ in range(7)]
    assert looked == [True, False, False, True, False, False, True]


def test_they_leave_the_gradients_alone():
    gradients = []
    for shares in (None, GradientShares("shared", interval=1)):
        student = TwoTerms()
        Distiller(TwoTerms(), {"a": Term(Mean(), "shared")}, shares).attach(student)
        losses = student(ONE)
        (losses["loss_a"] + losses["loss_out"][0]).backward()
        gradients.append([p.grad.clone() for p in student.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_no_share_is_summed_as_a_loss():
    logged = attached(layer="shared")(ONE)
    assert [key for key in logged if "loss" in key] == ["loss_out", "loss_a", "loss_b"]
    assert not any(logged[key].requires_grad for key in logged if "share" in key)


def test_zero_gradients_give_zero_shares():
    shares = GradientShares("0").measure(
        model := nn.Sequential(nn.Linear(2, 2)), {"a": model(torch.ones(1, 2)).sum() * 0.0}
    )
    assert shares == {"a": 0.0}


def test_a_layer_without_trained_parameters_is_refused():
    frozen = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.ReLU())
    for layer in "01":
        with pytest.raises(ValueError, match=f"'{layer}' has no trainable parameter"):
            GradientShares(layer).measure(frozen, {"a": torch.zeros(())})


def test_a_wrong_layer_fails_when_attaching():
    with pytest.raises(ValueError, match="no layer 'shraed'.*shared"):
        attached(layer="shraed")


def test_an_interval_below_one_is_refused():
    with pytest.raises(ValueError, match="interval must be at least 1, but it is 0"):
        GradientShares("shared", interval=0)
