import pytest
import torch
from torch import nn

from kd_core.checkpoint.load import CheckpointError, load_weights, state_dict_of

OURS = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}
OTHER = {"fc.weight": torch.zeros(2, 3), "fc.bias": torch.zeros(2)}


def with_prefix(prefix, weights=OURS):
    return {prefix + key: value for key, value in weights.items()}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)


class TestEntry:
    @pytest.mark.parametrize("flip", [False, True])
    def test_state_dict_comes_before_model(self, flip):
        entries = [("model", OTHER), ("state_dict", OURS)]
        found = state_dict_of(dict(reversed(entries) if flip else entries))
        assert torch.equal(found["fc.weight"], OURS["fc.weight"])

    @pytest.mark.parametrize(
        "checkpoint, key",
        [
            ({"state_dict": OTHER, "state_dict_ema": OURS}, "state_dict_ema"),  # timm
            (  # torchvision
                {"model": OTHER, "model_ema": {"n_averaged": torch.tensor(4)}
                 | with_prefix("module.")}, "model_ema",
            ),
            (  # mmengine
                {"state_dict": OTHER, "ema_state_dict": {"steps": torch.tensor(4)}
                 | with_prefix("module.")}, "ema_state_dict",
            ),
            ({"ema": {"weights": OURS}}, "ema.weights"),
            ({"a.b": OURS, "state_dict": OTHER}, "a.b"),
        ],
    )  # fmt: skip
    def test_a_key_names_the_entry(self, checkpoint, key):
        found = state_dict_of(checkpoint, key)
        assert found.keys() == OURS.keys()
        assert torch.equal(found["fc.weight"], OURS["fc.weight"])

    def test_a_wrong_key_shows_those_that_hold_weights(self):
        checkpoint = {"state_dict": OTHER, "model_ema": OURS, "epoch": 3}
        with pytest.raises(CheckpointError, match="key='state_dict' or key='model_ema'"):
            state_dict_of(checkpoint, "ema")
        with pytest.raises(CheckpointError, match="key='student'"):
            state_dict_of({"student": OURS, "epoch": 3})

    def test_a_key_that_goes_below_a_tensor_names_nothing(self):
        with pytest.raises(CheckpointError, match="but it is 'a.fc.weight.x'"):
            state_dict_of({"a": {"fc": {"weight": torch.ones(1)}}}, "a.fc.weight.x")

    def test_only_entries_of_weights_alone_are_offered(self):
        mixed = {"step": 3, "w": torch.ones(1)}
        checkpoint = {"optimizer": mixed, "empty": {}, "ema": OURS, "lr": 0.1}
        with pytest.raises(CheckpointError, match=r"Name the entry: key='ema'\.$"):
            state_dict_of(checkpoint)

    def test_an_extra_state_may_be_anything(self):
        weights = {**OURS, "fc._extra_state": {"seen": 3}}
        assert state_dict_of({"state_dict": weights})["fc._extra_state"] == {"seen": 3}

    def test_counters_go_only_with_averaged_weights(self):
        weights = {"n_averaged": torch.tensor(4), **OURS}
        assert "n_averaged" in state_dict_of(weights)


class TestPrefix:
    @pytest.mark.parametrize("prefix", ["backbone", "backbone."])
    def test_it_selects_and_is_left_out(self, prefix):
        weights = {**with_prefix("backbone."), **with_prefix("head.", OTHER)}
        found = state_dict_of({"state_dict": weights}, prefix=prefix)
        assert found.keys() == OURS.keys() and torch.equal(found["fc.bias"], OURS["fc.bias"])

    def test_an_empty_one_selects_all(self):
        assert state_dict_of(OURS, prefix="").keys() == OURS.keys()

    def test_a_wrong_one_shows_the_nearest(self):
        with pytest.raises(CheckpointError, match=r"begins with 'backbon\.'.*with backbone\."):
            state_dict_of(with_prefix("backbone."), prefix="backbon")


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "module.model.", "a.b."],
)
def test_a_prefix_of_all_keys_is_left_out_with_a_warning(prefix, caplog):
    model = Net()
    weights = {**with_prefix(prefix), f"{prefix}distiller.iteration": torch.tensor(7)}
    assert load_weights(model, state_dict_of(weights), source="a.pth").complete
    assert torch.equal(model.fc.weight, OURS["fc.weight"])
    assert "a.pth" in caplog.text and "is left out of the names" in caplog.text


