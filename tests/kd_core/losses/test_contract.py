"""What every loss of kd_core must do; a new loss adds one line to CASES."""

import pytest
import torch

from kd_core import Term, losses
from kd_core.losses import (
    ASCKDLoss,
    AttentionTransferLoss,
    BoxResponseLoss,
    CenternessResponseLoss,
    ChannelAttentionLoss,
    ChannelDistillationLoss,
    ChannelRelationLoss,
    ChannelWiseLoss,
    ClassResponseLoss,
    CorrelationCongruenceLoss,
    CRDLoss,
    DarkRankLoss,
    DISTLoss,
    DistributionResponseLoss,
    DKDLoss,
    EmbeddingCosineLoss,
    FBKDLoss,
    FeatureImitationLoss,
    FGDLoss,
    FlowOfSolutionProcedureLoss,
    HMATLoss,
    LocalizationRegionLoss,
    MGDLoss,
    OFDLoss,
    PearsonFeatureLoss,
    PositionAttentionLoss,
    ProbabilisticTransferLoss,
    QueryResponseLoss,
    RegionBoxLoss,
    RelationalAngleLoss,
    RelationalDistanceLoss,
    RelaxedContrastiveLoss,
    ReviewKDLoss,
    SelectiveTargetLoss,
    SimilarityPreservingLoss,
    SoftTargetLoss,
    SRRLLoss,
    VIDLoss,
)

