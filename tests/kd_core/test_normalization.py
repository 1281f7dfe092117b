import pytest
import torch
from torch import nn

from kd_core import Distiller, Normalization, Term
from kd_core.losses import (
    AttentionTransferLoss,
    ChannelWiseLoss,
    FeatureImitationLoss,
    HMATLoss,
    PearsonFeatureLoss,
    SoftTargetLoss,
)
from kd_core.normalization import NORMALIZATIONS, normalize, standardize

MAPS = (3, 4, 5, 2)
VECTORS = (6, 4)


def pair(shape=MAPS, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(shape, generator=generator) + 0.3 for _ in range(2))
    return student.to(dtype).requires_grad_(), teacher.to(dtype).requires_grad_()


def compare(kind, student, teacher, loss=None):
    normalization = None if kind is None else Normalization(kind)
    term = Term(loss or FeatureImitationLoss(), "a", normalize=normalization)
    return term.compare({"": student}, {"": teacher})[""]


class TestValues:
    def test_standard_by_hand(self):
        # Channels (1, 3) and (5, 5) of two positions: deviation of n - 1 is sqrt(2), then 0.
        feature = torch.tensor([1.0, 3.0, 5.0, 5.0]).reshape(1, 2, 1, 2)
        expected = torch.tensor([-(0.5**0.5), 0.5**0.5, 0.0, 0.0]).reshape(1, 2, 1, 2)
        torch.testing.assert_close(standardize(feature), expected)

    def test_standard_of_vectors_by_hand(self):
        feature = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
        expected = torch.tensor([[-(0.5**0.5), 0.0], [0.5**0.5, 0.0]])
        torch.testing.assert_close(standardize(feature), expected)

    def test_batch_by_hand(self):
        # The teacher's root mean square is 4.
        student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[4.0], [-4.0]])
        found = normalize("batch", student, teacher)
        assert [side.flatten().tolist() for side in found] == [[0.25, 0.5], [1.0, -1.0]]

    @pytest.mark.parametrize("shape", [(1, 2), (1, 2, 1, 1)])
    def test_unit_by_hand(self, shape):
        student, teacher = torch.tensor([3.0, 4.0]), torch.tensor([0.0, -2.0])
        found = normalize("unit", student.reshape(shape), teacher.reshape(shape))
        torch.testing.assert_close(found[0].flatten(), torch.tensor([0.6, 0.8]))
        torch.testing.assert_close(found[1].flatten(), torch.tensor([0.0, -1.0]))

    def test_each_position_has_length_1(self):
        student, _ = normalize("unit", *pair())
        torch.testing.assert_close(student.square().sum(dim=1), torch.ones(3, 5, 2))

    def test_the_kinds_differ(self):
        values = {compare(kind, *pair()).item() for kind in (None, *NORMALIZATIONS)}
        assert len(values) == 4

    def test_imitation_of_standardized_maps_is_twice_pkd(self):
        student, teacher = pair()
        expected = 2 * PearsonFeatureLoss()(student, teacher).item()
        assert compare("standard", student, teacher).item() == pytest.approx(expected, rel=1e-6)


class TestScale:
    @pytest.mark.parametrize("kind", ["standard", "unit"])
    @pytest.mark.parametrize("shape", [MAPS, VECTORS])
    @pytest.mark.parametrize("loss", [FeatureImitationLoss(), ChannelWiseLoss(preset="detector")])
    def test_neither_side_counts(self, kind, shape, loss):
        if shape == VECTORS and isinstance(loss, ChannelWiseLoss):
            pytest.skip("it takes maps")
        student, teacher = pair(shape)
        expected = compare(kind, student, teacher, loss).item()
        for scaled in ((10 * student, teacher), (student, 10 * teacher)):
            assert compare(kind, *scaled, loss).item() == pytest.approx(expected, rel=1e-4)

    def test_batch_keeps_the_student_relative_to_the_teacher(self):
        student, teacher = pair()
        expected = compare("batch", student, teacher).item()
        both = compare("batch", 10 * student, 10 * teacher).item()
        assert both == pytest.approx(expected, rel=1e-5)
        assert compare("batch", 2 * student, teacher).item() > 1.1 * expected
        assert compare("batch", 2 * teacher, 2 * teacher).item() == 0


