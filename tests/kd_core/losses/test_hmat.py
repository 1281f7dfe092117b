import pytest
import torch

from kd_core.losses import (
    AttentionTransferLoss,
    ChannelAttentionLoss,
    HMATLoss,
    PositionAttentionLoss,
    SoftTargetLoss,
)

# Two images of 800 x 1333 at stride 4; the first pass on small maps loads what the library loads.
STRIDE_4 = """
from kd_core.losses import HMATLoss
loss = HMATLoss(options={options})
def step(student, teacher):
    sum(loss(dict.fromkeys({roles}, student), dict.fromkeys({roles}, teacher)).values()).backward()
step(torch.randn(1, 8, 20, 20, requires_grad=True), torch.randn(1, 8, 20, 20))
student = torch.randn(2, 256, 200, 334, requires_grad=True)
teacher = torch.randn(2, 256, 200, 334)
"""


def maps(channels=8, **sizes):
    return {role: torch.randn(2, channels, size, size) for role, size in sizes.items()}


def test_value_worked_out_by_hand():
    # Low: cosines 1 against -1 off the diagonal, mean square 2. Mid: attention (1, 0) against
    # (0, 1), mean square 1. High: the same attention; means of channels (1/2, 1/2) against (1, 1).
    low = [torch.tensor([1.0, sign]).reshape(1, 1, 1, 2) for sign in (1, -1)]
    mid = [torch.tensor(x).reshape(1, 1, 1, 2) for x in ([1.0, 0.0], [0.0, 1.0])]
    high = [
        torch.tensor(x).reshape(1, 2, 1, 2) for x in ([1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0])
    ]
    student, teacher = (
        dict(zip(("low", "mid", "high"), x, strict=True)) for x in zip(low, mid, high, strict=True)
    )
    losses = HMATLoss()(student, teacher)
    assert set(losses) == {"position", "activation", "channel"}
    assert losses["position"].item() == pytest.approx(10 * 2.0)
    assert losses["activation"].item() == pytest.approx(100 * 1.0)
    assert losses["channel"].item() == pytest.approx(30 * 0.25)
    others = HMATLoss(preset="embedder")(student, teacher)  # cosines of channels: I against ones
    assert others["channel"].item() == pytest.approx(1.25 * 0.5)


def test_levels_of_a_role_are_summed():
    torch.manual_seed(0)
    student, teacher = (
        {
            role: [torch.randn(2, 8, 6, 6), torch.randn(2, 8, 4, 4)]
            for role in ("low", "mid", "high")
        }
        for _ in range(2)
    )

    def total(loss, *roles):
        pairs = [p for r in roles for p in zip(student[r], teacher[r], strict=True)]
        return sum(loss(*pair).item() for pair in pairs)

    losses = HMATLoss(2.0, 3.0, 4.0, loss_weight=0.5)(student, teacher)
    assert losses["position"].item() == pytest.approx(total(PositionAttentionLoss(), "low"))
    assert losses["activation"].item() == pytest.approx(
        1.5 * total(AttentionTransferLoss(), "mid", "high")
    )
    channel = ChannelAttentionLoss("pooled_batch")
    assert losses["channel"].item() == pytest.approx(2 * total(channel, "high"))


def test_each_part_is_left_out_at_weight_zero():
    student, teacher = maps(low=4, mid=4, high=4), maps(low=4, mid=4, high=4)
    everything = {"position", "activation", "channel"}
    for part in everything:
        assert set(HMATLoss(**{f"{part}_weight": 0.0})(student, teacher)) == everything - {part}
    assert HMATLoss(0.0, 0.0, 0.0)(student, teacher) == {}


def test_parts_without_a_role_are_left_out():
    assert set(HMATLoss()(maps(low=4), maps(low=4))) == {"position"}
    assert set(HMATLoss()(maps(mid=4), maps(mid=4))) == {"activation"}


def test_soft_target_of_logits():
    student, teacher = torch.randn(4, 10), torch.randn(4, 10)
    loss = HMATLoss(soft_target_weight=2.0, options={"soft_target": {"temperature": 3}})
    losses = loss({"logits": student}, {"logits": teacher})
    assert set(losses) == {"soft_target"}
    expected = 2 * SoftTargetLoss(3)(student, teacher).item()
    assert losses["soft_target"].item() == pytest.approx(expected)
    assert HMATLoss()({"logits": student}, {"logits": teacher}) == {}


def test_channel_part_takes_the_connected_maps():
    student, teacher = maps(channels=4, high=4), maps(channels=8, high=4)
    with pytest.raises(ValueError, match="same number of channels"):
        HMATLoss()(student, teacher)
    losses = HMATLoss()(student, teacher, {"high": teacher["high"]})
    assert losses["channel"].item() == 0.0 and losses["activation"].item() > 0


