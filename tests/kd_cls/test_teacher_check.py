import pytest
import torch
from mmengine.config import Config

from kd_cls import teacher_check
from kd_cls.teacher_check import check_teacher

SOFT = dict(type="kd_core.losses.SoftTargetLoss")
HINT = dict(type="kd_core.losses.AttentionTransferLoss")


@pytest.fixture
def config(tmp_path, monkeypatch):
    class Data:
        class_names = ("cat", "dog")

    monkeypatch.setattr(teacher_check, "build_datasets", lambda *_: [(["train"], Data)])
    path = str(tmp_path / "t.pth")
    meta = {"dataset_meta": {"classes": ("dog", "cat")}}
    torch.save({"state_dict": {}, "meta": meta}, path)

    def make(**model):
        reference = dict(config="t.py", checkpoint=path)
        model = {key: reference if value is None else value for key, value in model.items()}
        model = dict(model, student=dict(type="x"))
        return Config(dict(model=model, train_dataloader=dict(dataset=dict(type="x"))))

    return make


@pytest.mark.parametrize("layers", ["logits", "network"])
def test_logits_of_classes_in_another_order_are_refused(config, layers):
    with pytest.raises(ValueError, match="number 0 is 'dog' there and 'cat' in the data"):
        check_teacher(config(teacher=None, terms=dict(kd=dict(loss=SOFT, layers=layers))))


def test_features_are_warned_of(config):
    terms = dict(at=dict(loss=HINT, layers="network.layer3"))
    (line,) = check_teacher(config(teacher=None, terms=terms))
    assert "warning: the teacher has learned other classes" in line


@pytest.mark.parametrize("key", ["teacher", "pretrained"])
def test_methods_compare_logits(config, key):
    with pytest.raises(ValueError, match=f"so the {key} must know the data's classes"):
        check_teacher(config(**{key: None}))


def test_a_plain_config_has_nothing_to_check(config):
    assert check_teacher(config()) == []
