import copy

import pytest
import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.attention import match_sizes
from kd_core.connectors import CONNECTORS, MAP_CONNECTORS, Connector
from kd_core.losses import AttentionTransferLoss, EmbeddingCosineLoss, FeatureImitationLoss
from kd_core.term_connectors import idle_parameters
from kd_core.term_options import term_of


def vectors(*channels):
    return Connector(*channels, "linear-norm")


def test_connector_changes_the_channels_and_learns():
    connector = Connector(4, 6)
    connected = connector(torch.randn(2, 4, 5, 3))
    connected.square().sum().backward()
    assert connected.shape == (2, 6, 5, 3)
    assert connector.project.bias is None and connector.project.weight.grad is not None


def test_weights_begin_as_kaiming_says():
    torch.manual_seed(0)
    for connector in (Connector(64, 512), vectors(64, 512)):
        weight = connector.project.weight
        assert weight.mean().abs() < 1e-3
        if weight.dim() == 4:  # std sqrt(2 / fan out)
            assert weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)


@pytest.mark.parametrize("kind, shape", [(Connector, (2, 4, 5, 3)), (vectors, (2, 4))])
def test_a_trunk_in_half_precision_is_connected_in_float32(kind, shape):
    torch.manual_seed(0)
    connector, student = kind(4, 6), torch.randn(shape).half()
    connected = connector(student)
    assert connected.dtype == torch.float32
    torch.testing.assert_close(connected, connector(student.float()))


def test_maps_of_one_size_stay_as_they_are():
    student, teacher = torch.randn(2, 3, 4, 5).half(), torch.randn(2, 7, 4, 5).half()
    found = match_sizes(student, teacher)
    assert found[0] is student and found[1] is teacher


def test_connector_normalizes_each_channel():
    connected = Connector(4, 6)(10 + 5 * torch.randn(8, 4, 5, 3))
    assert connected.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(connected.std((0, 2, 3)), torch.ones(6), rtol=0.02, atol=0)


def test_vector_connector():
    assert vectors(4, 6)(torch.randn(3, 4)).shape == (3, 6)


