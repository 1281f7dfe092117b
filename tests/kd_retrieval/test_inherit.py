"""An embedder inherits the layers that have its teacher's shapes, before its first step."""

import pytest
import torch

from .test_distilled import STUDENT, TEACHER, batch, build


def test_an_embedder_inherits_its_projection_and_a_stage():
    teacher = dict(config=dict(TEACHER, dim=6, trunk=STUDENT["trunk"]), checkpoint=None)
    model = build(teacher=teacher, inherit=["projection", "trunk.layer1"])
    given = model.distiller.teacher.model.state_dict()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    key, other = "projection.weight", "trunk.layer2.0.conv1.weight"
    assert not torch.equal(before[key], given[key])
    model.train()(**model.data_preprocessor(batch(), True), mode="loss")
    assert torch.equal(model.state_dict()[key], given[key])
    assert torch.equal(model.state_dict()[other], before[other])


def test_another_width_of_the_features_stands_in_the_way():
    with pytest.raises(ValueError, match="projection: 8 input features against the teacher's 12"):
        build(teacher=dict(config=dict(TEACHER, dim=6), checkpoint=None), inherit="projection")
