"""Numbers that the methods refuse; a new method's are found by its signature."""

import inspect
import math
import re

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import MODELS

import kd_cls

from ...kd_cls.toy_classifiers import STUDENT, TEACHER

_TRAINED = dict(config=TEACHER, checkpoint=None)
PARTS = dict(
    samples=10,
    shared="network.stage2",
    branch=["network.stage3", "network.pool", "network.classifier"],
    student=STUDENT,
    scratch=TEACHER,
    teachers=dict(wide=_TRAINED),
    teacher=_TRAINED,
    pretrained=dict(config=STUDENT, checkpoint=None),
    schedule=dict(epoch_length=1),
    network=dict(type="ToyNetwork"),
)
PEERS = dict(DML=[TEACHER], CKDMKT=[_TRAINED])
BUILDERS = [
    make
    for make in (getattr(kd_cls, name) for name in kd_cls.__all__)
    if "student" in inspect.signature(make).parameters or make is kd_cls.Classifier
]
OPTIONS = [
    pytest.param(make, name, id=f"{make.__name__}-{name}")
    for make in BUILDERS
    for name, parameter in inspect.signature(make).parameters.items()
    if parameter.annotation == "float"
]
LISTED = [
    ("CCSKD", "weights", dict(response=math.nan), "response must be finite"),
    ("CCSKD", "weights", dict(relation=-1.0), "relation must be finite and at least 0"),
    ("CCSKD", "schedule", dict(epoch_length=1, factor=math.nan), "factor must be above 0"),
    ("CCSKD", "schedule", dict(epoch_length=math.nan), "epoch_length and every must be"),
    ("MSKDSSR", "c", (1.0, math.nan, 1.0), r"c\[1\] must be finite"),
    ("MSKDSSR", "c", (1.0, 1.0, -1.0), r"c\[2\] must be finite"),
]


def build(kind, **options):
    wanted = inspect.signature(getattr(kd_cls, kind)).parameters
    parts = {name: value for name, value in PARTS.items() if name in wanted}
    if kind in PEERS:
        parts["peers"] = PEERS[kind]
    return MODELS.build(ConfigDict(type=f"kd_cls.{kind}", **parts | options))


def test_every_method_is_looked_at():
    found = {case.values[0].__name__ for case in OPTIONS}
    assert found >= {"BYOT", "CKDMKT", "CTKD", "DML", "MSKDSSR", "Classifier"}
    assert len(OPTIONS) > 15


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.5])
@pytest.mark.parametrize("make, name", OPTIONS)
def test_a_number_that_is_none_infinite_or_negative_is_refused(make, name, value):
    with pytest.raises(ValueError, match=rf"{name}\b.* must be .*{re.escape(str(value))}"):
        build(make.__name__, **{name: value})


@pytest.mark.parametrize("kind", ["BYOT", "CKDMKT", "DML", "MSKDSSR"])
def test_a_divisor_of_nothing_is_refused(kind):
    with pytest.raises(ValueError, match="temperature must be above 0, but it is 0"):
        build(kind, temperature=0.0)


@pytest.mark.parametrize("kind, name, value, message", LISTED)
def test_numbers_in_lists_and_dicts(kind, name, value, message):
    with pytest.raises(ValueError, match=message):
        build(kind, **{name: value})
