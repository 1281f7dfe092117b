"""Maps (N, H, W, C), which the methods of several networks do not turn."""

import pytest

from ...kd_cls.toy_classifiers import STUDENT, TEACHER
from .toy_methods import build

SWIN = dict(
    type="kd_cls.Classifier",
    image_size=64,
    network=dict(
        type="kd_cls.TimmNetwork", name="swin_tiny_patch4_window7_224", num_classes=10,
        options=dict(img_size=64, window_size=4, embed_dim=8, depths=(1, 1, 1, 1),
                     num_heads=(2, 2, 2, 2)),
    ),
)  # fmt: skip
LAYERS = ["network.layers.0", "network.layers.1", "network.layers.2"]
TRAINED = dict(config=TEACHER, checkpoint=None)


def test_a_teachers_are_refused():
    with pytest.raises(
        ValueError, match=r"of the teacher must give maps .*layers.0' gives \(2, 16"
    ):
        build("CCSKD", student=dict(STUDENT, image_size=64),
              teacher=dict(config=SWIN, checkpoint=None), schedule=dict(epoch_length=1),
              teacher_layers=LAYERS)  # fmt: skip


def test_a_students_are_refused():
    with pytest.raises(ValueError, match=r"of student must give maps .*, a map \(N, H, W, C\)"):
        build("CTKD", student=SWIN, scratch=TEACHER, teacher=TRAINED, layers=dict(student=LAYERS))


@pytest.mark.parametrize("whose", ["teacher", "scratch"])
def test_those_of_two_teachers_are_refused(whose):
    networks = dict(scratch=TEACHER, teacher=TRAINED)
    networks[whose] = SWIN if whose == "scratch" else dict(config=SWIN, checkpoint=None)
    with pytest.raises(ValueError, match=rf"of the \w+ teacher must give .*'{LAYERS[0]}' gives"):
        build("CTKD", student=dict(STUDENT, image_size=64), layers={whose: LAYERS}, **networks)


def test_terms_turn_them():
    term = dict(loss=dict(type="kd_core.losses.FeatureImitationLoss"), layers="network.stage2",
                teacher_layers="network.layers.1")  # fmt: skip
    model = build("DistilledClassifier", student=dict(STUDENT, image_size=64),
                  teacher=dict(config=SWIN, checkpoint=None), terms=dict(hint=term))  # fmt: skip
    (row,) = model.distiller.shape_table.rows
    assert row.teacher_layout == "turned" and row.teacher_shape == (2, 16, 8, 8)