@pytest.mark.parametrize("kind", NORMALIZATIONS)
class TestEveryKind:
    @pytest.mark.parametrize("shape", [MAPS, VECTORS, (1, 4), (1, 4, 1, 1)])
    @pytest.mark.parametrize("values", [None, 0.0, 2.5])
    def test_one_sample_and_constants_are_finite(self, kind, shape, values):
        student, teacher = pair(shape)
        for target in (teacher, torch.zeros(shape), torch.ones(shape)):
            leaf = (student if values is None else torch.full(shape, values)).detach().clone()
            value = compare(kind, leaf.requires_grad_(), target)
            value.backward()
            assert torch.isfinite(value) and torch.isfinite(leaf.grad).all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, kind, dtype):
        student, teacher = pair(dtype=dtype)
        large = 1e4 * teacher.detach()  # whose square is beyond float16
        found = normalize(kind, student, large)
        assert {side.dtype for side in found} == {torch.float32}
        assert all(torch.isfinite(side).all() for side in found)
        compare(kind, student, teacher).backward()
        assert student.grad.dtype == dtype and torch.isfinite(student.grad).all()

    def test_the_gradient_is_the_slope_and_the_teacher_has_none(self, kind):
        student, teacher = pair()
        compare(kind, student, teacher).backward()
        assert teacher.grad is None
        step = 1e-2 * student.grad / student.grad.norm()
        ahead, behind = (
            compare(kind, student.detach() + sign * step, teacher).item() for sign in (1, -1)
        )
        assert (ahead - behind) / 2e-2 == pytest.approx(student.grad.norm().item(), rel=1e-2)

    def test_levels_are_normalized_each_by_itself(self, kind):
        student, teacher = pair()
        levels = [student, 3 * student[:, :, :2]], [teacher, teacher[:, :, :2] - 1]
        expected = sum(compare(kind, *level) for level in zip(*levels, strict=True))
        assert compare(kind, *levels).item() == pytest.approx(expected.item())


class TestRoles:
    def test_all_but_logits_are_normalized_and_so_are_connected_maps(self):
        student, teacher = pair()
        narrow = student[:, :2]
        logits = torch.randn(3, 7), torch.randn(3, 7)
        loss = HMATLoss(0.0, 1.0, 1.0, 1.0, options={"channel": {"form": "pooled"}})
        term = Term(loss, {"high": "a", "logits": "b"}, normalize=Normalization("standard"))
        found = term.compare(
            {"high": narrow, "logits": logits[0]},
            {"high": [teacher], "logits": logits[1]},
            connected={"high": [student]},
        )
        channel = standardize(student).mean((2, 3)) - standardize(teacher).mean((2, 3))
        assert found["channel"].item() == pytest.approx(channel.square().mean().item())
        activation = AttentionTransferLoss()(standardize(narrow), standardize(teacher))
        assert found["activation"].item() == pytest.approx(activation.item())
        assert found["soft_target"].item() == pytest.approx(SoftTargetLoss()(*logits).item())

    def test_a_connector_runs_before(self):
        student, teacher = nn.Sequential(nn.Conv2d(3, 2, 3)), nn.Sequential(nn.Conv2d(3, 4, 3))
        images = torch.randn(2, 3, 8, 8)
        term = Term(FeatureImitationLoss(), "0", normalize=Normalization("standard"))
        Distiller(teacher, {"imitation": term}).attach(student, example=(images,))
        feature = student(images)
        value = student.distiller.losses()["loss_imitation"]
        connector = student.distiller.connectors["imitation"].children()
        expected = 2 * PearsonFeatureLoss()(next(connector)(feature), teacher(images))
        assert value.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("value", [0.1, 5.3, 1000.1, 12345.678])
def test_a_constant_channel_becomes_0_whatever_its_value(value):
    """The mean of many equal numbers is not quite that number; the rest is not blown up."""
    constant = torch.full((2, 1, 37, 41), value, requires_grad=True)
    found = standardize(torch.cat([constant, torch.randn(2, 1, 37, 41)], dim=1))
    assert found[:, 0].abs().max() < 1e-4
    assert found[:, 1].std().item() == pytest.approx(1.0, rel=1e-4)


class TestRefused:
    @pytest.mark.parametrize("kind", ["other", "", True])
    def test_an_unknown_kind(self, kind):
        with pytest.raises(ValueError, match=r"one of \['batch', 'logits', .*\], but it is"):
            Normalization(kind)

    @pytest.mark.parametrize("shape", [(2, 3, 4), (5,), (0, 3)])
    def test_what_is_neither_a_map_nor_vectors(self, shape):
        with pytest.raises(ValueError, match=r"normalize takes maps.*student is \("):
            normalize("unit", torch.zeros(shape), torch.ones(2, 3))
        with pytest.raises(ValueError, match=r"normalize takes maps.*teacher is \("):
            normalize("unit", torch.ones(2, 3), torch.zeros(shape))
