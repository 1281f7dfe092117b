import pytest
import torch
from torch.nn import functional as F

from kd_core.losses import RelationalAngleLoss
from kd_core.relations import samples as relation

SETUP = """
from kd_core.losses import RelationalAngleLoss
loss = RelationalAngleLoss()
loss(torch.randn(8, 4, requires_grad=True), torch.randn(8, 4)).backward()
student, teacher = torch.randn({n}, {d}, requires_grad=True), torch.randn({n}, {d})
"""
STEP = "loss(student, teacher).backward()"


def direct(student, teacher):
    """The N x N x N formula of the authors' code, for autograd to differentiate."""
    cosines = []
    for points in (student, teacher):
        units = F.normalize(points.unsqueeze(0) - points.unsqueeze(1), dim=2)
        cosines.append(units @ units.transpose(1, 2))
    return F.smooth_l1_loss(*cosines)


def test_value_worked_out_by_hand():
    # On a line: cosines 1, -1, 1 at the three vertices; in a right-angled triangle: 0, r, r.
    # Each vertex has two ordered pairs; pairs of equal points agree.
    student = torch.tensor([[0.0], [1.0], [2.0]])
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    r = 0.5**0.5
    expected = 2 * (0.5 + (1 + r - 0.5) + (1 - r) ** 2 / 2) / 27
    assert RelationalAngleLoss()(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_authors_code(agrees_with_reference):
    # https://github.com/lenscloth/RKD, metric/loss.py,
    # commit 0a6c3c0c190722d428322bf71703c0ae86c25242.
    agrees_with_reference("relational_angle", RelationalAngleLoss())


@pytest.mark.parametrize("elements", [1, 2000, 2**23])
def test_tiles_agree_with_the_direct_formula(monkeypatch, elements):
    monkeypatch.setattr(relation, "_TILE_ELEMENTS", elements)
    torch.manual_seed(0)
    student, teacher = torch.randn(11, 4, requires_grad=True), torch.randn(11, 7)
    value = RelationalAngleLoss(loss_weight=2.0)(student, teacher)
    expected = 2 * direct(student, teacher)
    (gradient,) = torch.autograd.grad(value, student)
    (expected_gradient,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_rotation_translation_and_scale_do_not_matter():
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4))
    moved = 3 * student @ rotation + torch.randn(4)
    loss = RelationalAngleLoss()
    assert loss(moved, teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)


def test_order_of_the_batch_does_not_matter():
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    order = torch.tensor([3, 0, 4, 5, 1, 2])
    loss = RelationalAngleLoss()
    assert loss(student[order], teacher[order]).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )


def test_direction_between_two_equal_samples_gets_no_gradient():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4), torch.randn(5, 6)
    student[1] = student[0]
    student.requires_grad_()
    RelationalAngleLoss()(student, teacher).backward()
    assert 0 < student.grad.abs().max() < 1


@pytest.mark.parametrize("samples", [1, 2])
def test_no_angles_give_zero(samples):
    student = torch.randn(samples, 4, requires_grad=True)
    value = RelationalAngleLoss()(student, torch.randn(samples, 5))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-7) and student.grad.abs().max() < 1e-6


def test_memory_stays_below_one_cube_of_the_batch(peak_bytes):
    # One array of 400^3 cosines is 256 MB; the direct formula holds several.
    assert peak_bytes(SETUP.format(n=400, d=32), STEP) < 100e6


@pytest.mark.slow
def test_a_large_batch_of_wide_embeddings_needs_no_cube(peak_bytes):
    # One array of 384^3 floats is 226 MB; nothing of that size may exist, whatever the width.
    assert peak_bytes(SETUP.format(n=384, d=512), STEP) < 113e6


@pytest.mark.slow
def test_batch_of_1024_runs_in_one_gigabyte(peak_bytes):
    # One array of 1024^3 floats is 4 GB. The time grows with the width, so it is narrow here.
    assert peak_bytes(SETUP.format(n=1024, d=64), STEP) < 1e9
