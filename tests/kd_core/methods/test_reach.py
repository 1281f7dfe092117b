"""A student whose layers give no gradient."""

import pytest

from ...kd_cls.toy_classifiers import STUDENT, TEACHER
from .toy_methods import build, losses

TRAINED = dict(config=TEACHER, checkpoint=None)


@pytest.mark.parametrize(
    "kind, options",
    [
        ("DML", dict(peers=[TEACHER])),
        ("CTKD", dict(scratch=TEACHER, teacher=TRAINED)),
        ("CCSKD", dict(teacher=TRAINED, schedule=dict(epoch_length=1))),
    ],
)
def test_a_frozen_student_is_refused(kind, options):
    model = build(kind, student=STUDENT, **options)
    model.network.requires_grad_(False)
    with pytest.raises(ValueError, match="cannot move the student: no gradient flows into"):
        losses(model)


def test_a_frozen_stage_is_a_warning():
    model = build("CTKD", student=STUDENT, scratch=TEACHER, teacher=TRAINED)
    model.network.stage1.requires_grad_(False)
    with pytest.warns(UserWarning, match="no gradient flows into 'network.stage1'"):
        losses(model)


def test_heads_are_trained_behind_a_frozen_network():
    model = build("TeacherHeads", student=STUDENT, pretrained=dict(config=STUDENT, checkpoint=None))
    assert losses(model)["loss_head1"].requires_grad