def test_the_mark_of_a_compiled_part_is_left_out():
    weights = {"fc._orig_mod.weight": OURS["fc.weight"], "fc._orig_mod.bias": OURS["fc.bias"]}
    model = Net()
    assert load_weights(model, weights).complete
    assert torch.equal(model.fc.bias, OURS["fc.bias"])


def test_a_compiled_model_gives_what_its_plain_one_takes():
    source, model = Net(), Net()
    weights = torch.compile(source, backend="eager").state_dict()
    assert all(key.startswith("_orig_mod.") for key in weights)
    load_weights(model, weights)
    assert torch.equal(model.fc.weight, source.fc.weight)


def test_averaged_weights_load():
    source, model = Net(), Net()
    averaged = torch.optim.swa_utils.AveragedModel(source)
    load_weights(model, state_dict_of({"model_ema": averaged.state_dict()}, "model_ema"))
    assert torch.equal(model.fc.weight, source.fc.weight)


def test_a_prefix_is_kept_where_something_would_not_fit():
    weights = with_prefix("model.") | {"model.more": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="1 unexpected; 2 fit"):
        load_weights(Net(), weights)


def test_with_other_classes_too_what_fits_is_loaded(caplog):
    weights = with_prefix("_orig_mod.") | {"_orig_mod.fc.bias": torch.zeros(5)}
    model = Net()
    report = load_weights(model, weights, allow_partial=True)
    assert report.loaded == ("fc.weight",) and torch.equal(model.fc.weight, OURS["fc.weight"])
    assert "'_orig_mod.' is left out" in caplog.text


def test_a_part_in_a_larger_file_is_named():
    weights = with_prefix("backbone.") | {"head.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"prefix='backbone\.' takes those alone"):
        load_weights(Net(), weights)


def test_a_file_of_a_part_is_named():
    whole = nn.ModuleDict({"network": Net(), "head": nn.Linear(2, 2)})
    with pytest.raises(CheckpointError, match="the model's part 'network' alone"):
        load_weights(whole, OURS)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.out.weight = self.into.weight


@pytest.mark.parametrize("missing", ["into.weight", "out.weight"])
def test_tied_weights_may_be_in_the_file_once(missing):
    source, model = Tied(), Tied()
    weights = {key: value for key, value in source.state_dict().items() if key != missing}
    assert load_weights(model, weights).complete
    assert torch.equal(model.out.weight, source.into.weight)


def test_what_safetensors_writes_of_a_tied_model_loads(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    from kd_core.checkpoint.load import read_checkpoint

    source, model = Tied(), Tied()
    safetensors.save_model(source, str(tmp_path / "a.safetensors"))
    weights = state_dict_of(read_checkpoint(tmp_path / "a.safetensors"))
    assert len(weights) == 1
    load_weights(model, weights)
    assert torch.equal(model.into.weight, source.into.weight)


def test_a_transposed_view_is_no_tie():
    model = nn.Module()
    model.a = nn.Parameter(torch.arange(9.0).reshape(3, 3))
    model.b = nn.Parameter(model.a.data.t())
    with pytest.raises(CheckpointError, match="1 missing"):
        load_weights(model, {"a": torch.zeros(3, 3)})


def test_untied_weights_must_both_be_there():
    model = Tied()
    model.out.weight = nn.Parameter(torch.zeros(5, 4))
    with pytest.raises(CheckpointError, match="1 missing"):
        load_weights(model, {"into.weight": torch.zeros(5, 4)})
