"""Tied tensors: those of a model that count as one."""

import pytest
import torch
from torch import nn

from kd_core.checkpoint.load import CheckpointError, load_weights, read_checkpoint
from kd_core.checkpoint.tied import with_tied_weights


def test_the_other_name_of_a_shared_tensor_is_filled_in():
    model = nn.ModuleDict({"a": nn.Linear(2, 3, bias=False), "b": nn.Linear(2, 3, bias=False)})
    model["b"].weight = model["a"].weight
    value = torch.ones(3, 2)
    found = with_tied_weights(model, {"b.weight": value})
    assert found.keys() == {"a.weight", "b.weight"} and found["a.weight"] is value
    assert with_tied_weights(model, {"other": value}).keys() == {"other"}


def test_a_second_name_that_training_gave_a_tensor_is_left_out(tmp_path):
    model = nn.ModuleDict({"head": nn.Linear(2, 3)})
    trained = nn.ModuleDict({"head": nn.Linear(2, 3)})
    trained["decoder"] = nn.ModuleDict({"branch": trained["head"]})
    torch.save(trained.state_dict(), tmp_path / "trained.pth")
    load_weights(model, read_checkpoint(str(tmp_path / "trained.pth")))
    assert torch.equal(model["head"].weight, trained["head"].weight)


def test_an_unknown_name_of_another_tensor_is_refused():
    model = nn.ModuleDict({"head": nn.Linear(2, 3)})
    more = {f"decoder.{key}": value.clone() for key, value in model["head"].state_dict().items()}
    with pytest.raises(CheckpointError, match="2 unexpected"):
        load_weights(model, {**model.state_dict(), **more})


@pytest.mark.parametrize(
    ("shape", "device"), [((0, 2), "cpu"), ((3, 2), "meta")], ids=["empty", "meta"]
)
def test_tensors_without_memory_are_not_one(shape, device):
    """All of them lie at address 0."""
    model = nn.Module()
    model.a = nn.Parameter(torch.empty(shape, device=device))
    model.b = nn.Parameter(torch.empty(shape, device=device))
    assert with_tied_weights(model, {"a": torch.empty(shape)}).keys() == {"a"}


def test_a_state_that_is_no_tensor_stays_out():
    class Counting(nn.Linear):
        def get_extra_state(self):
            return {"seen": 3}

        def set_extra_state(self, state):
            pass

    weights = {"weight": torch.ones(2, 2)}
    assert with_tied_weights(Counting(2, 2), weights) == weights
