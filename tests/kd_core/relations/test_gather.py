"""Losses that relate samples: two ranks of half the batch train what one rank of the whole does."""

import inspect
import os
import subprocess
import sys

import pytest
import torch

from kd_core import losses
from kd_core.relations.gather import gather_pair, gather_rows

RELATIONS = [  # ASCKD, which takes maps, has its own test
    name
    for name in losses.__all__
    if "gather" in inspect.signature(getattr(losses, name)).parameters and name != "ASCKDLoss"
]
COUNTS = (5, 3)
RUN = """
import os, sys
import torch
from torch import distributed
from kd_core import losses
folder, rank, names = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
)
data = torch.load(f"{folder}/data.pt", weights_only=True)
inputs, teacher = (data[key].split([5, 3])[rank] for key in ("inputs", "teacher"))
found = {}
for name in names:
    weight = data["weight"].clone().requires_grad_()
    value = getattr(losses, name)(gather=True)(inputs @ weight, teacher)
    value.backward()
    distributed.all_reduce(weight.grad)  # DDP's mean over the ranks
    found[name] = (value.detach(), weight.grad / 2)
try:
    gathered = losses.RelationalDistanceLoss(gather=True)(inputs[:, : 2 + rank], teacher)
except ValueError as error:
    found["error"] = str(error)
torch.save(found, f"{folder}/rank{rank}.pt")
distributed.barrier()
os._exit(0)  # a thread of gloo may still run, which an ordinary exit takes for an error
"""


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(3)
    return {
        "inputs": torch.randn(8, 6), "weight": torch.randn(6, 4), "teacher": torch.randn(8, 4)
    }  # fmt: skip


@pytest.fixture(scope="module")
def ranks(data, tmp_path_factory):
    """Results of each of two ranks: loss to (value, gradient)."""
    folder = tmp_path_factory.mktemp("gather")
    torch.save(data, folder / "data.pt")
    names = ",".join(RELATIONS)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(folder), str(rank), names],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture
def two_ranks(monkeypatch):
    """Let another rank with these rows take part, without a process of its own."""

    def start(rank, others):
        def all_gather(parts, own):
            parts[rank].copy_(own)
            other = torch.tensor(others.shape)
            if own.is_floating_point():
                assert own.is_contiguous() and len(own) == max(len(others), len(rows[0]))
                other = torch.nn.functional.pad(others, (0, 0, 0, len(own) - len(others)))
            parts[1 - rank].copy_(other)

        rows = [torch.arange(1.0, 5.0).reshape(2, 2).requires_grad_()]
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
        monkeypatch.setattr(torch.distributed, "all_gather", all_gather)
        return rows[0]

    return start


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("count", [1, 3])
def test_rows_come_in_the_order_of_the_ranks_with_a_gradient_of_our_own(two_ranks, rank, count):
    others = torch.full((count, 2), 9.0)
    rows = two_ranks(rank, others)
    joined = gather_rows(rows)
    order = [rows, others] if rank == 0 else [others, rows]
    assert torch.equal(joined, torch.cat(order))
    weights = torch.arange(1.0, 2 * (count + 2) + 1).reshape(-1, 2)
    (joined * weights).sum().backward()
    own = weights[:2] if rank == 0 else weights[count:]
    assert torch.equal(rows.grad, 2 * own)  # the factor that DDP's mean takes out


def test_maps_are_gathered_as_float32_rows_and_the_teacher_without_gradient(two_ranks):
    rows = two_ranks(0, torch.full((1, 2), 9.0))
    maps = rows.detach().half().reshape(2, 1, 1, 2).requires_grad_()
    pair = gather_pair(maps, maps, True)
    for side in pair:
        assert torch.equal(side, torch.tensor([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]))
    assert pair[0].requires_grad and not pair[1].requires_grad
    assert gather_pair(maps, rows, False) == (maps, rows)


def test_rows_of_another_width_are_refused(two_ranks):
    with pytest.raises(ValueError, match=r"a sample has \[2, 3\] values"):
        gather_rows(two_ranks(0, torch.ones(2, 3)))


@pytest.mark.parametrize("name", RELATIONS)
def test_two_ranks_are_one_of_the_whole_batch(name, data, ranks):
    weight = data["weight"].clone().requires_grad_()
    value = getattr(losses, name)()(data["inputs"] @ weight, data["teacher"])
    value.backward()
    for found in ranks:
        torch.testing.assert_close(found[name][0], value.detach())
        torch.testing.assert_close(found[name][1], weight.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", RELATIONS)
def test_without_gather_they_are_not(name, data):
    """So that the test above can fail: halves of the batch have another gradient."""
    grads = []
    for parts in [(8,), COUNTS]:
        weight = data["weight"].clone().requires_grad_()
        pairs = zip(data["inputs"].split(parts), data["teacher"].split(parts), strict=True)
        loss = getattr(losses, name)()
        (sum(loss(inputs @ weight, teacher) for inputs, teacher in pairs) / len(parts)).backward()
        grads.append(weight.grad)
    assert (grads[0] - grads[1]).norm() > 0.05 * grads[0].norm()


def test_ranks_with_other_sizes_are_named(ranks):
    for found in ranks:
        assert "must have one size, but a sample has [2, 3] values" in found["error"]


def test_without_ranks_nothing_changes():
    student, teacher = torch.randn(4, 5, 3, 3), torch.randn(4, 7, 2, 2)
    assert gather_pair(student, teacher, True) == (student, teacher)
    assert gather_rows(student) is student
