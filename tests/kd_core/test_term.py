import math

import pytest
import torch
from torch import nn

from kd_core import Term
from kd_core.losses import (
    ASCKDLoss,
    AttentionTransferLoss,
    ChannelWiseLoss,
    FeatureImitationLoss,
    HMATLoss,
)


class Listed(nn.Module):
    """Takes a list of levels itself."""

    accepts_lists = True

    def forward(self, student, teacher):
        return torch.tensor(float(len(student)))


def maps(*values):
    return [torch.full((1, 1, 2, 2), float(value)) for value in values]


def texts(side):
    return {role: [selector.text for selector in found] for role, found in side.items()}


class TestLayers:
    @pytest.mark.parametrize(
        "layers, roles",
        [
            ("neck", {"": ["neck"]}),
            (["a", "b[1]"], {"": ["a", "b[1]"]}),
        ],
    )
    def test_without_roles(self, layers, roles):
        assert texts(Term(nn.MSELoss(), layers).student_layers) == roles

    def test_with_roles(self):
        term = Term(HMATLoss(), {"low": "neck[0]", "mid": ["neck[1]", "neck[2]"]})
        assert texts(term.student_layers) == {"low": ["neck[0]"], "mid": ["neck[1]", "neck[2]"]}

    def test_the_teacher_has_the_same_layers_unless_told(self):
        assert texts(Term(nn.MSELoss(), "a").teacher_layers) == {"": ["a"]}
        assert texts(Term(nn.MSELoss(), "a", "b").teacher_layers) == {"": ["b"]}

    def test_logits_are_no_role_of_a_loss_without_roles(self):
        with pytest.raises(ValueError, match=r"takes layers without roles, but got \['logits'\]"):
            Term(nn.MSELoss(), {"logits": "head"})

    @pytest.mark.parametrize("layers", [3, ["a", 3], {"low": 3}, {"low": ["a", None]}])
    def test_a_name_must_be_a_text(self, layers):
        with pytest.raises(ValueError, match="layers must be a name such as"):
            Term(HMATLoss(), layers)

    def test_roles_must_agree(self):
        with pytest.raises(ValueError, match=r"same roles, but they name \['low'\] and \['mid'\]"):
            Term(HMATLoss(), {"low": "a"}, {"mid": "a"})

    def test_a_loss_without_roles_refuses_them(self):
        with pytest.raises(ValueError, match=r"AttentionTransferLoss takes layers without roles"):
            Term(AttentionTransferLoss(), {"low": "a"})

    @pytest.mark.parametrize("layers", ["a", {"lowest": "a"}])
    def test_a_loss_with_roles_asks_for_them(self, layers):
        with pytest.raises(ValueError, match="HMATLoss takes .* roles low, mid, high"):
            Term(HMATLoss(), layers)

    def test_hmat_takes_logits_too(self):
        term = Term(HMATLoss(soft_target_weight=1.0), {"low": "a", "logits": "head"})
        assert texts(term.student_layers)["logits"] == ["head"]

    @pytest.mark.parametrize("layers", [[], {}, {"low": []}, {"low": "a", "mid": []}])
    def test_no_layer_is_refused(self, layers):
        with pytest.raises(ValueError, match="at least one layer"):
            Term(HMATLoss(), layers)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_makes_no_sense_is_refused(weight):
    with pytest.raises(ValueError, match=f"finite and at least 0, but it is {weight}"):
        Term(nn.MSELoss(), "a", weight=weight)


class TestCompare:
    def test_one_map(self):
        (student,), (teacher,) = maps(3), maps(1)
        assert Term(nn.MSELoss(), "a").compare({"": student}, {"": teacher}) == {"": 4.0}

    def test_levels_are_summed(self):
        values = Term(nn.MSELoss(), ["a", "b"]).compare({"": maps(3, 5)}, {"": maps(1, 2)})
        assert values == {"": 4.0 + 9.0}

    def test_a_loss_that_takes_lists_gets_the_list(self):
        values = Term(Listed(), ["a", "b"]).compare({"": maps(3, 5)}, {"": maps(1, 2)})
        assert values == {"": 2.0}
        assert ASCKDLoss.accepts_lists

    def test_a_loss_with_parts_keeps_them(self):
        random = torch.randn(2, 4, 4, 4)
        values = Term(HMATLoss(), {"low": "a", "high": "b"}).compare(
            {"low": random, "high": [random]}, {"low": -random + 1, "high": [random]}
        )
        assert sorted(values) == ["activation", "channel", "position"]
        assert values["position"] > 0 and values["channel"] == 0

    def test_one_map_is_one_level(self):
        """Not as many as it has images."""
        pair = torch.ones(2, 1, 2, 2)
        with pytest.raises(ValueError, match="the student has 1 and the teacher 2"):
            Term(Listed(), "a", ["a", "b"]).compare({"": pair}, {"": maps(1, 2)})
        assert Term(Listed(), ["a"], "a").compare({"": maps(1)}, {"": pair}) == {"": 1.0}

    @pytest.mark.parametrize("teacher", [maps(1, 2, 3), maps(1)[0]])
    def test_levels_must_be_as_many(self, teacher):
        with pytest.raises(ValueError, match="same number of levels, but the student has 2"):
            Term(Listed(), ["a", "b"]).compare({"": maps(1, 2)}, {"": teacher})


@pytest.mark.parametrize(
    "loss, role, expected",
    [
        (ChannelWiseLoss(), "", True),
        (AttentionTransferLoss(), "", False),
        (HMATLoss(), "high", True),
        (HMATLoss(), "low", False),
        (HMATLoss(channel_weight=0.0), "high", False),
        (nn.MSELoss(), "", False),
    ],
)
def test_which_roles_must_be_connected(loss, role, expected):
    layers = {"high": "a", "low": "a"} if isinstance(loss, HMATLoss) else "a"
    assert Term(loss, layers).must_connect(role) is expected


def test_a_layer_that_gave_nothing_makes_the_term_zero():
    term = Term(FeatureImitationLoss(), "head")
    student = torch.zeros(0, 4, 7, 7, requires_grad=True)
    weight = torch.ones((), requires_grad=True)
    connected = {"": (student * weight)[:, :2]}
    found = term.compare({"": student}, {"": torch.zeros(0, 2, 7, 7)}, connected=connected)
    found[""].backward()
    assert found[""] == 0.0 and weight.grad == 0.0
