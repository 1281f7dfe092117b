import pytest
import torch
from mmengine.config import Config
from torch import nn

from kd_core import Distiller
from kd_engine.build import build_terms
from kd_engine.doctor import calibrate as module
from kd_engine.doctor.calibrate import calibrate, calibration_text


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.body.weight, 2.0)

    def forward(self, x, mode=""):
        return {"loss_task": self.body(x).sum()}


class Twice(nn.Module):
    """Its gradient is twice the task's."""

    def forward(self, student, teacher):
        return 2.0 * student.sum()


class Off(nn.Module):
    def forward(self, student, teacher):
        return 0.0 * student.sum()


TERM = dict(loss=dict(type=Twice), layers="body")
LATE = dict(type="kd_core.schedules.LinearWarmup", begin=100, end=200)
BATCHES = [torch.full((1, 1), size) for size in (1.0, 2.0, 3.0)]


@pytest.fixture(autouse=True)
def batches(monkeypatch):
    given = []

    def some(network, config):
        for batch in BATCHES:
            given.append(batch)
            yield {"x": batch}

    monkeypatch.setattr(module, "training_batches", some)
    return given


def built(config, model):
    student = Student()
    Distiller(Student(), build_terms(model.terms)).attach(student)
    return student


def measured(terms, share=0.5, batches=2):
    config = Config(dict(model=dict(type="x", student=dict(), terms=terms)))
    before = config.pretty_text
    found = calibrate(config, share, batches, built)
    assert config.pretty_text == before  # the config itself stays
    return found


def test_weights_for_a_share_are_worked_out_by_hand(batches):
    terms = dict(
        fixed=TERM | dict(weight=3.0, schedule=LATE),
        steered=TERM | dict(weight="auto", share=0.1),
        layer=TERM | dict(weight=dict(type="kd_core.AutoWeight", share=0.1, layer="body")),
        off=dict(loss=dict(type=Off), layers="body", weight=1.0),
    )
    shares = measured(terms, share=0.5)
    assert len(batches) == 2
    assert [one.weight for one in shares] == [3.0, None, None, 1.0]
    assert [one.ratios for one in shares] == [(2.0, 2.0)] * 3 + [()]
    assert [one.wanted for one in shares] == [0.5, 0.5, 0.5, None]
    assert measured(dict(a=TERM), share=0.2)[0].wanted == 0.125
    text = calibration_text(shares)
    assert "weight for a share of 0.5" in text and "no gradient in these batches" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["fixed"] == ["3", "0.86", "0.86", "to", "0.86", "0.5"]  # 6 of 7
    assert rows["steered"] == ["auto", "0.67", "at", "weight", "1", "0.67", "to", "0.67", "0.5"]


def test_the_lines_to_paste_are_a_config():
    text = calibration_text(measured(dict(a=TERM, b=TERM | dict(weight=9.0)), share=0.2))
    fixed, steered = (
        Config.fromstring(line, ".py").model.terms
        for line in text.splitlines()
        if line.startswith("model = ")
    )
    assert fixed == dict(a=dict(weight=0.125), b=dict(weight=0.125))
    assert steered == dict.fromkeys("ab", dict(weight="auto", share=0.2))
    assert text.endswith("--cfg-options model.terms.a.weight=0.125 model.terms.b.weight=0.125")


@pytest.mark.parametrize("model", [dict(type="kd_cls.DML", student=dict()), dict(type="Plain")])
def test_a_model_without_terms_is_refused_by_name(model):
    with pytest.raises(ValueError, match=rf"weights of terms, but .* {model['type']}, has none"):
        calibrate(Config(dict(model=model)), 0.3, 1, built)


def test_a_share_outside_is_refused():
    with pytest.raises(ValueError, match="share must be above 0 and below 1"):
        measured(dict(a=TERM), share=1.5)


@pytest.mark.parametrize("teacher", [["large", "other"], dict(large=0.7, other=0.3)])
def test_a_term_of_several_teachers_is_refused(teacher):
    message = "term 'b' has several, large, other. Write a term for each, with its own teacher"
    with pytest.raises(ValueError, match=message):
        measured(dict(a=dict(TERM, teacher="large"), b=dict(TERM, teacher=teacher)))
