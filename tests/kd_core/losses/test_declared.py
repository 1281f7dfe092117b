"""Declarations of the losses, and their defaults."""

import inspect

import pytest

from kd_core import losses
from kd_core.losses import HMATLoss, VIDLoss
from kd_core.losses.base import DistillationLoss

EVERY = {name: getattr(losses, name) for name in losses.__all__}


def default(loss, option):
    return inspect.signature(loss).parameters[option].default


def test_which_take_several_levels():
    found = {name for name, loss in EVERY.items() if getattr(loss, "accepts_lists", False) is True}
    assert found == {
        "ASCKDLoss",
        "ClassResponseLoss",
        "CRDLoss",  # to refuse them with a message of its own
        "FBKDLoss",
        "FGDLoss",
        "FlowOfSolutionProcedureLoss",
        "HMATLoss",
        "MGDLoss",
        "OFDLoss",
        "ReviewKDLoss",
        "VIDLoss",
    }


def test_which_need_equal_channels():
    assert {
        name for name, loss in EVERY.items() if getattr(loss, "equal_channels", None) is True
    } == {
        "ChannelAttentionLoss",
        "ChannelDistillationLoss",
        "ChannelWiseLoss",
        "EmbeddingCosineLoss",
        "FBKDLoss",
        "FGDLoss",
        "FeatureImitationLoss",
        "FlowOfSolutionProcedureLoss",
        "MGDLoss",
        "OFDLoss",
        "PearsonFeatureLoss",
    }
    assert HMATLoss(channel_weight=0.5).equal_channels == {"high"}


def test_every_loss_declares_by_the_base_class():
    assert all(issubclass(loss, DistillationLoss) for loss in EVERY.values())
    loss = DistillationLoss()
    assert not (loss.accepts_lists or loss.equal_channels or loss.requires)
    with_roles = {name for name, one in EVERY.items() if hasattr(one, "roles")}
    assert with_roles == {
        "BoxResponseLoss",
        "CenternessResponseLoss",
        "DistributionResponseLoss",
        "HMATLoss",
        "LocalizationRegionLoss",
        "QueryResponseLoss",
    }
    assert loss.aligns_spaces is False and loss.loss_weight == 1.0
    with pytest.raises(ValueError, match="loss_weight"):
        DistillationLoss(-1.0)


def test_weights_are_one_unless_the_method_has_a_usual_one():
    found = {name: default(loss, "loss_weight") for name, loss in EVERY.items()}
    usual = {"ASCKDLoss": 47.0, "OFDLoss": 1e-3, "ProbabilisticTransferLoss": 30000.0}
    assert found == dict.fromkeys(EVERY, 1.0) | usual


def test_the_variance_begins_at_five():
    assert default(VIDLoss, "initial_variance") == 5.0


@pytest.mark.parametrize("loss", [loss for loss in EVERY.values() if "gather" in
                                  inspect.signature(loss).parameters])  # fmt: skip
def test_ranks_are_gathered_only_where_that_is_asked_for(loss):
    assert loss().gather is False and loss(gather=True).gather is True