def test_equal_channels_only_where_the_channel_part_needs_them():
    assert HMATLoss().equal_channels == frozenset({"high"})
    assert HMATLoss(channel_weight=0.0).equal_channels == frozenset()
    unequal = HMATLoss(channel_weight=0.0)(maps(4, low=4, high=4), maps(8, low=4, high=4))
    assert set(unequal) == {"position", "activation"}


def test_options_reach_their_parts():
    student, teacher = maps(low=8, mid=8, high=8), maps(low=8, mid=8, high=8)
    options = {
        "position": {"form": "softmax", "side": 4},
        "activation": {"power": 3.0, "reduction": "sum"},
        "channel": {"form": "icc"},
    }
    losses = HMATLoss(1.0, 1.0, 1.0, options=options)(student, teacher)
    position = PositionAttentionLoss("softmax", side=4)(student["low"], teacher["low"])
    activation = sum(
        AttentionTransferLoss(3.0, reduction="sum")(student[r], teacher[r]) for r in ("mid", "high")
    )
    channel = ChannelAttentionLoss("icc")(student["high"], teacher["high"])
    assert losses["position"].item() == pytest.approx(position.item())
    assert losses["activation"].item() == pytest.approx(activation.item())
    assert losses["channel"].item() == pytest.approx(channel.item())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"depth": {}}, r"parts \['activation', 'channel', 'position', 'soft_t.*has \['depth'\]"),
        (
            {"channel": {"side": 4}},
            r"options of 'channel' must be among \['form', 'power'\].*\['side'\]",
        ),
        ({"channel": {"loss_weight": 4}}, r"must be among \['form', 'power'\].*\['loss_weight'\]"),
        ({"position": {"side": 0}}, "side must be at least 1"),
    ],
)
def test_bad_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HMATLoss(options=options)


@pytest.mark.parametrize(
    "student, teacher, message",
    [
        ({"low": 4, "top": 4}, {"low": 4}, r"among \['low', 'mid', 'high', 'logits'\].*\['top'\]"),
        ({"low": 4, "mid": 4}, {"low": 4}, r"same roles.*\['low', 'mid'\].*\['low'\]"),
    ],
)
def test_bad_role_is_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        HMATLoss()(maps(**student), maps(**teacher))


def test_unequal_numbers_of_levels_are_refused():
    feature = torch.randn(2, 8, 4, 4)
    with pytest.raises(ValueError, match="student has 2 and teacher has 1"):
        HMATLoss()({"low": [feature, feature]}, {"low": [feature]})


@pytest.mark.parametrize(
    "roles, options",
    [
        (["mid"], {"activation": {"power": 3.0, "reduction": "sum"}}),
        (["low", "mid", "high"], {}),
        (["low", "high"], {"position": {"form": "spatial"}, "channel": {"form": "icc"}}),
    ],
)
def test_detector_size_costs_less_than_300_megabytes(peak_bytes, roles, options):
    before = STRIDE_4.format(roles=roles, options=options)
    assert peak_bytes(before, "step(student, teacher)") < 300e6


PRESETS = {
    "classifier": (10.0, 100.0, 30.0, "mean", "pooled_batch"),
    "embedder": (2.5, 25.0, 1.25, "mean", "cosine"),
    "detector": (10.0, 2.0, 5.0, "sum", "cosine"),
}


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_a_preset_gives_weights_and_options(preset):
    loss = HMATLoss() if preset is None else HMATLoss(preset=preset)
    *weights, reduction, form = PRESETS[preset or "classifier"]
    parts = ("position", "activation", "channel", "soft_target")
    assert loss.weights == dict(zip(parts, [*weights, 0.0], strict=True))
    assert loss.parts["activation"].reduction == reduction
    assert loss.parts["channel"].form == form


@pytest.mark.parametrize("preset", PRESETS)
def test_the_scale_of_the_two_networks_does_not_count_in_any_preset(preset):
    torch.manual_seed(0)
    student, teacher = (maps(low=6, mid=5, high=4) for _ in range(2))
    loss = HMATLoss(preset=preset)
    expected = loss(student, teacher)
    scaled = ({role: 10 * value for role, value in side.items()} for side in (student, teacher))
    for part, value in loss(*scaled).items():
        assert value.item() == pytest.approx(expected[part].item(), rel=1e-4)


def test_what_is_given_goes_before_the_preset():
    options = dict(activation=dict(power=4.0), position=dict(side=8))
    mixed = HMATLoss(channel_weight=0.0, options=options, preset="detector")
    assert mixed.weights == dict(position=10.0, activation=2.0, channel=0.0, soft_target=0.0)
    activation = mixed.parts["activation"]
    assert (activation.reduction, activation.power) == ("sum", 4.0)
    assert mixed.parts["position"].side == 8
    with pytest.raises(ValueError, match="preset must be"):
        HMATLoss(preset="segmenter")
