"""Two processes on gloo: DDP waits for every parameter, those of connectors and losses too."""

import copy
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from kd_core import AutoWeight, Distiller, Term
from kd_core.losses import AttentionTransferLoss, ChannelWiseLoss, VIDLoss
from kd_core.schedules import LinearWarmup, Stop
from kd_core.self_distiller import SelfDistiller


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.high = nn.Conv2d(3, width, 3)

    def forward(self, images):
        return {"loss_task": self.high(images).square().mean()}


def work(rank, port):
    """Train for five steps and print what was logged, and the weights."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    student = Net(4)
    terms = {
        "late": Term(ChannelWiseLoss(), "high", schedule=LinearWarmup(begin=2, end=3)),
        "early": Term(VIDLoss(), "high", schedule=Stop(at=1)),
        "off": Term(AttentionTransferLoss(), "high", weight=0.0),
        "steered": Term(AttentionTransferLoss(), "high", weight=AutoWeight()),
    }
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(rank))
    own = {"own": Term(AttentionTransferLoss(), "high")}
    earlier = SelfDistiller(copy.deepcopy(student), own)
    Distiller(Net(8), terms).attach(student, example=(images,))
    earlier.attach(student, name="distiller_self")
    model = nn.parallel.DistributedDataParallel(student)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    logged, steered = [], []
    for _ in range(5):
        losses = model(images)
        logged.append(sorted(losses))
        steered.append(float(losses["weight_steered"]))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    weights = {
        key: value.tolist()
        for key, value in student.state_dict().items()
        if key.endswith(("project.weight", "high.weight", "iteration", "log_weight"))
    }
    torch.distributed.barrier()  # nobody leaves before all are done
    torch.distributed.destroy_process_group()
    print(json.dumps([logged, weights, steered]), flush=True)
    os._exit(0)  # a thread of gloo may still run, which an ordinary exit takes for an error


def test_what_is_trained_for_a_term_at_zero_does_not_stop_ddp():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(port)],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert all(process.returncode == 0 for process in processes), outputs
    (logged, weights, steered), other = (json.loads(out.splitlines()[-1]) for out, _ in outputs)
    both = ["loss_steered", "loss_task", "weight_steered"]
    assert all(step[-3:] == both for step in logged)
    names = [[key.removeprefix("loss_") for key in step[:-3]] for step in logged]
    assert names == [
        ["early", "idle_connectors", "own"],
        ["idle_connectors", "own"],
        ["idle_connectors", "own"],
        ["idle_connectors", "late", "own"],
        ["idle_connectors", "late", "own"],
    ]
    # Both processes hold the same weights, though each has other images.
    assert [logged, weights, steered] == other
    assert len(set(steered)) > 2 and min(steered) > 0
    assert weights["distiller.iteration"] == weights["distiller_self.iteration"] == 5
    assert weights["distiller_self.earlier.high.weight"] != weights["high.weight"]


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]))
