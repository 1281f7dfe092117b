import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kd_core.losses import ASCKDLoss

ROOT = Path(__file__).parents[3]

# One of the ranks: the batch's own share through a shared layer, gradients averaged as DDP does.
RANK = """
import os
import sys
import torch
from torch import distributed
from kd_core.losses import ASCKDLoss

torch.set_num_threads(1)
folder, rank, relation, queue, first, second = sys.argv[1:]
rank, side = int(rank), None if relation == "varying" else 2
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
)
data = torch.load(f"{folder}/data.pt", weights_only=True)
counts = [int(first), int(second)]
images, teacher = (data[key].split(counts)[rank] for key in ("images", "teacher"))
weight = data["weight"].requires_grad_()
if relation == "varying":
    if rank:
        images = images[..., :3]
    try:
        ASCKDLoss(gather=True)(torch.nn.functional.conv2d(images, weight), teacher)
    except ValueError as error:
        print(error, flush=True)
    distributed.barrier()
    os._exit(0)  # a thread of gloo may still run, which an ordinary exit takes for an error
loss = ASCKDLoss(relation, side=side, queue_size=int(queue), gather=True)
for _ in range(2 if int(queue) else 1):
    weight.grad = None
    value = loss(torch.nn.functional.conv2d(images, weight), teacher)
    value.backward()
    distributed.all_reduce(weight.grad)
torch.save({"value": value.detach(), "grad": weight.grad / 2}, f"{folder}/rank{rank}.pt")
distributed.barrier()
os._exit(0)
"""


def looks(*attention):
    """One map for each sample, one channel, whose squares are the attention."""
    return torch.tensor(attention).sqrt().unsqueeze(1).unsqueeze(1)  # (N, 1, 1, P)


@pytest.mark.parametrize(
    "relation, expected",
    [
        # R is the identity against rows (1, 1) / sqrt(2).
        ("similarity", 2 - 2**0.5),
        # Distances 1 against 0 in 2 of 4 entries: 1/4. Cosines 1 against 0 in 2 of 8: 1/8, twice.
        ("distance_angle", 0.5),
        # Rows (1, k) scaled to length 1, k = exp(-0.4 * 2), against (1, 1) / sqrt(2).
        (
            "rbf",
            2 - 2 * (1 + math.exp(-0.8)) / math.sqrt(2 * (1 + math.exp(-1.6))),
        ),
        # Rows (1, -1) / sqrt(2) against zeros.
        ("centered", 1.0),
    ],
)
def test_value_worked_out_by_hand(relation, expected):
    student, teacher = looks((1.0, 0.0), (0.0, 1.0)), looks((1.0, 0.0), (1.0, 0.0))
    assert ASCKDLoss(relation, loss_weight=1.0)(student, teacher).item() == pytest.approx(
        expected, rel=1e-5
    )
    assert ASCKDLoss(relation)(student, teacher).item() == pytest.approx(47 * expected, rel=1e-5)


def test_centered_rows_and_columns_both_lose_the_mean():
    def relate(attention):
        centered = torch.nn.functional.normalize(torch.tensor(attention), dim=1)
        centered = centered - centered.mean(dim=0)
        products = centered @ centered.t()
        return products / products.norm(dim=1, keepdim=True)

    student = ((1.0, 0.0, 0.0), (3.0, 4.0, 0.0), (2.0, 1.0, 2.0))
    teacher = ((1.0, 1.0), (0.0, 2.0), (3.0, 4.0))
    expected = (relate(student) - relate(teacher)).square().sum(dim=1).mean().item()
    value = ASCKDLoss("centered", loss_weight=1.0)(looks(*student), looks(*teacher))
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("relation", ["similarity", "distance_angle", "rbf", "centered"])
class TestInvariances:
    def test_scale_of_each_sample(self, relation):
        student, teacher = torch.randn(4, 5, 3, 3), torch.randn(4, 7, 2, 2)
        scales = torch.tensor([7.0, 0.01, 1.0, 30.0]).reshape(4, 1, 1, 1)
        loss = ASCKDLoss(relation)
        assert loss(scales * student, teacher).item() == pytest.approx(
            loss(student, teacher).item(), rel=1e-3
        )

    def test_orthogonal_mixing_of_channels(self, relation):
        student, teacher = torch.randn(4, 5, 3, 3), torch.randn(4, 7, 2, 2)
        mixing, _ = torch.linalg.qr(torch.randn(5, 5))
        mixed = torch.einsum("dc,nchw->ndhw", mixing, student)
        loss = ASCKDLoss(relation)
        assert loss(mixed, teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-3)

    def test_order_of_the_batch(self, relation):
        student, teacher = torch.randn(5, 4, 3, 3), torch.randn(5, 6, 2, 2)
        order = torch.tensor([3, 0, 4, 1, 2])
        loss = ASCKDLoss(relation)
        assert loss(student[order], teacher[order]).item() == pytest.approx(
            loss(student, teacher).item(), rel=1e-3
        )


