import os

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from kd_core import Normalization
from kd_core.checkpoint.load import CheckpointError
from kd_core.losses import AttentionTransferLoss, HMATLoss
from kd_engine.build import (
    NO_CHECKPOINT,
    build_teacher,
    build_terms,
    student_config,
    without_initial_weights,
    without_weight_files,
)

LINEAR = {"type": "torch.nn.Linear", "in_features": 3, "out_features": 2}
AT = {"type": "kd_core.losses.AttentionTransferLoss", "loss_weight": 5.0}


class Run:
    """Pickles into a call that would leave a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def weights(tmp_path):
    """A checkpoint for LINEAR, and what is in it."""
    values = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}
    path = tmp_path / "teacher.pth"
    torch.save({"state_dict": values, "meta": {"epoch": 1}}, path)
    return str(path), values


class Linear(BaseModule):
    """A layer that may name a file."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.weight = nn.Parameter(torch.rand(2, 3))
        self.bias = nn.Parameter(torch.rand(2))


class TestStudentConfig:
    def test_the_student_of_a_distilled_model(self):
        model = {"type": "kd_det.DistilledDetector", "student": LINEAR, "teacher": {}, "terms": {}}
        student = student_config(model)
        assert student == LINEAR
        student["type"] = "changed"
        assert model["student"]["type"] == "torch.nn.Linear"

    def test_a_plain_model_is_its_own_student(self):
        assert student_config(LINEAR) == LINEAR


class TestTerms:
    def test_all_of_a_term(self):
        terms = build_terms(
            {
                "at": {
                    "loss": AT,
                    "layers": ["a", "b[0]"],
                    "teacher_layers": ["c", "d"],
                    "weight": 2,
                    "schedule": [
                        {"type": "kd_core.schedules.LinearWarmup", "end": 10},
                        {"type": "kd_core.schedules.Stop", "at": 20},
                    ],
                },
                "hmat": {
                    "loss": {"type": "kd_core.losses.HMATLoss"},
                    "layers": {"low": "a"},
                    "schedule": {"type": "kd_core.schedules.Constant", "factor": 0.5},
                    "normalize": "standard",
                },
            }
        )
        at, hmat = terms["at"], terms["hmat"]
        assert isinstance(at.loss, AttentionTransferLoss) and at.loss.loss_weight == 5.0
        assert [s.text for s in at.student_layers[""]] == ["a", "b[0]"]
        assert [s.text for s in at.teacher_layers[""]] == ["c", "d"]
        assert [at.factor(i) for i in (0, 5, 10, 20)] == [0.0, 1.0, 2.0, 0.0]
        assert isinstance(hmat.loss, HMATLoss)
        assert hmat.factor(0) == 0.5
        assert (at.normalize, hmat.normalize) == (None, Normalization("standard"))

    @pytest.mark.parametrize(
        "config, message",
        [
            ({"loss": AT}, r"must have loss and layers.*but it has \['loss'\]"),
            ({"layers": "a"}, "must have loss and layers"),
            ({"loss": AT, "layers": "a", "wieght": 1}, "wieght"),
            ({"loss": AT, "layers": "a["}, r"a layer selector must read like.*'a\['"),
            ({"loss": AT | {"form": "x"}, "layers": "a"}, "form"),
            ({"loss": AT | {"powre": 2}, "layers": "a"}, "powre"),
            ({"loss": AT, "layers": {"low": "a"}}, "takes layers without roles"),
            ({"loss": AT, "layers": "a", "weight": -1}, "at least 0, but it is -1"),
            ({"loss": AT, "layers": "a", "normalize": "x"}, "normalize must be one of.*is 'x'"),
        ],
    )
    def test_a_mistake_is_named_with_its_term(self, config, message):
        with pytest.raises(ValueError, match=f"(?s)term 'mine'.*{message}"):
            build_terms({"mine": config})

    @pytest.mark.parametrize(
        "name", ["kd_core.losses.NoSuchLoss", "kd_core.no_such_file.Loss", "NoSuchLoss"]
    )
    def test_a_loss_that_does_not_exist_is_named(self, name):
        with pytest.raises((ValueError, KeyError, ImportError), match=name.split(".")[-1]):
            build_terms({"mine": {"loss": {"type": name}, "layers": "a"}})


