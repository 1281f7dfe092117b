import pytest
import torch

from kd_core.connectors import Connector, VectorConnector, match_sizes


def test_connector_changes_the_channels_and_learns():
    connector = Connector(4, 6)
    connected = connector(torch.randn(2, 4, 5, 3))
    connected.square().sum().backward()
    assert connected.shape == (2, 6, 5, 3)
    assert connector.project.bias is None and connector.project.weight.grad is not None


def test_connector_normalises_each_channel():
    connected = Connector(4, 6)(10 + 5 * torch.randn(8, 4, 5, 3))
    assert connected.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(connected.std((0, 2, 3)), torch.ones(6), rtol=0.02, atol=0)


def test_vector_connector():
    assert VectorConnector(4, 6)(torch.randn(3, 4)).shape == (3, 6)


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
