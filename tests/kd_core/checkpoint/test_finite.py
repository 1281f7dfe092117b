import pytest
import torch
from torch import nn

from kd_core.checkpoint.finite import require_finite_weights
from kd_core.checkpoint.load import CheckpointError, load_weights

NAN, INF = float("nan"), float("inf")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.bn = nn.Linear(3, 2), nn.BatchNorm1d(2)
        self.register_buffer("mask", torch.zeros(2))


def spoiled(key, value, dtype=torch.float32):
    weights = {k: v.clone() for k, v in Net().state_dict().items()}
    weights[key] = weights[key].to(dtype)
    weights[key].flatten()[-1] = value
    return weights


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("fc.weight", NAN, "1 NaN of 6"),
        ("fc.weight", INF, "1 infinite values of 6"),
        ("fc.bias", -INF, "1 infinite values of 2"),
        ("bn.running_var", INF, "1 infinite values of 2"),
        ("mask", NAN, "1 NaN of 2"),
    ],
)
@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_key_is_named_and_the_model_stays(key, value, words, partial, dtype):
    model = Net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    weights = spoiled(key, value, dtype)
    if partial:
        weights["more"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=f"in best.pth {key} has {words}"):
        load_weights(model, weights, source="best.pth", allow_partial=partial)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_eight_bits_and_complex_numbers_are_looked_at(dtype):
    weights = {"w": torch.tensor([1.0, NAN, 2.0]).to(dtype)}
    with pytest.raises(CheckpointError, match="w has 1 NaN of 3"):
        require_finite_weights(nn.Module(), weights, "")
    require_finite_weights(nn.Module(), {"w": torch.ones(3).to(dtype)}, "")


def test_each_name_of_a_shared_parameter_is_one():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    with pytest.raises(CheckpointError, match="b.weight has 4 infinite values of 4"):
        require_finite_weights(model, {"b.weight": torch.full((2, 2), INF)}, "")


def test_what_holds_no_numbers_is_passed_over():
    weights = {"fc._extra_state": {"seen": NAN}, "w": torch.empty(2, device="meta")}
    require_finite_weights(nn.Module(), weights | {"steps": torch.tensor(3)}, "")
    with pytest.raises(CheckpointError, match="steps has 1 NaN of 1"):  # and nothing after it
        require_finite_weights(nn.Module(), weights | {"steps": torch.tensor(NAN)}, "")


@pytest.mark.parametrize("count, more", [(3, r"b has 1 NaN of 1, c has 1 NaN of 1\. "),
                                         (5, r"c has 1 NaN of 1 and 2 more keys\. ")])  # fmt: skip
def test_three_keys_are_named(count, more):
    with pytest.raises(CheckpointError, match=more):
        require_finite_weights(nn.Module(), {key: torch.tensor(NAN) for key in "abcde"[:count]}, "")


def test_a_mask_may_be_infinite():
    model = Net()
    load_weights(model, spoiled("mask", -INF))
    assert model.mask[-1] == -INF


def test_what_is_not_loaded_does_not_matter():
    weights = spoiled("fc.weight", 1.0) | {"distiller.x": torch.tensor(NAN)}
    assert load_weights(Net(), weights).complete
    weights["fc.weight"] = torch.full((9, 9), NAN)
    assert "fc.bias" in load_weights(Net(), weights, allow_partial=True).loaded