# Loss, options, then the shapes of student and teacher.
CASES = [
    pytest.param(ASCKDLoss, {}, (4, 8, 4, 4), (4, 16, 7, 5), id="asckd"),
    pytest.param(
        ASCKDLoss,
        {"relation": "distance_angle"},
        (4, 8, 4, 4),
        (4, 6, 4, 4),
        id="asckd-distance-angle",
    ),
    pytest.param(ASCKDLoss, {"relation": "rbf"}, (4, 8, 4, 4), (4, 6, 4, 4), id="asckd-rbf"),
    pytest.param(
        ASCKDLoss, {"relation": "centered"}, (4, 8, 4, 4), (4, 6, 4, 4), id="asckd-centered"
    ),
    pytest.param(ASCKDLoss, {"side": 2}, (4, 8, 4, 4), (4, 16, 7, 5), id="asckd-side"),
    pytest.param(AttentionTransferLoss, {}, (2, 8, 4, 4), (2, 16, 4, 4), id="activation"),
    pytest.param(
        AttentionTransferLoss, {"power": 1.0}, (2, 8, 4, 4), (2, 8, 4, 4), id="activation-power-1"
    ),
    pytest.param(
        AttentionTransferLoss, {"power": 3.0}, (2, 8, 4, 4), (2, 8, 4, 4), id="activation-power-3"
    ),
    pytest.param(
        AttentionTransferLoss, {"form": "paper"}, (2, 8, 4, 4), (2, 8, 6, 3), id="activation-paper"
    ),
    pytest.param(
        AttentionTransferLoss, {"reduction": "sum"}, (2, 8, 4, 4), (2, 8, 4, 4), id="activation-sum"
    ),
    pytest.param(BoxResponseLoss, {}, (2, 8, 4, 4), (2, 8, 4, 4), id="box-response"),
    pytest.param(
        BoxResponseLoss, {"form": "distance"}, (2, 4, 3, 2), (2, 4, 3, 2), id="box-distance"
    ),
    pytest.param(
        BoxResponseLoss,
        {"form": "log_distance", "overlap": "log_iou"},
        (2, 4, 3, 2),
        (2, 4, 3, 2),
        id="box-log-distance",
    ),
    pytest.param(CenternessResponseLoss, {}, (2, 1, 3, 2), (2, 1, 3, 2), id="centerness-response"),
    pytest.param(ChannelAttentionLoss, {}, (2, 8, 4, 4), (2, 8, 4, 4), id="channel"),
    pytest.param(
        ChannelAttentionLoss, {"form": "icc"}, (2, 8, 4, 4), (2, 8, 6, 6), id="channel-icc"
    ),
    pytest.param(
        ChannelAttentionLoss, {"form": "softmax"}, (2, 8, 4, 4), (2, 8, 4, 4), id="channel-softmax"
    ),
    pytest.param(
        ChannelAttentionLoss, {"form": "pooled"}, (2, 8, 4, 4), (2, 8, 4, 4), id="channel-pooled"
    ),
    pytest.param(
        ChannelAttentionLoss,
        {"form": "pooled_unit", "power": 2.0},
        (2, 8, 4, 4),
        (2, 8, 6, 3),
        id="channel-pooled-unit",
    ),
    pytest.param(
        ChannelAttentionLoss,
        {"form": "pooled_batch"},
        (2, 8, 4, 4),
        (2, 8, 4, 4),
        id="channel-pooled-batch",
    ),
    pytest.param(
        ChannelDistillationLoss, {}, (2, 8, 4, 4), (2, 8, 2, 2), id="channel-distillation"
    ),
    pytest.param(ChannelRelationLoss, {}, (5, 8, 4, 4), (5, 6, 2, 2), id="channel-relation"),
    pytest.param(ChannelWiseLoss, {}, (2, 8, 4, 4), (2, 8, 6, 3), id="channel-wise"),
    pytest.param(ChannelWiseLoss, {}, (2, 8, 4, 4), (2, 8, 4, 4), id="channel-wise-equal-sizes"),
    pytest.param(ClassResponseLoss, {}, (2, 6, 3, 4), (2, 6, 3, 4), id="class-response"),
    pytest.param(
        ClassResponseLoss,
        {"form": "binary", "anchors": 2},
        (2, 6, 3, 4),
        (2, 6, 3, 4),
        id="class-response-binary",
    ),
    pytest.param(
        ClassResponseLoss,
        {"form": "softmax", "temperature": 2.0},
        (2, 6, 3, 4),
        (2, 6, 3, 4),
        id="class-response-softmax",
    ),
    pytest.param(CorrelationCongruenceLoss, {}, (5, 8), (5, 12), id="correlation"),
    pytest.param(
        CRDLoss, {"samples": 9, "negatives": 6, "dim": 4}, (5, 8), (5, 12), id="contrastive"
    ),
    pytest.param(DarkRankLoss, {}, (7, 8), (7, 12), id="dark-rank-hard"),
    pytest.param(
        DarkRankLoss, {"form": "soft", "alpha": 0.1}, (7, 8), (7, 12), id="dark-rank-soft"
    ),
    pytest.param(DISTLoss, {"form": "code"}, (4, 10), (4, 10), id="dist"),
    pytest.param(DISTLoss, {"form": "paper"}, (4, 10), (4, 10), id="dist-paper"),
    pytest.param(
        DistributionResponseLoss, {}, (2, 24, 3, 2), (2, 24, 3, 2), id="distribution-response"
    ),
    pytest.param(DKDLoss, {}, (4, 10), (4, 10), id="decoupled"),
    pytest.param(EmbeddingCosineLoss, {}, (5, 8), (5, 8), id="cosine"),
    pytest.param(FeatureImitationLoss, {}, (2, 8, 4, 4), (2, 8, 6, 3), id="imitation"),
    pytest.param(FeatureImitationLoss, {}, (2, 8), (2, 8), id="imitation-vectors"),
    pytest.param(FBKDLoss, {"pools": (2,)}, (2, 8, 4, 4), (2, 8, 6, 3), id="fbkd"),
    pytest.param(FGDLoss, {}, (2, 8, 4, 4), (2, 8, 6, 3), id="fgd"),
    pytest.param(FlowOfSolutionProcedureLoss, {}, (2, 8, 4, 4), (2, 8, 6, 3), id="flow"),
    pytest.param(HMATLoss, {}, (2, 8, 5, 5), (2, 8, 4, 4), id="hmat"),
    pytest.param(HMATLoss, {"preset": "embedder"}, (2, 8, 5, 5), (2, 8, 4, 4), id="hmat-embedder"),
    pytest.param(
        LocalizationRegionLoss,
        {"strides": (8,), "anchor_scale": 3.0},
        (2, 24, 4, 4),
        (2, 24, 4, 4),
        id="localization-region",
    ),
    pytest.param(MGDLoss, {"masked": 0.0}, (2, 8, 4, 4), (2, 8, 6, 3), id="mgd"),
    pytest.param(MGDLoss, {"preset": "classifier"}, (2, 8, 4, 4), (2, 8, 4, 4), id="mgd-channels"),
    pytest.param(OFDLoss, {}, (2, 8, 4, 4), (2, 8, 6, 3), id="overhaul"),
    pytest.param(PearsonFeatureLoss, {}, (2, 8, 4, 4), (2, 8, 6, 3), id="pearson"),
    pytest.param(PearsonFeatureLoss, {}, (2, 8, 4, 4), (2, 8, 4, 4), id="pearson-equal-sizes"),
    pytest.param(PositionAttentionLoss, {}, (2, 8, 4, 4), (2, 16, 6, 3), id="position"),
    pytest.param(
        PositionAttentionLoss,
        {"form": "softmax", "side": 3},
        (2, 8, 4, 4),
        (2, 16, 4, 4),
        id="position-softmax",
    ),
    pytest.param(
        PositionAttentionLoss,
        {"form": "spatial", "side": 3},
        (2, 8, 4, 4),
        (2, 16, 4, 4),
        id="position-spatial",
    ),
    pytest.param(ProbabilisticTransferLoss, {}, (5, 8), (5, 12), id="probabilistic"),
    pytest.param(QueryResponseLoss, {}, (2, 6, 4), (2, 5, 4), id="query-response"),
    pytest.param(
        QueryResponseLoss,
        {"form": "softmax", "match": "query"},
        (2, 5, 4),
        (2, 5, 4),
        id="query-response-softmax",
    ),
    pytest.param(RegionBoxLoss, {}, (4, 16), (4, 16), id="region-box"),
    pytest.param(RelaxedContrastiveLoss, {}, (5, 8), (5, 12), id="relaxed"),
    pytest.param(RelationalAngleLoss, {}, (5, 8), (5, 12), id="angle"),
    pytest.param(RelationalDistanceLoss, {}, (5, 8), (5, 12), id="distance"),
    pytest.param(RelationalDistanceLoss, {}, (5, 3, 2, 2), (5, 4, 3, 3), id="distance-maps"),
    pytest.param(ReviewKDLoss, {}, (2, 8, 4, 4), (2, 6, 6, 3), id="review"),
    pytest.param(SelectiveTargetLoss, {}, (4, 10), (4, 10), id="selective"),
    pytest.param(SimilarityPreservingLoss, {}, (4, 8, 4, 4), (4, 16, 7, 5), id="similarity"),
    pytest.param(SoftTargetLoss, {}, (4, 10), (4, 10), id="soft-target"),
    pytest.param(SRRLLoss, {}, (2, 8, 4, 4), (2, 6, 6, 3), id="regression"),
    pytest.param(VIDLoss, {}, (2, 8, 4, 4), (2, 6, 6, 3), id="variational"),
]


