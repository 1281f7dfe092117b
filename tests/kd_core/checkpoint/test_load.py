import logging
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_core.checkpoint.load import (
    CheckpointError,
    compare_weights,
    load_weights,
    read_checkpoint,
    state_dict_of,
)

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.tensor([1.0, 2.0])}


class TestStateDict:
    @pytest.mark.parametrize(
        "checkpoint",
        [
            WEIGHTS,
            {"state_dict": WEIGHTS, "meta": {}},
            {"model": WEIGHTS, "epoch": 3},
            {"state_dict": {f"module.{key}": value for key, value in WEIGHTS.items()}},
        ],
        ids=["plain", "state_dict", "model", "module"],
    )
    def test_weights_are_found(self, checkpoint):
        assert dict(state_dict_of(checkpoint)).keys() == WEIGHTS.keys()

    def test_module_is_kept_where_not_all_share_it(self):
        weights = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
        assert list(state_dict_of(weights)) == ["module.a", "b"]

    def test_module_versions_follow_the_keys(self):
        model = nn.Sequential(OrderedDict(module=nn.Sequential(nn.BatchNorm2d(2))))
        versions = state_dict_of(model.state_dict())._metadata
        assert versions == {"": {"version": 1}, "0": {"version": 2}}

    @pytest.mark.parametrize("checkpoint", [{}, {"epoch": 3}, {"state_dict": {"a": 3}}])
    def test_no_weights_is_an_error(self, checkpoint):
        with pytest.raises(CheckpointError, match="dict of tensors"):
            state_dict_of(checkpoint)


class Net(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.fc = nn.Linear(3, classes)
        self.bn = nn.BatchNorm1d(classes)


def copy_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


class TestLoading:
    def test_every_value_arrives(self):
        source, model = Net(), Net()
        report = load_weights(model, source.state_dict())
        assert report.complete and set(report.loaded) == set(source.state_dict())
        torch.testing.assert_close(model.state_dict(), source.state_dict(), rtol=0, atol=0)

    @pytest.mark.parametrize("partial", [False, True])
    def test_nothing_changes_when_it_raises(self, partial):
        model = Net()
        before = copy_of(model)
        weights = {} if partial else {**Net().state_dict(), "more": torch.zeros(1)}
        with pytest.raises(CheckpointError):
            load_weights(model, weights, allow_partial=partial)
        torch.testing.assert_close(copy_of(model), before, rtol=0, atol=0)

    def test_the_table_is_aligned(self):
        weights = Net(3).state_dict()
        del weights["bn.weight"]
        weights["old.weight"] = torch.zeros(4, 4)
        with pytest.raises(CheckpointError) as caught:
            load_weights(Net(2), weights, source="teacher.pth")
        assert str(caught.value).splitlines() == [
            "teacher.pth does not fit Net: 5 mis-shaped, 1 missing, 1 unexpected; 1 fit.",
            "  key              in the file  in the model",
            "  fc.weight        (3, 3)       (2, 3)",
            "  fc.bias          (3,)         (2,)",
            "  bn.bias          (3,)         (2,)",
            "  bn.running_mean  (3,)         (2,)",
            "  bn.running_var   (3,)         (2,)",
            "  bn.weight        -            (2,)",
            "  old.weight       (4, 4)       -",
            "The checkpoint has 3 classes, the model 2 (fc.weight). Build the model with as many "
            "classes as the checkpoint. allow_partial=True loads what fits.",
        ]

    def test_a_long_table_is_cut(self):
        weights = {**Net().state_dict(), **{f"x{i}": torch.zeros(1) for i in range(33)}}
        with pytest.raises(CheckpointError, match=r"\.\.\. and 13 more"):
            load_weights(Net(), weights)

    def test_partial_loads_what_fits_and_warns(self, caplog):
        source, model = Net(), Net()
        before = copy_of(model)
        weights = source.state_dict()
        weights["bn.bias"] = torch.zeros(7)
        del weights["bn.weight"]
        with caplog.at_level(logging.WARNING):
            report = load_weights(model, weights, allow_partial=True)
        assert report.mismatched == (("bn.bias", (7,), (2,)),)
        assert report.missing == (("bn.weight", (2,)),) and report.unexpected == ()
        assert "bn.bias" in caplog.text and "(7,)" in caplog.text
        after = model.state_dict()
        assert torch.equal(after["fc.weight"], source.fc.weight)
        assert torch.equal(after["bn.bias"], before["bn.bias"])

    def test_counters_of_old_files_may_be_missing(self):
        source, model = Net(), Net()
        model.bn.num_batches_tracked += 5
        weights = source.state_dict()
        del weights["bn.num_batches_tracked"]
        assert load_weights(model, weights).complete
        assert model.bn.num_batches_tracked == 5

    @pytest.mark.parametrize("key", ["bn.running_mean", "bn.running_var", "fc.bias"])
    def test_nothing_but_a_counter_may_be_missing(self, key):
        weights = Net().state_dict()
        del weights[key]
        with pytest.raises(CheckpointError, match=f"1 missing(?s:.*){key}"):
            load_weights(Net(), weights)

    def test_ignored_keys_are_left_alone_on_both_sides(self):
        model = Net()
        model.distiller = nn.Linear(1, 1)
        before = copy_of(model)
        assert load_weights(model, Net().state_dict()).complete
        assert load_weights(
            Net(), {**Net().state_dict(), "distiller.weight": torch.zeros(9)}
        ).complete
        load_weights(model, {**Net().state_dict(), "distiller.weight": torch.ones(1, 1)})
        assert torch.equal(model.distiller.weight, before["distiller.weight"])

    def test_what_is_ignored_or_a_counter_is_not_said_to_be_missing(self):
        model = Net()
        model.distiller = nn.Linear(1, 1)
        ours = model.state_dict()
        report = compare_weights(ours, {"fc.weight": torch.zeros(2, 3)}, ("distiller.",))
        assert [key for key, _ in report.missing] == [
            "fc.bias",
            "bn.weight",
            "bn.bias",
            "bn.running_mean",
            "bn.running_var",
        ]

    def test_an_extra_state_has_no_shape_to_compare(self):
        class Counting(nn.Linear):
            def get_extra_state(self):
                return {"seen": 3}

            def set_extra_state(self, state):
                self.seen = state["seen"]

        model = Counting(3, 2)
        weights = {"weight": torch.ones(2, 3), "_extra_state": {"seen": 5}}
        report = load_weights(model, weights, allow_partial=True)
        assert report.missing == (("bias", (2,)),) and model.seen == 5

    def test_a_model_that_refuses_what_fits_stays_as_it_was(self):
        class Refusing(Net):
            def _load_from_state_dict(self, *arguments):
                super()._load_from_state_dict(*arguments)
                arguments[-1].append("never")

        model, weights = Refusing(), Net().state_dict()
        before = copy_of(model)
        for given in (weights, {**weights, "more": torch.zeros(1)}):
            with pytest.raises(CheckpointError, match="never"):
                load_weights(model, given, allow_partial=True)
        torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)

    def test_half_precision_becomes_the_model_s(self):
        weights = {key: value.half() for key, value in Net().state_dict().items()}
        model = Net()
        load_weights(model, weights)
        assert model.fc.weight.dtype == torch.float32
        assert torch.equal(model.fc.weight, weights["fc.weight"].float())
        assert model.bn.num_batches_tracked.dtype == torch.long

    def test_conversions_of_old_keys_are_honoured(self):
        class Renamed(Net):
            def _load_from_state_dict(self, state_dict, prefix, *rest):
                state_dict[prefix + "fc.weight"] = state_dict.pop(prefix + "old.weight")
                super()._load_from_state_dict(state_dict, prefix, *rest)

        model, weights = Renamed(), Net().state_dict()
        weights["old.weight"] = weights.pop("fc.weight")
        load_weights(model, weights)
        assert torch.equal(model.fc.weight, weights["old.weight"])


