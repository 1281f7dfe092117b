from collections import OrderedDict

import pytest
import torch
from torch import nn

from kd_core.checkpoint.load import CheckpointError
from kd_core.checkpoint.part import load_part


def block(*channels):
    return nn.Sequential(nn.Conv2d(*channels, 3, bias=False), nn.BatchNorm2d(channels[-1]))


class Backbone(nn.Module):
    def __init__(self, blocks=1, offset=False, classes=None):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, bias=False)
        self.layer1 = nn.Sequential(*(block(4, 4) for _ in range(blocks)))
        if offset:
            self.offset = nn.Conv2d(4, 2, 1)
            nn.init.zeros_(self.offset.weight)
            nn.init.zeros_(self.offset.bias)
            self.norm0 = nn.LayerNorm(4)
        if classes:
            self.fc = nn.Linear(4, classes)


def same(module, source):
    for key, value in module.state_dict().items():
        if key in source and not key.endswith("num_batches_tracked"):
            assert torch.equal(value, source[key]), key


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_classifier_s_weights_start_a_backbone(prefix):
    source = Backbone(classes=9).state_dict()
    weights = OrderedDict((prefix + key, value) for key, value in source.items())
    module = Backbone()
    report = load_part(module, weights)
    same(module, source)
    assert [key for key, _ in report.unexpected] == ["fc.weight", "fc.bias"]


def test_what_begins_as_nothing_may_be_missing():
    module, source = Backbone(offset=True), Backbone(classes=9).state_dict()
    report = load_part(module, source)
    same(module, source)
    assert {key for key, _ in report.missing} == {
        "offset.weight", "offset.bias", "norm0.weight", "norm0.bias"
    }  # fmt: skip


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_neutral_number_makes_no_neutral_weight(value):
    module = Backbone(classes=9)
    torch.nn.init.uniform_(module.fc.weight, 2, 3)
    torch.nn.init.zeros_(module.fc.bias)
    with torch.no_grad():
        module.fc.weight[0, 0] = value
    with pytest.raises(CheckpointError, match=r"1 missing(?s:.*)fc\.weight"):
        load_part(module, Backbone().state_dict())


def test_a_table_may_be_missing_and_statistics_may_not():
    module, weights = Backbone(), Backbone().state_dict()
    module.register_buffer("places", torch.arange(5))
    load_part(module, weights)
    assert module.places.tolist() == [0, 1, 2, 3, 4]
    del weights["layer1.0.1.running_mean"]  # all 0 in a new module, and no table
    with pytest.raises(CheckpointError, match="1 missing(?s:.*)running_mean"):
        load_part(module, weights)


def test_a_module_without_memory_is_not_filled_by_itself():
    with torch.device("meta"):
        module = Backbone(classes=9)
    with pytest.raises(CheckpointError, match="missing(?s:.*)fc.bias"):
        load_part(module, Backbone().state_dict())


def test_a_state_that_is_no_tensor_is_not_neutral():
    class Counting(Backbone):
        def get_extra_state(self):
            return {"seen": 3}

        def set_extra_state(self, state):
            self.seen = state["seen"]

    with pytest.raises(CheckpointError, match="missing(?s:.*)_extra_state"):
        load_part(Counting(), Backbone().state_dict())


def test_the_source_and_what_is_ignored_are_passed_on():
    module = Backbone(classes=9)
    with pytest.raises(CheckpointError, match="best.pth does not fit"):
        load_part(module, Backbone().state_dict(), source="best.pth")
    load_part(module, Backbone().state_dict(), ignore=("fc.",))


def test_versions_of_modules_arrive():
    class Versioned(Backbone):
        _version = 3

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            self.seen = local_metadata.get("version")
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    module = Versioned()
    load_part(module, Backbone(classes=9).state_dict())
    assert module.seen == 1  # torch's version of a plain module


def test_an_optional_part_may_be_missing():
    module = Backbone(classes=9)
    with pytest.raises(CheckpointError, match=r"fc\.weight"):
        load_part(module, Backbone().state_dict())
    load_part(module, Backbone().state_dict(), optional=("fc.",))


def test_a_bias_without_a_place_is_no_error():
    source = Backbone().state_dict() | {"conv1.bias": torch.zeros(4)}
    assert ("conv1.bias", (4,)) in load_part(Backbone(), source).unexpected


def without(key):
    return {k: v for k, v in Backbone().state_dict().items() if k != key}


@pytest.mark.parametrize(
    "weights, words",
    [
        (Backbone(2).state_dict(), r"layer1\.1"),  # deeper than the module
        (without("conv1.weight"), r"1 missing(?s:.*)conv1\.weight"),
        (without("layer1.0.1.running_mean"), r"1 missing(?s:.*)running_mean"),
        (Backbone().state_dict() | {"conv1.weight": torch.zeros(4, 1, 3, 3)}, "1 mis-shaped"),
        ({f"backbone.{k}": v for k, v in Backbone().state_dict().items()}
         | {"head.bias": torch.zeros(1)}, r"prefix='backbone\.'"),
        ({"other.weight": torch.zeros(1)}, "0 fit"),
        (Backbone().state_dict() | {"conv1.weight": torch.full((4, 3, 3, 3), float("nan"))},
         r"conv1\.weight has 108 NaN"),
    ],
    ids=["deeper", "missing", "statistic", "shape", "prefix", "nothing", "nan"],
)  # fmt: skip
def test_what_would_leave_something_random_is_refused(weights, words):
    module = Backbone()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=words):
        load_part(module, weights, source="a.pth")
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


def test_a_shallower_file_is_refused_unless_allowed(caplog):
    module, source = Backbone(2), Backbone(1).state_dict()
    with pytest.raises(CheckpointError, match=r"layer1\.1\.0\.weight"):
        load_part(module, source)
    load_part(module, source, allow_partial=True)
    same(module, source)
    assert "layer1.1.0.weight" in caplog.text
