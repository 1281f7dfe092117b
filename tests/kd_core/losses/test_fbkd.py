import pytest
import torch

from kd_core.losses import FBKDLoss

# https://github.com/open-mmlab/mmrazor, mmrazor/models/losses/fbkd_loss.py and
# mmrazor/models/architectures/connectors/fbkd_connector.py,
# commit 90c7af1fdf35a606a2fceaaeb4b6be2f0dac4eb7; its weights and inputs are recorded.
PARTS = {"feature": "feature", "channel": "channel", "spatial": "spatial", "nonlocal": "relation"}
ADAPT = {
    "feature": "adaptation_layers",
    "channel": "channel_wise_adaptation",
    "spatial": "spatial_wise_adaptation",
    "relation": "non_local_adaptation",
}
NOTHING = dict.fromkeys(ADAPT, 0.0)


def layers_of(level, pooled=False):
    """Path of mmrazor's layers to ours."""
    found = {f"student_connector.{ADAPT[part]}": layer for part, layer in level.adapt.items()}
    for side, block in level.non_local.items():
        path = f"{side}_connector.{side}_non_local"
        inside = ".0.0.conv" if pooled else ".conv"
        found |= {f"{path}.theta.conv": block.theta, f"{path}.conv_out.conv": block.out}
        found |= {f"{path}.phi{inside}": block.phi, f"{path}.g{inside}": block.g}
        found[f"{path}.conv_out.bn"] = block.norm
    return found


@pytest.mark.parametrize("name", ["feature", "channel", "spatial", "nonlocal", "total"])
def test_openmmlabs_code(agrees_with_layers, name):
    loss = FBKDLoss(
        weights=None if name == "total" else NOTHING | {PARTS[name]: 1.0},
        reductions=(2,),
        pools=(1,),
    )
    loss.prepare(torch.zeros(3, 6, 8, 10), torch.zeros(3, 6, 8, 10))
    (level,) = loss.levels
    agrees_with_layers(
        f"fbkd_{name}", layers_of(level), lambda data: loss(data["student"], data["teacher"])
    )


def test_openmmlabs_code_with_pooling(agrees_with_layers):
    # It pools twice by 2; 6 channels at its reduction of 3 are 2.
    loss = FBKDLoss(NOTHING | {"relation": 1.0}, reductions=(3,), pools=(4,))
    loss.prepare(torch.zeros(3, 6, 8, 10), torch.zeros(3, 6, 8, 10))
    (level,) = loss.levels
    agrees_with_layers(
        "fbkd_nonlocal_pooled",
        layers_of(level, pooled=True),
        lambda data: loss(data["student"], data["teacher"]),
    )


def test_value_worked_out_by_hand():
    student, teacher = torch.zeros(1, 2, 1, 2), torch.tensor([[1.0, 3.0], [2.0, 6.0]])
    loss = FBKDLoss(NOTHING | {"channel": 1.0, "spatial": 1.0})
    teacher = teacher.reshape(1, 2, 1, 2)
    loss.prepare(student, teacher)
    for parameter in loss.parameters():
        torch.nn.init.zeros_(parameter)
    expected = (2**2 + 4**2) ** 0.5 + (1.5**2 + 4.5**2) ** 0.5
    assert loss(student, teacher).item() == pytest.approx(expected)


def test_the_relation_is_all_pairs_of_positions():
    torch.manual_seed(0)
    loss = FBKDLoss(NOTHING | {"relation": 1.0}, reductions=(2,), pools=(1,))
    feature = torch.randn(2, 6, 3, 4)
    loss.prepare(feature, feature)
    block = loss.levels[0].non_local["student"].eval()
    torch.nn.init.ones_(block.norm.weight)
    theta, phi, g = (layer(feature).flatten(2) for layer in (block.theta, block.phi, block.g))
    affinity = torch.einsum("ncp,ncq->npq", theta, phi) / 12
    y = torch.einsum("npq,ncq->ncp", affinity, g).unflatten(2, (3, 4))
    torch.testing.assert_close(block(feature), feature + block.norm(block.out(y)))


def test_equal_maps_have_a_finite_gradient():
    loss = FBKDLoss(NOTHING | {"feature": 1.0})
    student = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss.prepare(student, student)
    adapt = loss.levels[0].adapt["feature"]
    with torch.no_grad():
        adapt.weight.copy_(torch.eye(3).reshape(3, 3, 1, 1))
        adapt.bias.zero_()
    value = loss(student, student.detach())
    value.backward()
    assert value < 1e-4 and torch.isfinite(student.grad).all()


def test_a_part_of_weight_0_has_no_layers():
    loss = FBKDLoss({"relation": 0.0, "channel": 0.0})
    loss.prepare(torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 2, 2))
    (level,) = loss.levels
    assert set(level.adapt) == {"feature", "spatial"} and not level.non_local


def test_later_levels_take_the_last_number():
    maps = [torch.randn(2, 8, side, side) for side in (4, 2, 1)]
    loss = FBKDLoss(reductions=(4, 2), pools=(8,))
    loss.prepare(maps, maps)
    widths = [level.non_local["student"].theta.out_channels for level in loss.levels]
    assert widths == [2, 4, 4] and loss(maps, [one + 1 for one in maps]) > 0


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="a part of weights must be one of .*'mask'"):
        FBKDLoss({"mask": 1.0})
    with pytest.raises(ValueError, match=r"pools must be whole numbers from 1 on.*\(0,\)"):
        FBKDLoss(pools=(0,))
    with pytest.raises(ValueError, match=r"channels, but the maps have \[4\].*prepare"):
        FBKDLoss()(torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3))


def test_maps_in_half_whose_sum_is_above_the_largest_half_stay_finite():
    student = torch.ones(2, 8, 64, 65).half().requires_grad_()  # their sum is 66560
    loss = FBKDLoss()
    loss.prepare(student, student)
    value = loss(student, torch.zeros_like(student))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(student.grad).all()
