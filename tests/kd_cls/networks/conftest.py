"""Fixtures that the tests of the networks share."""

import pytest
import torch


@pytest.fixture
def computes_as():
    """Give two modules the same random state, entry by entry; compare outputs and gradients."""

    def compare(ours, theirs, images):
        torch.manual_seed(0)
        entries = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        for mine, other in entries:
            assert mine.shape == other.shape
            if mine.dim() > 1:
                mine.normal_(std=(2 / mine[0].numel()) ** 0.5)
            elif mine.is_floating_point():
                mine.uniform_(0.5, 1.5)
            other.copy_(mine)
        agree(ours, theirs, images)

    return compare


def agree(ours, theirs, images):
    ours, theirs = ours.double().eval(), theirs.double().eval()
    images = images.double().requires_grad_()
    found, expected = ours(images), theirs(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    mine = torch.autograd.grad((found * weights).sum(), [images, *ours.parameters()])
    other = torch.autograd.grad((expected * weights).sum(), [images, *theirs.parameters()])
    for first, second in zip(mine, other, strict=True):
        torch.testing.assert_close(first, second)