def test_the_classes_of_a_classifier_are_named():
    ours, theirs = (nn.ModuleDict({"fc": nn.Linear(2, rows)}) for rows in (10, 1000))
    with pytest.raises(CheckpointError, match=r"has 1000 classes, the model 10 \(fc.weight\)"):
        load_weights(ours, theirs.state_dict())


def test_other_sizes_are_no_class_count():
    """The layer's input differs: its rows say nothing, and the next layer's do."""
    ours, theirs = (nn.ModuleDict({"fc": nn.Linear(size, 10)}) for size in (4, 8))
    with pytest.raises(CheckpointError) as caught:
        load_weights(ours, theirs.state_dict())
    assert "classes" not in str(caught.value)
    ours["head"], theirs["head"] = nn.Linear(2, 7), nn.Linear(2, 9)
    with pytest.raises(CheckpointError, match="has 9 classes, the model 7"):
        load_weights(ours, theirs.state_dict())


def test_shared_mobilenet_loads_strictly():
    data = os.environ.get("KD_DATA")
    if not data:
        pytest.skip("KD_DATA does not name the folder of shared data")
    pytest.importorskip("safetensors")
    models = pytest.importorskip("torchvision.models")
    path = Path(data) / "weights" / "mobilenet_v2_imagenet_qat_fp16.safetensors"
    weights = state_dict_of(read_checkpoint(path))
    assert weights["features.0.0.weight"].dtype == torch.float16
    model = models.mobilenet_v2()
    assert load_weights(model, weights, source=str(path)).complete
    assert torch.equal(model.classifier[1].weight, weights["classifier.1.weight"].float())
    with pytest.raises(CheckpointError, match=r"1000 classes, the model 10 \(classifier"):
        load_weights(models.mobilenet_v2(num_classes=10), weights)