@pytest.mark.parametrize("kind, shape", [(Connector, (1, 4, 1, 1)), (vectors, (1, 4))])
class TestBatchOfOne:
    """The last batch of an epoch may be of one image."""

    def test_it_takes_the_running_statistics_and_leaves_them(self, kind, shape):
        torch.manual_seed(0)
        connector = kind(4, 6)
        for _ in range(3):
            connector(5 + torch.randn(8, *shape[1:]))
        before = copy.deepcopy(connector.norm.state_dict())
        one = torch.randn(shape, requires_grad=True)
        found = connector(one)
        norm, weight = connector.norm, connector.project.weight.flatten(1)
        by_hand = (one.flatten(1) @ weight.T - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
        torch.testing.assert_close(found.flatten(1), by_hand)
        found.square().sum().backward()
        assert one.grad.any() and weight.shape == (6, 4) and connector.project.weight.grad.any()
        assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())
        assert norm.training

    def test_more_values_are_normalized_as_ever(self, kind, shape):
        torch.manual_seed(0)
        connector = kind(4, 6)
        plain = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(6)
        images = torch.randn(2, *shape[1:])
        torch.testing.assert_close(connector(images), plain(connector.project(images)))
        torch.testing.assert_close(connector.norm.state_dict(), plain.state_dict())

    def test_a_training_step_bears_it(self, kind, shape):
        class Net(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.stem = nn.Conv2d(3, width, 3)
                self.pool = nn.AdaptiveAvgPool2d(1)
                self.vector = nn.Flatten()

            def forward(self, images):
                return self.vector(self.pool(self.stem(images)))

        student = Net(4)
        terms = {"hint": Term(FeatureImitationLoss(), "pool" if len(shape) == 4 else "vector")}
        Distiller(Net(6), terms).attach(student, (torch.randn(2, 3, 6, 6),))
        assert student.distiller.connectors["hint"]["0"].kind == kind(4, 6).kind
        student(torch.randn(1, 3, 6, 6))
        loss = student.distiller.losses()["loss_hint"]
        loss.backward()
        assert torch.isfinite(loss) and student.stem.weight.grad.any()


def test_one_image_of_several_positions_is_normalized_as_ever():
    torch.manual_seed(0)
    connector, plain, image = Connector(4, 6), nn.BatchNorm2d(6), 5 + torch.randn(1, 4, 1, 2)
    torch.testing.assert_close(connector(image), plain(connector.project(image)))
    assert connector.norm.num_batches_tracked == 1


@pytest.mark.parametrize(
    "student, teacher, size",
    [((4, 4), (8, 8), (4, 4)), ((8, 8), (4, 4), (4, 4)), ((4, 9), (8, 6), (4, 6))],
)
def test_the_larger_is_pooled_on_each_axis(student, teacher, size):
    pair = match_sizes(torch.randn(2, 3, *student), torch.randn(2, 5, *teacher))
    assert [tuple(feature.shape) for feature in pair] == [(2, 3, *size), (2, 5, *size)]


def test_pooling_averages():
    teacher = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert match_sizes(torch.zeros(1, 1, 1, 1), teacher)[1].item() == 1.5


def test_equal_sizes_are_returned_as_they_are():
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    matched = match_sizes(student, teacher)
    assert matched[0] is student and matched[1] is teacher


@pytest.mark.parametrize(
    "student, teacher, message",
    [
        ((2, 3, 4), (2, 3, 4, 4), r"student must be a feature map.*\(2, 3, 4\)"),
        ((2, 3, 4, 4), (3, 3, 4, 4), r"same N samples.*\(2, 3, 4, 4\).*\(3, 3, 4, 4\)"),
    ],
)
def test_wrong_shapes_are_named(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        match_sizes(torch.randn(student), torch.randn(teacher))


def test_the_trial_leaves_the_statistics_of_connectors():
    torch.manual_seed(0)
    student, teacher = (nn.Sequential(nn.Conv2d(3, width, 3)) for width in (4, 6))
    distiller = Distiller(teacher, {"t": Term(FeatureImitationLoss(), "0")})
    distiller.attach(student, (torch.randn(2, 3, 8, 8),))
    norms = [one for one in distiller.connectors.modules() if isinstance(one, nn.BatchNorm2d)]
    assert len(norms) == 1 and norms[0].training
    assert norms[0].num_batches_tracked == 0 and not norms[0].running_mean.any()


def test_connectors_and_teacher_follow_the_type():
    student, teacher = (nn.Sequential(nn.Conv2d(3, width, 3)) for width in (4, 6))
    distiller = Distiller(teacher, {"t": Term(FeatureImitationLoss(), "0")})
    distiller.attach(student, (torch.randn(2, 3, 8, 8),))
    assert distiller.double() is distiller
    moved = [*distiller.connectors.parameters(), *teacher.parameters()]
    assert len(moved) > 3 and all(one.dtype == torch.float64 for one in moved)


def test_idle_is_what_no_active_term_trains():
    connectors = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    losses = nn.ModuleDict({"b": nn.Linear(1, 1), "c": nn.Linear(1, 1)})
    expected = [*connectors["b"].parameters(), *losses["b"].parameters()]
    found = idle_parameters([connectors, losses], ["a", "c"])
    assert len(found) == 4 and all(one is other for one, other in zip(found, expected, strict=True))


class TestByName:
    @pytest.mark.parametrize("kind", CONNECTORS)
    def test_each_gives_the_channels_and_learns(self, kind):
        torch.manual_seed(0)
        shape = (3, 4, 5, 3) if kind in MAP_CONNECTORS else (3, 4)
        connector = Connector(4, 6, kind)
        connected = connector(torch.randn(shape))
        (connected * torch.randn_like(connected)).sum().backward()
        assert connected.shape == (3, 6, *shape[2:])
        assert all(p.grad.any() for p in connector.parameters())
        norms = [m for m in connector.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        assert len(norms) == kind.endswith("-norm")

    def test_the_generator_is_two_convolutions_of_3x3(self):
        first, relu, last = Connector(4, 6, "generator").project
        assert first.weight.shape == (6, 4, 3, 3) and last.weight.shape == (6, 6, 3, 3)
        assert isinstance(relu, nn.ReLU) and first.bias is not None and last.bias is not None

    def test_a_bias_before_a_batch_norm_is_left_out(self):
        assert Connector(4, 6, "3x3").project.bias is not None
        assert Connector(4, 6, "3x3-norm").project.bias is None

    def test_a_named_one_is_made_also_where_nothing_differs_or_asks_for_it(self):
        torch.manual_seed(0)
        student, teacher = (nn.Sequential(nn.Conv2d(3, 4, 3)) for _ in range(2))
        terms = {
            "a": Term(FeatureImitationLoss(), "0", connector="3x3"),
            "b": Term(AttentionTransferLoss(), "0", connector="1x1-relu-1x1-norm"),
            "c": Term(FeatureImitationLoss(), "0"),
        }
        distiller = Distiller(teacher, terms)
        images = torch.randn(2, 3, 8, 8)
        distiller.attach(student, (images,))
        assert [row.connector for row in distiller.shape_table.rows] == [
            "3x3",
            "1x1-relu-1x1-norm",
            "",
        ]
        assert "3x3 4 -> 4" in str(distiller.shape_table)
        student(images)
        losses = distiller.losses()
        losses["loss_a"].backward()
        by_hand = distiller.connectors["a"]["0"](student[0](images)) - teacher[0](images)
        torch.testing.assert_close(losses["loss_a"], by_hand.square().mean())
        assert distiller.connectors["a"]["0"].project.weight.grad.any()

    def test_another_kind_replaces_one_of_the_same_channels(self):
        student, teacher = (nn.Sequential(nn.Conv2d(3, width, 3)) for width in (4, 6))
        distiller = Distiller(teacher, {"t": Term(FeatureImitationLoss(), "0", connector="3x3")})
        for kind in ("3x3", "3x3", "generator"):
            distiller.terms["t"].connector = kind
            distiller.attach(student, (torch.randn(2, 3, 8, 8),))
            assert distiller.connectors["t"]["0"].kind == kind
            distiller.detach()

    def test_a_loss_names_the_one_it_was_published_with(self):
        class Published(FeatureImitationLoss):
            connector = "1x1"

        student, teacher = (nn.Sequential(nn.Conv2d(3, width, 3)) for width in (4, 6))
        terms = {"a": Term(Published(), "0"), "b": Term(Published(), "0", connector="generator")}
        Distiller(teacher, terms).attach(student, (torch.randn(2, 3, 8, 8),))
        found = student.distiller.shape_table.rows
        assert [row.connector for row in found] == ["1x1", "generator"]

    def test_unknown_names_are_refused_with_the_choices(self):
        options = {"loss": FeatureImitationLoss(), "layers": "0", "connector": "5x5"}
        with pytest.raises(ValueError, match="'t': connector must be one of .*'generator'.*5x5"):
            term_of("t", options)

    @pytest.mark.parametrize(
        "kind, layer, message",
        [
            ("3x3", "2", r"term 't': the connector '3x3' does not fit vectors.*linear-relu-linear"),
            (
                "linear",
                "0",
                r"'linear' does not fit maps \(N, C, H, W\): choose one of 1x1, ",
            ),
        ],
    )
    def test_a_kind_for_other_features_is_refused_with_those_that_fit(self, kind, layer, message):
        nets = [
            nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            for width in (4, 6)
        ]
        loss = EmbeddingCosineLoss() if layer == "2" else FeatureImitationLoss()
        with pytest.raises(ValueError, match=message):
            terms = {"t": Term(loss, layer, connector=kind)}
            Distiller(nets[1], terms).attach(nets[0], (torch.randn(2, 3, 8, 8),))
