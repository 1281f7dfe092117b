import pytest
import torch

from kd_core.connectors import Connector
from kd_core.losses import MGDLoss


def generator_of(loss):
    project = loss.levels[0].project
    return {"generation.0": project[0], "generation.2": project[2]}


# https://github.com/yzd-v/MGD, det/mmdet/distillation/losses/mgd.py and
# cls/mmcls/distillation/losses/mgd.py, commit 2c9da0b28625eb948db57afc02c824452c3910fe; its
# weights, inputs and draws are recorded.
def test_authors_code_for_detectors(agrees_with_layers, monkeypatch):
    loss, connector = MGDLoss(alpha=1.0, masked=0.65), Connector(4, 7, MGDLoss.connector)
    loss.prepare(torch.zeros(3, 7, 6, 5), torch.zeros(3, 7, 6, 5))

    def run(data):
        monkeypatch.setattr(torch, "rand", lambda shape, device: data["uniform"].reshape(shape))
        return loss(connector(data["student"]), data["teacher"])

    agrees_with_layers("mgd_spatial", {"align": connector.project, **generator_of(loss)}, run)


def test_authors_code_for_classifiers(agrees_with_layers, monkeypatch):
    loss = MGDLoss("classifier", alpha=1.0)
    loss.prepare(torch.zeros(3, 7, 6, 5), torch.zeros(3, 7, 6, 5))

    def run(data):
        monkeypatch.setattr(torch, "rand", lambda shape, device: data["uniform"].reshape(shape))
        return loss(data["student"], data["teacher"])

    agrees_with_layers("mgd_channel", generator_of(loss), run)


def identity(loss):
    """Let the generator of one channel double what is positive."""
    with torch.no_grad():
        for place, factor in ((0, 1.0), (2, 2.0)):
            layer = loss.levels[0].project[place]
            layer.weight.zero_()
            layer.weight[:, :, 1, 1] = factor
            layer.bias.zero_()


def test_value_worked_out_by_hand():
    student, teacher = torch.tensor([[1.0, 3.0], [-1.0, 2.0]]).reshape(2, 1, 1, 2), torch.zeros(1)
    loss = MGDLoss(alpha=0.5, masked=0.0)
    loss.prepare(student, student)
    identity(loss)
    value = loss(student, teacher.expand(2, 1, 1, 2))
    assert value.item() == pytest.approx(0.5 / 2 * (2**2 + 6**2 + 0 + 4**2))


@pytest.mark.parametrize("preset", ["one_stage", "classifier"])
def test_the_share_is_masked_anew_in_each_step_and_alike_in_all_channels_or_places(preset):
    torch.manual_seed(0)
    loss, feature = MGDLoss(preset, masked=0.3), torch.zeros(8, 50, 12, 12)
    first, second = loss._mask(feature), loss._mask(feature)
    assert first.shape == ((8, 1, 12, 12) if preset == "one_stage" else (8, 50, 1, 1))
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert first.mean().item() == pytest.approx(0.7, abs=0.05) and not torch.equal(first, second)


def test_all_masked_leaves_the_student_out():
    student = torch.randn(2, 4, 3, 3, requires_grad=True)
    loss = MGDLoss(masked=1.0)
    loss.prepare(student, student)
    loss(student, torch.randn(2, 4, 3, 3)).backward()
    assert not student.grad.any()


def test_levels_have_generators_of_their_own():
    maps = [torch.randn(2, width, 4, 4) for width in (3, 5)]
    loss = MGDLoss()
    loss.prepare(maps, maps)
    kept = loss.levels[1]
    loss.prepare(maps, maps)
    assert [level.channels for level in loss.levels] == [(3, 3), (5, 5)] and loss.levels[1] is kept
    assert loss(maps, [one + 1 for one in maps]) > 0


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="masked must be a share from 0 to 1, but it is 1.5"):
        MGDLoss(masked=1.5)
    with pytest.raises(ValueError, match="preset must be one of .*one_stage.*'detector'"):
        MGDLoss("detector")
    maps = torch.randn(2, 4, 3, 3)
    with pytest.raises(ValueError, match=r"channels, but the maps have \[4\].*prepare"):
        MGDLoss()(maps, maps)
