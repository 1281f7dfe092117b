"""Export of a model whose training gave a part a second name, as mmdet's DDQ-DETR does."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from kd_engine import evaluate
from kd_engine.evaluate import student_checkpoint


@pytest.fixture
def trained(monkeypatch):
    def build(config, model):
        return nn.ModuleDict({"head": nn.Linear(2, 3)})

    monkeypatch.setattr(evaluate, "build_model", build)
    found = build(None, None)
    found["decoder"] = nn.ModuleDict({"branch": found["head"]})
    return found


def test_the_second_name_is_not_exported(trained):
    content = {"state_dict": trained.state_dict()}
    found = student_checkpoint(content, Config(dict(model=dict(type="D"))))["state_dict"]
    assert found.keys() == {"head.weight", "head.bias"}
    assert torch.equal(found["head.weight"], trained["head"].weight)


def test_without_second_names_nothing_is_built(trained, monkeypatch):
    monkeypatch.setattr(evaluate, "build_model", None)
    content = {"state_dict": trained["head"].state_dict()}
    found = student_checkpoint(content, Config(dict(model=dict(type="D"))))["state_dict"]
    assert found.keys() == {"weight", "bias"}
