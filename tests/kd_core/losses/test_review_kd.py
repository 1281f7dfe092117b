import pytest
import torch
from torch.nn import functional as F

from kd_core.losses import ReviewKDLoss
from kd_core.losses.review_kd import _at_several_scales

# https://github.com/dvlab-research/ReviewKD; commit and files with each test. Its weights and
# inputs are recorded, its code is not copied: it states no license.


def layers_of(loss):
    """Path of the authors' layers to ours: theirs go from deep to shallow."""
    found = {}
    for number, stage in enumerate(reversed(loss.stages)):
        path = f"abfs.{number}"
        found |= {f"{path}.conv1.{place}": stage.enter[place] for place in (0, 1)}
        found |= {f"{path}.conv2.{place}": stage.leave[place] for place in (0, 1)}
        if stage.attention is not None:
            found[f"{path}.att_conv.0"] = stage.attention
    return found


def sides_of(data):
    count = sum(key.startswith("student_") for key in data)
    return [[data[f"{side}_{level}"] for level in range(count)] for side in ("student", "teacher")]


@pytest.mark.parametrize(
    "name, width", [("cifar", None), ("cifar_resized", None), ("detection", 6)]
)
def test_authors_code(agrees_with_layers, recorded, name, width):
    loss = ReviewKDLoss(width)
    student, teacher = sides_of(recorded(f"reviewkd_{name}"))
    loss.prepare(student, teacher)
    inputs = [f"student_{level}" for level in range(len(student))]
    agrees_with_layers(
        f"reviewkd_{name}", layers_of(loss), lambda data: loss(*sides_of(data)), inputs
    )


def test_authors_comparison_at_several_scales(agrees_with_layers):
    agrees_with_layers(
        "reviewkd_hcl",
        {},
        lambda data: sum(_at_several_scales(*pair) for pair in zip(*sides_of(data), strict=True)),
        [f"student_{level}" for level in range(3)],
    )


def test_value_worked_out_by_hand():
    # A map of 2 rows: the difference itself and half of that of the mean, over 1.5.
    student, teacher = torch.zeros(1, 1, 2, 2), torch.tensor([1.0, 2.0, 3.0, 6.0])
    value = _at_several_scales(student, teacher.reshape(1, 1, 2, 2))
    assert value.item() == pytest.approx((50 / 4 + 0.5 * 9) / 1.5)


def test_a_narrow_map_is_pooled_to_its_own_width():
    student, teacher = torch.randn(2, 3, 8, 3), torch.randn(2, 3, 8, 3)
    mse = [F.mse_loss(student, teacher)]
    for size in ((4, 3), (2, 2), (1, 1)):
        pair = (F.adaptive_avg_pool2d(one, size) for one in (student, teacher))
        mse.append(F.mse_loss(*pair))
    expected = sum(one / 2**k for k, one in enumerate(mse)) / 1.875
    assert _at_several_scales(student, teacher).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_vector_is_a_stage_of_one_place():
    torch.manual_seed(0)
    student = [torch.randn(2, 4, 4, 4), torch.randn(2, 8)]
    teacher = [torch.randn(2, 6, 4, 4), torch.randn(2, 9)]
    loss = ReviewKDLoss().eval()
    loss.prepare(student, teacher)
    maps = [
        [one if one.dim() == 4 else one[:, :, None, None] for one in s] for s in (student, teacher)
    ]
    assert loss(student, teacher).item() == pytest.approx(loss(*maps).item())


def test_a_shallow_stage_learns_from_deeper_ones():
    student = [torch.randn(2, 4, 4, 4), torch.randn(2, 8, 2, 2)]
    teacher = [torch.randn(2, 6, 4, 4), torch.randn(2, 9, 2, 2)]
    student[1].requires_grad_()
    loss = ReviewKDLoss()
    loss.prepare(student, teacher)
    shallow = loss.stages[0]
    _, fused = loss.stages[1](student[1], None, (2, 2))
    shallow(student[0], fused, (4, 4))[0].sum().backward()
    assert student[1].grad is not None and student[1].grad.any()


def test_what_fits_stays_and_the_width_is_that_of_the_deepest_at_most_512():
    student, teacher = torch.randn(2, 600, 2, 2), torch.randn(2, 5, 2, 2)
    loss = ReviewKDLoss()
    loss.prepare(student, teacher)
    stage = loss.stages[0]
    loss.prepare(student, teacher)
    assert loss.stages[0] is stage and stage.enter[0].out_channels == 512


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="width must be at least 1, but it is 0"):
        ReviewKDLoss(0)
    with pytest.raises(ValueError, match=r"channels \[\], but the maps have \[\(4, 4\)\].*prepare"):
        ReviewKDLoss()(torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3))