NEVER_ZERO = {
    (CRDLoss, "hard"),
    (DarkRankLoss, "hard"),
    (DISTLoss, "code"),
    (FBKDLoss, "hard"),
    (MGDLoss, "hard"),
    (ReviewKDLoss, "hard"),
    (RelaxedContrastiveLoss, "hard"),
    (SRRLLoss, "hard"),
    (VIDLoss, "hard"),
}
ALIGNING = {EmbeddingCosineLoss, FeatureImitationLoss}
LEARNING = {CRDLoss, FBKDLoss, FGDLoss, MGDLoss, ReviewKDLoss, SRRLLoss, VIDLoss}
OWN_STATISTICS = {  # a rank's own bank, its own mean and variance, its own draws
    (CRDLoss, None),
    (FBKDLoss, None),
    (MGDLoss, "classifier"),
    (OFDLoss, None),
    (ReviewKDLoss, None),
    (PearsonFeatureLoss, None),
    (SRRLLoss, None),
    (ChannelAttentionLoss, "pooled_batch"),
    (QueryResponseLoss, "softmax"),  # divided by the weights of all ranks
    (HMATLoss, None),  # the channel part of its default preset is pooled_batch
}
OF_STAGES = {FlowOfSolutionProcedureLoss}  # they need more than one map
BESIDE = {
    "labels": torch.tensor([0, 1, 2, 0, 1]),
    "ids": torch.tensor([4, 0, 8, 3, 1]),
    "boxes": [torch.tensor([[3.0, 2.0, 20.0, 15.0]])] * 5,
}


