"""Initial weights: read before anything slow, loaded strictly, without iterations."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from kd_core.checkpoint.load import CheckpointError
from kd_engine.weights.checkpoint import use_safe_checkpoints
from kd_engine.weights.initial import check_initial_weights, initial_source
from kd_engine.weights.source import WeightSource

LINEAR = {"type": "torch.nn.Linear", "in_features": 3, "out_features": 2}
PLAIN = {"model": LINEAR, "default_scope": "mmengine"}
WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}


@pytest.fixture
def saved(tmp_path):
    """Save weights and return a config that starts from them."""
    use_safe_checkpoints()

    def save(content, **options):
        torch.save(content, tmp_path / "a.pth")
        load = {"load_options": options} if options else {}
        return Config(dict(PLAIN, load_from=str(tmp_path / "a.pth"), **load))

    return save


def test_where_a_config_says_it():
    assert initial_source(Config(dict(load_from=None))) is None
    assert initial_source(Config(dict(load_from="a.pth"))) == WeightSource("a.pth")
    options = dict(allow_partial=True, key="ema", prefix="student.")
    found = initial_source(Config(dict(load_from="a.pth", load_options=options)))
    assert found == WeightSource("a.pth", True, "ema", "student.")


@pytest.mark.parametrize(
    "config, words",
    [
        (dict(load_from="a.pth", load_options=dict(alow_partial=True)), "it has alow_partial"),
        (dict(load_options=dict(allow_partial=True)), "there is no load_from"),
        (dict(load_from=dict(checkpoint="a.pth")), "must be a file or URL, but it is .*checkpoint"),
    ],
)
def test_wrong_options_are_refused(config, words):
    with pytest.raises(ValueError, match=words):
        initial_source(Config(config))


def test_what_fits_passes_and_changes_no_random_number(saved):
    beside = {"distiller.iteration": torch.tensor(40), "criterion.proxies": torch.zeros(9)}
    config = saved({"state_dict": {**WEIGHTS, **beside}})
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert check_initial_weights(config) == [f"all of it: {config.load_from}"]
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "weights, words",
    [
        ({"other": torch.zeros(1)}, "0 fit"),
        ({"weight": torch.ones(2, 3)}, "1 missing"),
        ({**WEIGHTS, "bias": torch.ones(5)}, "1 mis-shaped"),
        ({**WEIGHTS, "bias": torch.full((2,), float("nan"))}, "bias has 2 NaN"),
        ({f"detector.{key}": v for key, v in WEIGHTS.items()} | {"x.y": torch.ones(1)},
         r"prefix='detector\.'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(saved, weights, words):
    with pytest.raises(CheckpointError, match=words):
        check_initial_weights(saved(weights))


def test_partial_key_and_prefix(saved):
    weights = {f"net.{key}": value for key, value in WEIGHTS.items()} | {"net.bias": torch.ones(5)}
    config = saved({"ema": weights}, key="ema", prefix="net", allow_partial=True)
    assert check_initial_weights(config) == [f"1 keys of it: {config.load_from}"]


def test_an_absent_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"no checkpoint none\.pth"):
        check_initial_weights(Config(dict(PLAIN, load_from="none.pth")))


def test_names_that_mmengine_knows_are_read(monkeypatch):
    asked = []

    def load(path, map_location):
        asked.append(path)
        return {"state_dict": WEIGHTS}

    monkeypatch.setattr(CheckpointLoader, "load_checkpoint", load)
    config = Config(dict(PLAIN, load_from="s3://bucket/a.pth"))
    assert check_initial_weights(config) == ["all of it: s3://bucket/a.pth"]
    assert asked == ["s3://bucket/a.pth"]
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="pavi://a cannot be read safely"):
        check_initial_weights(Config(dict(PLAIN, load_from="pavi://a")))


def test_a_work_dir_means_its_last_checkpoint(tmp_path):
    hub = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}
    saved = {"state_dict": WEIGHTS, "meta": {"iter": 3, "epoch": 1}, "message_hub": hub}
    torch.save(saved, tmp_path / "epoch_1.pth")
    found = check_initial_weights(Config(dict(PLAIN, load_from=str(tmp_path))))
    assert found == [f"all of it: {tmp_path / 'epoch_1.pth'}"]


def test_a_student_that_starts_as_it_is_built_is_not_built_for_this():
    assert check_initial_weights(Config(dict(model=dict(type="no.such.Model")))) == []
