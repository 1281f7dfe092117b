"""PS-KD: agreement with the authors' code, the table, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kd_core.methods import PSKD

REFERENCE = Path(__file__).parents[1] / "losses" / "reference" / "pskd.npz"


class Given(nn.Module):
    """A network whose logits are the images."""

    def forward(self, images):
        return images * 1.0


def attached(samples=7, classes=10, **options):
    network = Given()
    PSKD(samples, **options).attach(network, example=[torch.zeros(2, classes)])
    network.distiller.set_run_length(1, 300)
    return network


def step(network, logits, labels, ids):
    network(logits)
    return network.distiller.losses(labels=labels, ids=ids)


def test_authors_code():
    # https://github.com/lgcnsai/PS-KD-Pytorch, loss/pskd_loss.py and main.py, commit
    # 6ca4e75c85d94a9f0b00fba3fb72f2c7da5f7e31; epoch 99 of 300, alpha_T 0.8.
    with np.load(REFERENCE) as arrays:
        found = {key: torch.tensor(arrays[key]) for key in arrays}
    network, logits = attached(), found["student"].requires_grad_()
    network.distiller.past.copy_(found["past"])
    network.distiller.set_iteration(99)
    value = sum(step(network, logits, found["labels"], torch.arange(7)).values())
    value.backward()
    assert value.item() == pytest.approx(found["value"].item(), rel=1e-5)
    torch.testing.assert_close(logits.grad, found["grad_student"], rtol=1e-4, atol=1e-6)


def test_the_first_epoch_is_plain_training_and_is_remembered():
    network, logits, labels = attached(), torch.randn(3, 10), torch.tensor([1, 4, 4])
    ids = torch.tensor([6, 0, 2])
    first = step(network, logits, labels, ids)
    torch.testing.assert_close(sum(first.values()), F.cross_entropy(logits, labels))
    torch.testing.assert_close(network.distiller.past[ids], logits.softmax(1))
    assert not network.distiller.past[[1, 3, 4, 5]].any()
    other = torch.randn(3, 10)
    second = step(network, other, labels, ids)
    share = 0.8 * 2 / 300
    expected = share * -(logits.softmax(1) * other.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(second["loss_past"], expected)
    torch.testing.assert_close(second["loss_ce"], (1 - share) * F.cross_entropy(other, labels))


def test_after_the_run_the_share_stays():
    network, ids = attached(), torch.tensor([6, 0, 2])
    network.distiller.set_iteration(599)  # of 300
    found = step(network, torch.randn(3, 10), torch.tensor([1, 4, 4]), ids)
    assert (found["loss_ce"] / found["loss_past"]).item() == pytest.approx(0.2 / 0.8)


def test_the_table_is_saved():
    network = attached()
    step(network, torch.randn(3, 10), torch.tensor([1, 4, 4]), torch.tensor([6, 0, 2]))
    again = attached()
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.distiller.past, network.distiller.past)
    assert again.distiller.past.any()


@pytest.mark.parametrize(
    "ids, message",
    [
        (None, r"PSKD needs the ids .* losses\(labels=labels, ids=ids\)"),
        (torch.tensor([0, 7]), "ids must be at least 0 and below 7, but they go from 0 to 7"),
    ],
)
def test_ids_that_do_not_fit(ids, message):
    with pytest.raises(ValueError, match=message):
        step(attached(), torch.zeros(2, 10), torch.tensor([1, 4]), ids)


def test_several_processes_are_refused(monkeypatch):
    network = attached()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(
        ValueError, match="remembers the images of one process only, .* there are 2"
    ):
        step(network, torch.zeros(2, 10), torch.tensor([1, 4]), torch.tensor([1, 4]))


def test_the_length_of_the_run_is_needed():
    network = attached()
    network.distiller.set_run_length(5)
    with pytest.raises(ValueError, match="PSKD needs the length of the run"):
        step(network, torch.zeros(2, 10), torch.tensor([1, 4]), torch.tensor([1, 4]))
    network.distiller._length = None
    with pytest.raises(ValueError, match="PSKD needs the length of an epoch"):
        step(network, torch.zeros(2, 10), torch.tensor([1, 4]), torch.tensor([1, 4]))


@pytest.mark.parametrize("options", [dict(samples=0), dict(samples=5, alpha=1.5)])
def test_numbers_out_of_range(options):
    with pytest.raises(
        ValueError, match="samples must be at least 1 and alpha must be from 0 to 1"
    ):
        PSKD(**options)
