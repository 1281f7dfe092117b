"""Initial weights are not needed where a checkpoint brings every weight.

They may be gone, on another machine, or large to download.
"""

import pytest
import torch
from mmengine.config import Config

import kd_engine.evaluate
import kd_engine.export_check
from kd_engine.build import build_teacher, without_initial_weights
from kd_engine.evaluate import build_model, evaluate_model, student_checkpoint
from kd_engine.weights.initial import check_initial_weights
from kd_retrieval.embeddings.embed import open_model

GONE = "gone_from_here.pth"
TINY = dict(name="resnet18", options=dict(channels=(4, 4, 8, 8)))
MODELS = {
    "trunk": dict(
        type="kd_retrieval.Embedder",
        trunk=dict(type="kd_retrieval.TimmTrunk", checkpoint=GONE, **TINY),
        dim=6,
    ),
    "network": dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.TimmNetwork", checkpoint=GONE, num_classes=3, **TINY),
    ),
}
TEST = {key: dict(x=1) for key in ("test_dataloader", "test_cfg", "test_evaluator")}


def config_of(model, **settings):
    return Config(dict(model=model, default_scope="mmengine", work_dir="unused", **settings))


@pytest.fixture(params=MODELS)
def given(request, tmp_path):
    """A model config that starts from a file that is gone, a checkpoint for it, and its weights."""
    model = MODELS[request.param]
    torch.manual_seed(3)
    built = build_model(config_of(model), without_initial_weights(model))
    path = str(tmp_path / "a.pth")
    torch.save({"state_dict": built.state_dict(), "meta": {}}, path)
    return model, path, built.state_dict()


class Reached(Exception):
    pass


def stop(*arguments):
    raise Reached(*arguments)


def test_the_file_is_needed_without_a_checkpoint(given):
    with pytest.raises(FileNotFoundError, match=GONE):
        build_teacher(given[0], None)
    with pytest.raises(FileNotFoundError, match=GONE):
        build_teacher(given[0], given[1], allow_partial=True)  # it may not bring every weight


def test_a_teacher(given):
    model, path, weights = given
    torch.testing.assert_close(build_teacher(model, path).state_dict(), weights, rtol=0, atol=0)


def test_a_start_from_whole_weights(given):
    config = config_of(given[0], load_from=given[1])
    assert check_initial_weights(config) == [f"all of it: {given[1]}"]
    config.load_options = dict(allow_partial=True)
    with pytest.raises(FileNotFoundError, match=GONE):
        check_initial_weights(config)


def test_an_evaluation(given, monkeypatch):
    monkeypatch.setattr(kd_engine.evaluate.Runner, "from_cfg", stop)
    with pytest.raises(Reached) as caught:
        evaluate_model(config_of(given[0], **TEST), given[1])
    assert GONE not in str(caught.value)


def test_an_export(given, monkeypatch):
    config = config_of(given[0])
    content = student_checkpoint({"state_dict": given[2]}, config)
    assert GONE not in content["meta"]["cfg"] and "resnet18" in content["meta"]["cfg"]
    monkeypatch.setattr(kd_engine.export_check, "build_model", lambda _, model: stop(model))
    with pytest.raises(Reached) as caught:
        kd_engine.export_check.compare_export(config, given[1], "a", "b", "rows")
    assert GONE not in str(caught.value)


def test_embeddings(given):
    model, path, weights = given
    if "trunk" not in model:
        pytest.skip("a classifier embeds nothing")
    opened, _ = open_model(config_of(model), path)
    assert torch.equal(opened.projection.weight, weights["projection.weight"])
