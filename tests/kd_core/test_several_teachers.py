"""Terms of several teachers, written as one for each."""

import pytest
import torch
from torch import nn

import kdkit
from kd_core.losses import FeatureImitationLoss, SoftTargetLoss
from kd_core.several_teachers import split_terms

KD = dict(loss=SoftTargetLoss(), layers="0")


def split(**options):
    return split_terms({"kd": KD | options})


def test_a_list_shares_the_weight():
    made = split(teacher=["a", "b"], weight=3.0)
    assert {name: (one["teacher"], one["weight"]) for name, one in made.items()} == {
        "kd_a": ("a", 1.5),
        "kd_b": ("b", 1.5),
    }
    assert made["kd_a"]["loss"] is not made["kd_b"]["loss"]


def test_one_of_weight_0_is_left_out():
    assert list(split(teacher=dict(a=0.0, b=0.5))) == ["kd_b"]


@pytest.mark.parametrize("teacher", [["a"], dict(a=1.0)])
def test_one_teacher_is_the_term_itself(teacher):
    ((name, made),) = split(teacher=teacher).items()
    assert (name, made["teacher"], made["weight"]) == ("kd", "a", 1.0)
    assert split(teacher="a") == {"kd": KD | dict(teacher="a")}


def test_each_has_its_own_layers():
    made = split(teacher=["a", "b"], teacher_layers=dict(a="x", b=["y", "z"]))
    assert [one["teacher_layers"] for one in made.values()] == ["x", ["y", "z"]]
    roles = split(teacher=["a", "b"], teacher_layers=dict(low="x"))
    assert roles["kd_b"]["teacher_layers"] == dict(low="x")


def test_the_sum_is_that_of_the_weighted_losses_and_each_teacher_runs_once():
    torch.manual_seed(0)
    student, narrow, wide = (nn.Sequential(nn.Linear(4, size)) for size in (3, 2, 5))
    runs = []
    for name, teacher in (("narrow", narrow), ("wide", wide)):
        teacher.register_forward_hook(lambda *_, name=name: runs.append(name))
    inputs = torch.randn(6, 4)
    terms = {
        "map": dict(loss=FeatureImitationLoss(), layers="0", teacher=dict(narrow=0.3, wide=0.7))
    }
    distiller = kdkit.distill(student, {"narrow": narrow, "wide": wide}, terms, (inputs,))
    runs.clear()
    output = student(inputs)
    found = distiller.losses()
    assert sorted(runs) == ["narrow", "wide"]
    for (name, share), teacher in zip(
        (("narrow", 0.3), ("wide", 0.7)), (narrow, wide), strict=True
    ):
        (connector,) = distiller.connectors[f"map_{name}"].children()
        expected = share * (connector(output) - teacher(inputs)).square().mean()
        torch.testing.assert_close(found[f"loss_map_{name}"], expected)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(teacher=[]), "term 'kd': teacher must be a name, a list"),
        (dict(teacher=["a", "a"]), "a list of different ones"),
        (dict(teacher=dict(a=0.0)), "one of them above 0"),
        (dict(teacher=dict(a=-1.0, b=2.0)), "a must be finite and at least 0, but it is -1.0"),
        (dict(teacher=["a", "b"], weight="auto"), "a weight that is a number, but it is 'auto'"),
        (dict(teacher=["a", "b", "c"], teacher_layers=dict(a="x", b="y")),
         "layers of each teacher, a, b, c, but it names those of a, b"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        split(**options)


def test_a_name_that_is_taken():
    with pytest.raises(ValueError, match="there are two 'kd_a'"):
        split_terms({"kd_a": KD, "kd": KD | dict(teacher=["a", "b"])})