def beside_of(loss, count):
    """What a loss requires besides features, of some samples."""
    known = {name: value[:count] for name, value in BESIDE.items()} | {"image_size": (32, 32)}
    return {name: known[name] for name in getattr(loss, "requires", ())}


def inputs(student_shape, teacher_shape, dtype=torch.float32):
    torch.manual_seed(0)
    student = torch.randn(student_shape).to(dtype).requires_grad_()
    return student, torch.randn(teacher_shape).to(dtype).requires_grad_()


def compare(loss, student, teacher):
    if type(loss) in OF_STAGES:
        return loss([student, student], [teacher, teacher])
    beside = beside_of(loss, len(teacher))
    if hasattr(loss, "prepare"):
        learn(loss, student, teacher, beside)
    if not hasattr(loss, "roles"):
        return loss(student, teacher, **beside)
    sides = (dict.fromkeys(loss.roles, one) for one in (student, teacher))
    parts = loss(*sides, **beside)
    parts = parts if isinstance(parts, dict) else {"": parts}
    assert all(part.dtype == torch.float32 and part.shape == () for part in parts.values())
    return sum(parts.values())


def value_of(loss, student, teacher, beside):
    """The loss of some samples, as one number."""
    if type(loss) in OF_STAGES:
        return loss([student, student], [teacher, teacher])
    if hasattr(loss, "prepare"):
        torch.manual_seed(1)
        loss.prepare(student, teacher)
    if not hasattr(loss, "roles"):
        return loss(student, teacher, **beside)
    sides = (dict.fromkeys(loss.roles, one) for one in (student, teacher))
    parts = loss(*sides, **beside)
    return sum(parts.values()) if isinstance(parts, dict) else parts


def learn(loss, student, teacher, beside):
    """Make a loss ready, the first time: the same parameters, memory and draws in every test."""
    torch.manual_seed(1)
    loss.prepare(student, teacher)
    if loss.training:
        loss(student.detach(), teacher, **beside)
    loss.eval()  # it remembers nothing more
    torch.manual_seed(2)


def test_every_loss_has_a_case():
    assert {case.values[0].__name__ for case in CASES} == set(losses.__all__)


def test_every_loss_says_whether_it_aligns_the_two_spaces():
    found = {getattr(losses, name) for name in losses.__all__}
    assert {loss for loss in found if loss.aligns_spaces is True} == ALIGNING
    assert all(loss.aligns_spaces is False for loss in found - ALIGNING)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "make, options, student_shape, teacher_shape",
    [case for case in CASES if hasattr(case.values[0], "prepare")],
)
def test_layers_of_its_own_may_have_another_precision(
    make, options, student_shape, teacher_shape, dtype
):
    """As those of a student that was converted with all it holds, student.half()."""
    student, teacher = inputs(student_shape, teacher_shape)
    loss, beside = make(**options), beside_of(make(**options), len(teacher))
    if make not in OF_STAGES:
        learn(loss, student, teacher, beside)
    expected = value_of(loss, student, teacher, beside)
    leaf = student.detach().to(dtype).requires_grad_()
    value = value_of(loss.to(dtype), leaf, teacher.to(dtype), beside)
    value.backward()
    assert value.dtype == torch.float32 and torch.isfinite(leaf.grad).all()
    assert value.item() == pytest.approx(expected.item(), rel=0.05)