@pytest.mark.parametrize("relation", ["similarity", "rbf", "centered"])
def test_batch_size_does_not_matter(relation):
    student, teacher = torch.randn(4, 5, 3, 3), torch.randn(4, 7, 2, 2)
    loss = ASCKDLoss(relation)
    doubled = loss(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1))
    assert doubled.item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)


@pytest.mark.parametrize("relation", ["similarity", "distance_angle", "rbf", "centered"])
def test_batch_of_one_gives_zero_with_a_graph(relation):
    for feature in (torch.randn(1, 4, 3, 3), torch.zeros(1, 4, 3, 3)):
        student = feature.requires_grad_()
        value = ASCKDLoss(relation)(student, torch.randn(1, 6, 2, 2))
        value.backward()
        assert value.item() == 0 and torch.equal(student.grad, torch.zeros_like(student))


def test_levels_of_one_sample_need_not_be_of_one_size():
    student = [torch.randn(1, 4, size, size) for size in (4, 2)]
    assert ASCKDLoss()(student, student).item() == 0


def test_levels_are_summed():
    student = [torch.randn(4, 5, 3, 3), torch.randn(4, 8, 2, 2)]
    teacher = [torch.randn(4, 7, 6, 6), torch.randn(4, 9, 2, 2)]
    loss = ASCKDLoss()
    apart = sum(loss(*pair).item() for pair in zip(student, teacher, strict=True))
    assert loss(student, teacher).item() == pytest.approx(apart, rel=1e-5)
    with pytest.raises(ValueError, match="student has 2 and teacher has 1"):
        loss(student, teacher[:1])


def test_one_position_tells_no_samples_apart():
    student, teacher = torch.randn(4, 5, 8, 8), torch.randn(4, 7, 4, 4)
    assert ASCKDLoss(side=1)(student, teacher).item() == pytest.approx(0, abs=1e-6)


def test_side_pools_the_attention_map():
    student, teacher = torch.randn(4, 5, 8, 8), torch.randn(4, 7, 4, 4)
    small = [
        torch.nn.functional.adaptive_avg_pool2d(x.square().mean(1, keepdim=True), 2).sqrt()
        for x in (student, teacher)
    ]
    pooled = ASCKDLoss(side=2)(student, teacher)
    assert pooled.item() == pytest.approx(ASCKDLoss()(*small).item(), rel=1e-4)


