"""What check proposes to inherit: a line of what fits, a line of what does not."""

import pytest
from torch import nn

from kd_core import Distiller, Term
from kd_engine.doctor.inherit_proposal import inherit_proposal


def detector(backbone=4, neck=8, classes=3, extra=0):
    model = nn.Module()
    model.data_preprocessor = nn.BatchNorm1d(3)
    model.backbone = nn.Linear(3, backbone)
    model.neck = nn.Conv2d(6, neck, 3)
    model.rpn_head = nn.Conv2d(neck, neck, 3)
    model.bbox_head = nn.Module()
    model.bbox_head.fc = nn.Linear(5, classes)
    model.pool = nn.ReLU()
    if extra:
        model.rpn_head = nn.Sequential(*[nn.Conv2d(8, 8, 3) for _ in range(extra)])
    return model


def classifier(stage=4, classes=3):
    model, network = nn.Module(), nn.Module()
    network.stem, network.stage = nn.Linear(3, stage), nn.Linear(stage, 5)
    network.fc = nn.Linear(5, classes)
    model.network = network
    return model


def proposal(student, *teachers, layer="backbone", config=None, **model):
    names = ["teacher"] if len(teachers) == 1 else [f"t{i}" for i in range(len(teachers))]
    terms = {f"a{name}": Term(nn.MSELoss(), layer, teacher=name) for name in names}
    Distiller(dict(zip(names, teachers, strict=True)), terms).attach(student)
    return inherit_proposal(student, {"model": model, **(config or {})})


def test_all_heads_fit():
    assert proposal(detector(), detector(backbone=9)) == [
        "neck, rpn_head and bbox_head have the teacher's shapes: "
        "model.inherit=['neck', 'rpn_head', 'bbox_head'] would start them from it"
    ]


def test_widths_and_classes_that_stand_in_the_way():
    assert proposal(detector(), detector(backbone=9, neck=16)) == [
        "bbox_head has the teacher's shapes: model.inherit=['bbox_head'] would start it from it",
        "cannot be inherited as a whole: neck: 8 channels against the teacher's 16; "
        "rpn_head: 8 channels against the teacher's 16",
    ]
    lines = proposal(detector(), detector(backbone=9, neck=16, classes=80))
    assert lines == [
        "cannot be inherited as a whole: neck: 8 channels against the teacher's 16; "
        "rpn_head: 8 channels against the teacher's 16; "
        "bbox_head: 3 classes against the teacher's 80"
    ]


def test_of_a_neck_the_parts_that_do_not_read_the_backbone_fit():
    student, teacher = detector(backbone=4), detector(backbone=9, classes=80)
    for model, width in ((student, 4), (teacher, 9)):
        model.neck = nn.Module()
        model.neck.lateral, model.neck.out = nn.Conv2d(width, 8, 1), nn.Conv2d(8, 8, 3)
        model.bbox_head.shared = nn.Linear(5, 5)
    assert proposal(student, teacher) == [
        "neck.out and rpn_head have the teacher's shapes: model.inherit=['neck.out', 'rpn_head'] "
        "would start them from it",
        "cannot be inherited as a whole: neck.lateral: 4 input channels against the teacher's 9; "
        "bbox_head: 3 classes against the teacher's 80",
    ]


def test_another_structure_is_no_line_of_its_own():
    (line,) = proposal(detector(extra=1), detector(backbone=9, extra=2))
    assert line.startswith("neck and bbox_head have")


def test_the_parts_of_an_only_part():
    layer = "network.stem"
    assert proposal(classifier(), classifier(stage=9), layer=layer) == [
        "network.fc has the teacher's shapes: model.inherit=['network.fc'] would start it from it",
        "cannot be inherited as a whole: network.stage: 4 input features against the teacher's 9",
    ]


def test_the_teacher_is_named_among_several():
    (line,) = proposal(detector(), classifier(), detector(backbone=9), layer="")
    assert "have the teacher t1's shapes: model.inherit=dict(modules=['neck'," in line
    assert line.endswith("'bbox_head'], teacher='t1') would start them from it")


@pytest.mark.parametrize(
    "teacher, config, model",
    [
        (detector(), {}, {}),  # a copy
        (classifier(), {}, {}),  # nothing in common
        (detector(backbone=9), {"load_from": "a.pth"}, {}),
        (detector(backbone=9), {}, {"inherit": ["neck"]}),
        (detector(backbone=9), {}, {"inherit": []}),  # decided against it
    ],
)
def test_nothing_to_propose(teacher, config, model):
    assert proposal(detector(), teacher, layer="", config=config, **model) == []


def test_a_plain_model_has_no_teacher():
    assert inherit_proposal(detector(), {"model": {}}) == []