class TestTeacher:
    def test_it_gets_its_weights(self, weights):
        path, values = weights
        teacher = build_teacher(LINEAR, path)
        assert torch.equal(teacher.weight, values["weight"])
        assert torch.equal(teacher.bias, values["bias"])

    def test_from_a_config_file(self, weights, tmp_path):
        config = tmp_path / "teacher.py"
        config.write_text(f"model = {LINEAR!r}\n")
        assert isinstance(build_teacher(str(config), weights[0]), nn.Linear)

    def test_the_student_of_a_distilled_config_can_teach(self, weights):
        path, values = weights
        teacher = build_teacher({"type": "x", "student": LINEAR, "teacher": {}}, path)
        assert torch.equal(teacher.weight, values["weight"])

    def test_a_teacher_that_was_distilled_itself(self, weights, tmp_path):
        values = weights[1] | {"distiller.iteration": torch.tensor(7)}
        torch.save({"state_dict": values}, tmp_path / "student.pth")
        teacher = build_teacher(LINEAR, str(tmp_path / "student.pth"))
        assert torch.equal(teacher.weight, values["weight"])

    def test_it_costs_no_random_number(self, weights):
        torch.manual_seed(0)
        expected = torch.rand(1)
        torch.manual_seed(0)
        build_teacher(LINEAR, weights[0])
        assert torch.equal(torch.rand(1), expected)

    def test_without_a_checkpoint_it_is_random(self):
        assert build_teacher(LINEAR, None).weight.abs().sum() > 0

    @pytest.mark.parametrize("kind, said", [("torch.nn.Identity", 0), (Linear, 1)])
    def test_only_what_has_parameters_is_warned_about(self, kind, said, monkeypatch):
        lines = []
        monkeypatch.setattr("kd_engine.build.print_log", lambda text, *_: lines.append(text))
        build_teacher(dict(type=kind), None)
        assert sum(NO_CHECKPOINT in line for line in lines) == said

    def test_without_a_checkpoint_it_loads_what_its_parts_name(self, weights):
        path, values = weights
        random = build_teacher(dict(type=Linear), None)
        assert not torch.equal(random.weight, values["weight"])
        teacher = build_teacher(
            dict(type=Linear, init_cfg=dict(type="Pretrained", checkpoint=path)), None
        )
        assert torch.equal(teacher.weight, values["weight"])
        with pytest.raises(FileNotFoundError, match=r"none\.pth"):
            build_teacher(
                dict(type=Linear, init_cfg=dict(type="Pretrained", checkpoint="none.pth")), None
            )

    def test_weights_of_another_shape_are_refused_with_a_table(self, weights):
        with pytest.raises(
            CheckpointError, match=r"teacher\.pth(?s:.*)weight +2x3|weight.*\(2, 3\)"
        ):
            build_teacher(LINEAR | {"out_features": 4}, weights[0])

    def test_missing_weights_are_refused_unless_allowed(self, weights, tmp_path):
        path = str(tmp_path / "part.pth")
        torch.save({"weight": weights[1]["weight"]}, path)
        with pytest.raises(CheckpointError, match="bias"):
            build_teacher(LINEAR, path)
        teacher = build_teacher(LINEAR, path, allow_partial=True)
        assert torch.equal(teacher.weight, weights[1]["weight"])

    def test_a_pickle_with_code_is_refused(self, tmp_path):
        path, trace = str(tmp_path / "evil.pth"), tmp_path / "trace"
        torch.save({"state_dict": {"weight": Run(str(trace))}}, path)
        with pytest.raises(CheckpointError, match=r"evil\.pth"):
            build_teacher(LINEAR, path)
        assert not trace.exists()


@pytest.mark.parametrize("part", ["trunk", "network"])
def test_initial_weights_are_left_out_of_library_networks(part):
    kinds = {"trunk": "kd_retrieval.TorchvisionTrunk", "network": "kd_cls.TorchvisionNetwork"}
    given = dict(type=kinds[part], name="resnet18", checkpoint="a.pth", weights="DEFAULT")
    plain = without_initial_weights({"type": "x", part: given})
    assert plain == {"type": "x", part: dict(type=kinds[part], name="resnet18")}
    assert "checkpoint" in given  # a copy
    own = {"type": "x", part: dict(type="my.Network", checkpoint="a.pth")}
    assert without_initial_weights(own) == own


@pytest.mark.parametrize(
    "init_cfg",
    [dict(type="Pretrained", checkpoint="a.pth"), dict(checkpoint="a.pth")],  # mmdet's PVT: no type
)
def test_networks_are_random_without_files_of_weights(init_cfg):
    kept = dict(type="Kaiming", layer="Conv2d")
    model = dict(backbone=dict(init_cfg=init_cfg), neck=dict(init_cfg=kept))
    plain = dict(backbone=dict(init_cfg=None), neck=dict(init_cfg=kept))
    assert without_weight_files(model) == plain
