import math

import pytest
import torch

from kd_core.losses import CRDLoss


def prepared(student=3, teacher=5, **options):
    torch.manual_seed(0)
    loss = CRDLoss(**{"samples": 20, "negatives": 8, "dim": 4, **options})
    loss.prepare(torch.randn(2, student), torch.randn(2, teacher))
    return loss


def batch(count=6, student=3, teacher=5):
    ids = torch.randperm(20)[:count]
    return torch.randn(count, student), torch.randn(count, teacher), ids % 3, ids


def test_value_worked_out_by_hand():
    # Both embeddings are (1, 0), and so is the bank's entry of the image; the other's is (0, 1).
    loss = prepared(2, 2, samples=2, negatives=1, dim=2, temperature=1.0)
    with torch.no_grad():
        for layer in loss.embed.values():
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        loss.student_bank.copy_(torch.eye(2))
        loss.teacher_bank.copy_(torch.eye(2))
    vector = torch.tensor([[3.0, 0.0]])
    value = loss(vector, vector, torch.tensor([1]), torch.tensor([0]))
    image, other = math.e / (math.e + 1), 1 / (math.e + 1)  # z is 2 * mean of e and 1
    expected = -math.log(image / (image + 0.5)) - math.log(0.5 / (other + 0.5))
    assert value.item() == pytest.approx(2 * expected, rel=1e-5)


def test_authors_code(recorded, monkeypatch):
    # https://github.com/HobbitLong/RepDistiller, crd/criterion.py, commit
    # 1fb2343fb5a61b37bedacac7630f07e3077d49cd, and crd/memory.py, commit
    # 97c4c00b511b6a625870ddfe969cfe0e14539c3b: two steps, with the negatives that they were given.
    data = recorded("contrastive_representation")
    loss = prepared(5, 7)
    with torch.no_grad():
        for side, layer in loss.embed.items():
            layer.weight.copy_(data[f"weight_{side}"])
            layer.bias.copy_(data[f"bias_{side}"])
            getattr(loss, f"{side}_bank").copy_(data[f"bank_{side}"])
    for step in range(2):
        student = data[f"student_{step}"].requires_grad_()
        negatives = data[f"negatives_{step}"]
        monkeypatch.setattr(loss, "_draw", lambda labels, negatives=negatives: negatives)
        loss.zero_grad()
        ids = data[f"ids_{step}"]
        value = loss(student, data[f"teacher_{step}"], torch.zeros_like(ids), ids)
        value.backward()
        assert value.item() == pytest.approx(data[f"value_{step}"].item(), rel=1e-4)
        found = {"student": student.grad}
        found |= {f"weight_{side}": layer.weight.grad for side, layer in loss.embed.items()}
        for name, gradient in found.items():
            expected = data[f"grad_{name}_{step}"]
            limit = 1e-4 * expected.abs().max().item()
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=limit)
    for side in ("student", "teacher"):
        torch.testing.assert_close(getattr(loss, f"{side}_bank"), data[f"last_bank_{side}"])


def test_negatives_are_all_images_of_other_classes_and_no_others():
    loss = prepared(negatives=500)
    loss.labels.copy_(torch.arange(20) % 3)
    loss.labels[7] = -1  # not seen yet
    for label, drawn in zip((0, 2), loss._draw(torch.tensor([0, 2])), strict=True):
        expected = {i for i in range(20) if i % 3 != label or i == 7}
        assert set(drawn.tolist()) == expected