@pytest.mark.parametrize("make, options, student_shape, teacher_shape", CASES)
class TestContract:
    def test_finite_scalar(self, make, options, student_shape, teacher_shape):
        value = compare(make(**options), *inputs(student_shape, teacher_shape))
        assert value.shape == () and value.dtype == torch.float32
        assert torch.isfinite(value) and value > 0

    def test_gradient_reaches_only_the_student(self, make, options, student_shape, teacher_shape):
        student, teacher = inputs(student_shape, teacher_shape)
        before = teacher.detach().clone()
        compare(make(**options), student, teacher).backward()
        assert torch.isfinite(student.grad).all() and student.grad.abs().sum() > 0
        assert teacher.grad is None and torch.equal(teacher, before)

    def test_gradient_is_the_slope_of_the_value(self, make, options, student_shape, teacher_shape):
        student, teacher = inputs(student_shape, teacher_shape)
        loss = make(**options)
        compare(loss, student, teacher).backward()
        direction = student.grad / student.grad.norm()
        step = 3e-3 * direction
        ahead, behind = (
            compare(loss, student.detach() + sign * step, teacher).item() for sign in (1, -1)
        )
        assert (ahead - behind) / 6e-3 == pytest.approx(student.grad.norm().item(), rel=2e-2)

    def test_samples_count_alone_or_can_be_gathered(
        self, make, options, student_shape, teacher_shape
    ):
        """Two ranks train the same as one, or the loss has ``gather``: see test_gather.py."""
        if (make, options.get("form", options.get("preset"))) in OWN_STATISTICS:
            pytest.skip("its page says so")
        loss = make(**options)
        whole = [torch.cat([one, one.roll(1, -1)]) for one in inputs(student_shape, teacher_shape)]
        halves = zip(*(one.chunk(2) for one in whole), strict=True)
        count = len(whole[0]) // 2
        beside = beside_of(loss, count)
        alone = [value_of(loss, *half, beside) for half in halves]
        twice = {
            name: torch.cat([value] * 2) if isinstance(value, torch.Tensor) else value
            for name, value in beside.items()
        }
        if "boxes" in twice:
            twice["boxes"] = beside["boxes"] * 2
        together = value_of(loss, *whole, twice)
        relates = together.item() != pytest.approx(sum(alone).item() / 2, rel=1e-4)
        assert relates == hasattr(loss, "gather")

    def test_zero_against_itself(self, make, options, student_shape, teacher_shape):
        if (make, options.get("form", "hard")) in NEVER_ZERO:
            pytest.skip("a likelihood, a contrast, layers, or an epsilon: not 0 for equals")
        feature = torch.randn(teacher_shape)
        value = compare(make(**options), feature, feature.clone())
        assert value.item() == pytest.approx(0.0, abs=1e-6)

    def test_loss_weight_scales(self, make, options, student_shape, teacher_shape):
        pair = inputs(student_shape, teacher_shape)
        once, thrice = (compare(make(**options, loss_weight=w), *pair).item() for w in (1.0, 3.0))
        assert thrice == pytest.approx(3 * once)

    @pytest.mark.parametrize("values", ["zeros", "constant", "duplicates"])
    def test_degenerate_input_keeps_gradients_finite(
        self, make, options, student_shape, teacher_shape, values
    ):
        student, teacher = (x.detach() for x in inputs(student_shape, teacher_shape))
        if values == "duplicates":
            student = student[:1].expand(student_shape).clone()
        else:
            student = torch.full(student_shape, 0.0 if values == "zeros" else 2.5)
        for target in (teacher, torch.zeros(teacher_shape), torch.ones(teacher_shape)):
            leaf = student.clone().requires_grad_()
            value = compare(make(**options), leaf, target)
            value.backward()
            assert torch.isfinite(value) and torch.isfinite(leaf.grad).all()
            assert leaf.grad.abs().max() < 1e6

    def test_batch_of_one_is_finite(self, make, options, student_shape, teacher_shape):
        student, teacher = inputs((1, *student_shape[1:]), (1, *teacher_shape[1:]))
        value = compare(make(**options), student, teacher)
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(student.grad).all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions_are_computed_in_float32(
        self, make, options, student_shape, teacher_shape, dtype
    ):
        student, teacher = inputs(student_shape, teacher_shape, dtype)
        value = compare(make(**options), student, teacher)
        value.backward()
        single = student.detach().float().requires_grad_()
        expected = compare(make(**options), single, teacher.float())
        expected.backward()
        assert value.dtype == torch.float32 and student.grad.dtype == dtype
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        limit = 1e-2 * single.grad.abs().max().item()
        torch.testing.assert_close(student.grad.float(), single.grad, rtol=1e-2, atol=limit)

    def test_autocast_changes_nothing(self, make, options, student_shape, teacher_shape):
        results = []
        for enabled in (False, True):
            student, teacher = inputs(student_shape, teacher_shape)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                value = compare(make(**options), student, teacher)
            value.backward()
            results.append((value.detach(), student.grad))
        torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-7)

    def test_wrong_shape_names_both_shapes(self, make, options, student_shape, teacher_shape):
        student, teacher = inputs(student_shape, teacher_shape)
        with pytest.raises(ValueError, match=r"student.*\(1, .*teacher"):
            compare(make(**options), student[:1], teacher)

    def test_wrong_number_of_axes_is_named(self, make, options, student_shape, teacher_shape):
        student, teacher = inputs(student_shape, teacher_shape)
        with pytest.raises(ValueError, match=r"must be (a|logits).*\(\d+,\)"):
            compare(make(**options), student.flatten(), teacher)

    def test_a_mask_is_an_option_of_every_loss_on_maps(
        self, make, options, student_shape, teacher_shape
    ):
        """Cells of a box count, and without any box nothing does: 0, and no NaN."""
        if len(student_shape) != 4:
            pytest.skip("of vectors")
        loss = make(**options)
        compare(loss, *inputs(student_shape, teacher_shape))  # prepares it
        roles = [role for role in getattr(loss, "roles", ("",)) if role != "logits"]
        layers = dict.fromkeys(roles, "x") if roles != [""] else ["x"]
        term = Term(loss, layers, mask="boxes")
        found = []
        for boxes in (BESIDE["boxes"], [torch.zeros(0, 4)] * 5):
            sides = inputs(student_shape, teacher_shape)
            known = beside_of(loss, len(sides[1]))
            known |= {"boxes": boxes[: len(sides[1])], "image_size": (32, 32)}
            student, teacher = (
                dict.fromkeys(roles, [one, one] if make in OF_STAGES else one) for one in sides
            )
            value = sum(term.compare(student, teacher, known).values())
            value.backward()
            assert torch.isfinite(value) and torch.isfinite(sides[0].grad).all()
            found.append((value.item(), sides[0].grad.abs().sum().item()))
        assert found[0][0] != 0 and found[0][1] > 0 and found[1] == (0.0, 0.0)

    def test_state_is_that_of_parameters_that_learn(
        self, make, options, student_shape, teacher_shape
    ):
        loss = make(**options)
        sides = inputs(student_shape, teacher_shape)
        compare(loss, *sides).detach()
        for parameter in loss.parameters():
            if not parameter.any():  # a last layer that starts at 0 keeps others from learning
                torch.nn.init.normal_(parameter)
        compare(loss, *sides).backward()
        assert bool(loss.state_dict()) == bool(list(loss.parameters())) == (make in LEARNING)
        assert all(parameter.grad.any() for parameter in loss.parameters())


@pytest.mark.parametrize(
    "make",
    [
        ChannelAttentionLoss,
        ChannelDistillationLoss,
        ChannelWiseLoss,
        EmbeddingCosineLoss,
        FeatureImitationLoss,
        FlowOfSolutionProcedureLoss,
        OFDLoss,
        PearsonFeatureLoss,
    ],
)
def test_unequal_channels_are_refused_and_declared(make):
    assert make.equal_channels is True
    sides = r"student is \(2, 4, 3, 3\) and teacher is \(2, 6, 3, 3\)"
    with pytest.raises(ValueError, match=f"same number of channels.*{sides}.*connector"):
        make()(torch.randn(2, 4, 3, 3), torch.randn(2, 6, 3, 3))
