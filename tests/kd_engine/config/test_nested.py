"""Distilled models inside another model."""

import pytest

from kd_engine.config.nested import require_outermost

PLAIN = dict(type="RetinaNet", backbone=dict(type="ResNet"))
DISTILLED = dict(type="kd_det.DistilledDetector", student=PLAIN, terms=dict())


def test_a_distilled_detector_inside_another_model_is_named():
    with pytest.raises(ValueError, match=r"model\.detector is one, inside a SoftTeacher"):
        require_outermost(dict(type="SoftTeacher", detector=DISTILLED))
    with pytest.raises(ValueError, match=r"model\.models\.1 is one"):
        require_outermost(dict(type="Several", models=[PLAIN, DISTILLED]))


def test_a_distilled_model_and_its_teachers_are_not():
    teacher = dict(config=DISTILLED, checkpoint=None)  # of a run: its student is the teacher
    require_outermost(PLAIN)
    require_outermost({**DISTILLED, "teacher": teacher, "teachers": dict(a=teacher)})
    with pytest.raises(ValueError, match=r"model\.student is one"):  # a student is no such place
        require_outermost({**DISTILLED, "student": DISTILLED, "teacher": teacher})