class TestQueue:
    def test_rows_relate_to_the_past(self):
        student, teacher = torch.randn(5, 5, 3, 3), torch.randn(5, 7, 2, 2)
        loss = ASCKDLoss(queue_size=4, loss_weight=1.0)
        loss(student[:3], teacher[:3])
        leaf = student[3:].clone().requires_grad_()
        value = loss(leaf, teacher[3:])
        value.backward()

        def rows(feature):  # the rows of the two new samples among all five, newest first
            energy = feature.square().mean(1).flatten(1)
            units = torch.nn.functional.normalize(torch.cat([energy[3:], energy[:3]]))
            return torch.nn.functional.normalize(units[:2] @ units.t())

        own = student.clone().requires_grad_()
        expected = (rows(own) - rows(teacher)).square().sum(1).mean()
        expected.backward()
        assert value.item() == pytest.approx(expected.item(), rel=1e-4)
        torch.testing.assert_close(leaf.grad, own.grad[3:], rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("relation", ["similarity", "rbf", "centered"])
    def test_two_parts_that_see_each_other_are_the_whole(self, relation):
        student, teacher = torch.randn(5, 5, 3, 3), torch.randn(5, 7, 2, 2)
        parts = [slice(0, 3), slice(3, 5)]
        values = []
        for past, new in (parts, parts[::-1]):
            loss = ASCKDLoss(relation, queue_size=3)
            loss(student[past], teacher[past])
            values.append(loss(student[new], teacher[new]).item())
        whole = ASCKDLoss(relation)(student, teacher).item()
        assert (2 * values[0] + 3 * values[1]) / 5 == pytest.approx(whole, rel=1e-4)

    def test_distances_and_angles_are_those_of_the_new_samples(self):
        loss = ASCKDLoss("distance_angle", queue_size=2, loss_weight=1.0)
        loss(looks((0.0, 1.0), (0.0, 1.0)), looks((1.0, 0.0), (1.0, 0.0)))
        value = loss(looks((1.0, 0.0)), looks((1.0, 0.0)))
        # Relative distances (0, 1, 1) against zeros: 1 / 3. From the new sample 4 of 9 cosines are
        # 1 against 0: 2 / 9, twice.
        assert value.item() == pytest.approx(1 / 3 + 4 / 9, rel=1e-5)

    def test_a_single_sample_relates_to_the_past(self):
        loss = ASCKDLoss(queue_size=4)
        assert loss(torch.randn(1, 5, 3, 3), torch.randn(1, 7, 2, 2)).item() == 0
        assert loss(torch.randn(1, 5, 3, 3), torch.randn(1, 7, 2, 2)).item() > 0

    def test_it_holds_the_newest_samples_only(self):
        torch.manual_seed(0)
        batches = [(torch.randn(2, 5, 3, 3), torch.randn(2, 7, 2, 2)) for _ in range(4)]
        bounded, fresh = ASCKDLoss(queue_size=4), ASCKDLoss(queue_size=4)
        values = [bounded(*batch).item() for batch in batches]
        for batch in batches[1:-1]:
            fresh(*batch)
        assert values[-1] == pytest.approx(fresh(*batches[-1]).item(), rel=1e-5)

    def test_a_new_shape_empties_it(self):
        loss, student, teacher = (
            ASCKDLoss(queue_size=4),
            torch.randn(3, 5, 3, 3),
            torch.randn(3, 7, 2, 2),
        )
        loss(torch.randn(3, 5, 4, 4), torch.randn(3, 7, 2, 2))
        expected = ASCKDLoss()(student, teacher).item()
        assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-5)

    def test_it_stays_out_of_the_state(self):
        loss = ASCKDLoss(queue_size=4)
        loss(torch.randn(3, 5, 3, 3), torch.randn(3, 7, 2, 2))
        assert not loss.state_dict()

    @pytest.mark.parametrize("training", [False, True])
    def test_neither_evaluation_nor_no_grad_fills_it(self, training):
        """Of different batches: the same samples twice change no relation of theirs."""
        torch.manual_seed(0)
        batches = [(torch.randn(3, 5, 3, 3), torch.randn(3, 7, 2, 2)) for _ in range(2)]
        loss = ASCKDLoss(queue_size=4).train(training)
        with torch.set_grad_enabled(not training):
            loss(*batches[0])
        alone = ASCKDLoss()(*batches[1]).item()
        assert loss.train()(*batches[1]).item() == pytest.approx(alone, rel=1e-5)
        assert loss(*batches[0]).item() != pytest.approx(ASCKDLoss()(*batches[0]).item(), rel=1e-2)


def run_ranks(folder, relation="similarity", queue=0, counts=(3, 3)):
    torch.manual_seed(0)
    data = {
        "images": torch.randn(sum(counts), 3, 4, 4),
        "teacher": torch.randn(sum(counts), 7, 5, 5),
        "weight": torch.randn(6, 3, 1, 1),
    }
    torch.save(data, folder / "data.pt")
    arguments = [relation, str(queue), *map(str, counts)]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(folder), str(rank), *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=300) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    return data, [output for output, _ in outputs]


@pytest.mark.parametrize(
    "relation, queue, counts",
    [("similarity", 0, (3, 3)), ("distance_angle", 4, (4, 2))],
)
def test_two_ranks_equal_one_large_batch(tmp_path, relation, queue, counts):
    data, _ = run_ranks(tmp_path, relation, queue, counts)
    weight = data["weight"].requires_grad_()
    loss = ASCKDLoss(relation, side=2, queue_size=queue)
    for _ in range(2 if queue else 1):
        weight.grad = None
        value = loss(torch.nn.functional.conv2d(data["images"], weight), data["teacher"])
        value.backward()
    for rank in range(2):
        result = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        torch.testing.assert_close(result["value"], value.detach())
        torch.testing.assert_close(result["grad"], weight.grad, rtol=1e-4, atol=1e-6)


def test_ranks_with_maps_of_two_sizes_are_told_to_set_side(tmp_path):
    _, outputs = run_ranks(tmp_path, "varying")
    assert all(
        "a sample has [12, 16] values. Pool them to one size (ASCKD: set side" in output
        for output in outputs
    )


def test_gather_without_ranks_changes_nothing():
    student, teacher = torch.randn(4, 5, 3, 3), torch.randn(4, 7, 2, 2)
    assert ASCKDLoss(gather=True)(student, teacher).item() == ASCKDLoss()(student, teacher).item()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"relation": "other"}, r"\['centered', 'distance_angle', 'rbf', 'similarity'\]"),
        ({"side": 0}, "side must be at least 1, or None, but it is 0"),
        ({"queue_size": -1}, "queue_size must not be negative, but it is -1"),
    ],
)
def test_bad_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ASCKDLoss(**options)