def test_negatives_are_drawn_evenly():
    loss = prepared(negatives=40_000)
    loss.labels.copy_(torch.arange(20) // 10)
    counts = loss._draw(torch.tensor([0])).flatten().bincount(minlength=20)
    assert not counts[:10].any() and (counts[10:] - 4000).abs().max() < 400


def test_an_image_of_the_only_class_so_far_still_gets_numbers():
    loss = prepared()
    loss.labels.zero_()
    drawn = loss._draw(torch.tensor([0, 0]))
    assert 0 <= drawn.min() and drawn.max() < 20


def test_the_only_image_of_another_class_is_every_negative():
    loss = prepared()
    loss.labels.zero_()
    loss.labels[4] = 1
    assert (loss._draw(torch.tensor([0])) == 4).all()


def test_the_banks_follow_the_embeddings():
    loss = prepared(momentum=0.25)
    student, teacher, labels, ids = batch()
    before = {side: getattr(loss, f"{side}_bank").clone() for side in ("student", "teacher")}
    loss(student, teacher, labels, ids)
    for side, features in (("student", student), ("teacher", teacher)):
        bank = getattr(loss, f"{side}_bank")
        vectors = torch.nn.functional.normalize(loss.embed[side](features), dim=1)
        mixed = 0.25 * before[side][ids] + 0.75 * vectors
        torch.testing.assert_close(bank[ids], mixed / mixed.norm(dim=1, keepdim=True))
        others = [i for i in range(20) if i not in ids.tolist()]
        assert torch.equal(bank[others], before[side][others])
    assert torch.equal(loss.labels[ids], labels) and (loss.labels[others] == -1).all()


def test_nothing_is_remembered_in_eval_mode():
    loss = prepared().eval()
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss(*batch())
    after = loss.state_dict()
    assert all(torch.equal(after[n].nan_to_num(), v.nan_to_num()) for n, v in before.items())


def test_the_normalizer_is_that_of_the_first_batch():
    loss = prepared()
    assert loss.log_z.isnan().all()
    loss(*batch())
    first = loss.log_z.clone()
    loss(*batch())
    assert torch.isfinite(first).all() and torch.equal(loss.log_z, first)


def test_order_of_the_batch_does_not_matter():
    loss = prepared(negatives=300_000)  # so many that the draw does not matter either
    loss(*batch())
    loss.eval()
    student, teacher, labels, ids = batch()
    order = torch.tensor([3, 0, 4, 1, 5, 2])
    moved = loss(student[order], teacher[order], labels[order], ids[order]).item()
    assert moved == pytest.approx(loss(student, teacher, labels, ids).item(), rel=1e-2)


def test_training_brings_the_two_embeddings_of_an_image_together():
    loss = prepared(16, 16, dim=8)
    student, teacher = torch.randn(20, 16), torch.randn(20, 16)
    labels, ids = torch.arange(20) % 5, torch.arange(20)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
    values = []
    for _ in range(100):
        optimizer.zero_grad()
        values.append(loss(student, teacher, labels, ids))
        values[-1].backward()
        optimizer.step()
    with torch.no_grad():
        s, t = (
            torch.nn.functional.normalize(loss.embed[side](features), dim=1)
            for side, features in (("student", student), ("teacher", teacher))
        )
    # Every image's nearest teacher embedding is its own, or one of its class: 1 in 5 by chance.
    nearest = (s @ t.t()).argmax(dim=1)
    assert (labels[nearest] == labels).all()
    assert values[-1] < values[10] / 2


def test_maps_are_embedded_as_their_values_in_a_row():
    loss = prepared(12).eval()
    student, teacher, labels, ids = batch(student=12)
    torch.manual_seed(1)
    expected = loss(student, teacher, labels, ids)
    torch.manual_seed(1)
    assert torch.equal(loss(student.reshape(6, 3, 2, 2), teacher, labels, ids), expected)


def test_what_fits_stays_when_prepared_again():
    loss = prepared()
    bank, layer = loss.student_bank, loss.embed["student"]
    loss.prepare(torch.randn(4, 3), torch.randn(4, 5))
    assert loss.student_bank is bank and loss.embed["student"] is layer
    loss.prepare(torch.randn(4, 3, 2, 2), torch.randn(4, 5))
    assert loss.embed["student"].in_features == 12


def test_embeddings_that_it_was_not_prepared_for_are_refused():
    with pytest.raises(ValueError, match=r"of no sizes yet, but they have .*'student': 3.*prepare"):
        CRDLoss(samples=20)(*batch())
    with pytest.raises(ValueError, match=r"'teacher': 5.*but they have .*'teacher': 6"):
        prepared()(*batch(teacher=6))


def test_several_levels_are_refused():
    with pytest.raises(ValueError, match="student must be one batch .* there are 2 levels"):
        CRDLoss(samples=20).prepare([torch.randn(2, 3)] * 2, [torch.randn(2, 3)] * 2)


@pytest.mark.parametrize(
    "ids, message",
    [([0, 20], "below 20, but they go from 0 to 20"), ([0], "one whole number for each of the 2")],
)
def test_ids_that_do_not_fit_are_refused(ids, message):
    student, teacher, labels, _ = batch(2)
    with pytest.raises(ValueError, match=f"ids must be .*{message}"):
        prepared()(student, teacher, labels, torch.tensor(ids))


def test_the_smallest_sizes_are_taken():
    loss = CRDLoss(samples=2, negatives=1, dim=1)
    assert (loss.samples, loss.negatives, loss.dim) == (2, 1, 1)


def test_a_label_below_zero_is_refused():
    """-1 stands for what has not been seen."""
    student, teacher, _, ids = batch(2)
    with pytest.raises(ValueError, match="labels must be at least 0, but they go from -1 to 2"):
        prepared()(student, teacher, torch.tensor([-1, 2]), ids)


def test_the_banks_begin_about_one_long():
    loss = prepared(samples=1000, dim=12)
    for bank in (loss.student_bank, loss.teacher_bank):  # uniform to sqrt(3 / 12)
        assert 0.495 < bank.abs().max() <= 0.5


def test_a_distributed_run_is_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="one process only, but there are 2"):
        prepared()(*batch())
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    assert torch.isfinite(prepared()(*batch()))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"samples": 1}, "but they are 1, 16384 and 128"),
        ({"samples": 9, "negatives": 0}, "but they are 9, 0 and 128"),
        ({"samples": 9, "dim": 0}, "but they are 9, 16384 and 0"),
        ({"samples": 9, "temperature": 0.0}, "temperature must be above 0, but it is 0"),
        ({"samples": 9, "momentum": 1.0}, "momentum must be at least 0 and below 1, but it is 1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CRDLoss(**options)
