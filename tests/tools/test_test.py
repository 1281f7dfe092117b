"""kdkit test on results of kdkit train."""

import json

import pytest
import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.checkpoint import ALLOWED


def test_student_is_evaluated_without_its_teacher(place, run_tool, tmp_path):
    config = place.variant(
        "no_teacher.py", 'model = dict(teacher=dict(config="lost.py", checkpoint="lost.pth"))'
    )
    out = tmp_path / "metrics.json"
    code, text, error = run_tool(
        "test", config, place.weights, "--out", out, "--work-dir", tmp_path
    )
    assert code == 0, error
    metrics = json.loads(out.read_text())
    assert 0 <= metrics["coco/bbox_mAP"] <= 1
    assert "coco/bbox_mAP_50" in text


def test_voc_data_and_voc_metric(place, run_tool, tmp_path):
    code, text, error = run_tool("test", place.voc, place.weights, "--work-dir", tmp_path)
    assert code == 0, error
    assert "pascal_voc/AP50" in text


def test_weights_decide_the_result(place, run_tool, tmp_path):
    """A model whose boxes are the annotated ones has an AP of 1, so data and weights are read."""
    config = place.variant("exact.py", _EXACT, "base.py")
    out = tmp_path / "metrics.json"
    torch.save({"scale": torch.ones(1)}, tmp_path / "one.pth")
    torch.save({"scale": torch.full((1,), 3.0)}, tmp_path / "three.pth")
    for name, best in (("one.pth", True), ("three.pth", False)):
        code, _, error = run_tool(
            "test", config, tmp_path / name, "--out", out, "--work-dir", tmp_path, "--overwrite"
        )
        assert code == 0, error
        assert (json.loads(out.read_text())["coco/bbox_mAP"] == pytest.approx(1.0)) == best


_EXACT = """
custom_imports = dict(imports=["kd_det"])
model = dict(_delete_=True, type="TellTheTruth")
"""


@pytest.fixture(autouse=True)
def truthful():
    """A detector that returns the annotated boxes times its only weight."""
    from mmdet.registry import MODELS
    from mmengine.model import BaseModel
    from mmengine.structures import InstanceData

    class TellTheTruth(BaseModel):
        def __init__(self):
            super().__init__(dict(type="DetDataPreprocessor"))
            self.scale = torch.nn.Parameter(torch.zeros(1))

        def forward(self, inputs, data_samples=None, mode="predict"):
            for sample in data_samples:
                truth = sample.gt_instances
                sample.pred_instances = InstanceData(
                    bboxes=truth.bboxes.detach() * self.scale.detach(),
                    labels=truth.labels,
                    scores=torch.ones(len(truth.labels)),
                )
            return data_samples

    MODELS.register_module(module=TellTheTruth, force=True)
    yield
    MODELS.module_dict.pop("TellTheTruth")


def test_teacher_on_the_students_test_data(place, run_tool, tmp_path):
    by_flag, by_config = tmp_path / "a.json", tmp_path / "b.json"
    code, _, error = run_tool(
        "test", place.distilled, "--teacher", "--out", by_flag, "--work-dir", tmp_path
    )
    assert code == 0, error
    run_tool(
        "test", place.teacher, place.teacher_weights, "--out", by_config, "--work-dir", tmp_path
    )
    assert json.loads(by_flag.read_text()) == json.loads(by_config.read_text())


def test_teacher_of_a_plain_config(place, run_tool, tmp_path):
    code, _, error = run_tool("test", place.base, "--teacher", "--work-dir", tmp_path)
    assert code == 1 and "plain FasterRCNN" in error


def test_missing_data_stops_at_once(place, run_tool, tmp_path):
    gone = f"test_dataloader.dataset.data_root={tmp_path / 'gone'}"
    code, _, error = run_tool("test", place.distilled, place.weights, "--cfg-options", gone)
    assert code == 1 and "gone is missing" in error


def test_training_data_is_not_needed(place, run_tool, tmp_path):
    gone = f"train_dataloader.dataset.data_root={tmp_path / 'gone'}"
    code, _, error = run_tool(
        "test", place.distilled, place.weights, "--work-dir", tmp_path, "--cfg-options", gone
    )
    assert code == 0, error


def test_missing_files(place, run_tool, tmp_path):
    code, _, error = run_tool("test", tmp_path / "no.py", place.weights)
    assert code == 1 and "no config file" in error
    code, _, error = run_tool("test", place.distilled, tmp_path / "no.pth", "--work-dir", tmp_path)
    assert code == 1 and "no.pth" in error
    code, _, error = run_tool("test", place.distilled, "--work-dir", tmp_path)
    assert code == 1 and "a checkpoint is needed" in error


def test_checkpoint_for_another_class_count(place, run_tool, tmp_path):
    """The metainfo is left as it is: this is about the weights alone."""
    config = place.variant(
        "three_classes.py",
        "model = dict(student=dict(roi_head=dict(bbox_head=dict(num_classes=3))))",
    )
    code, _, error = run_tool("test", config, place.weights, "--work-dir", tmp_path)
    assert code == 1
    assert "The checkpoint has 10 classes, the model 3" in error


def test_truncated_checkpoint(place, run_tool, tmp_path):
    broken = tmp_path / "broken.pth"
    broken.write_bytes(place.weights.read_bytes()[:-2000])
    code, _, error = run_tool("test", place.distilled, broken, "--work-dir", tmp_path)
    assert code == 1 and "broken.pth" in error


class _Payload:
    def __reduce__(self):
        return print, ("code in the checkpoint has run",)


def test_pickle_with_code_is_refused_and_does_not_run(place, run_tool, tmp_path):
    evil = tmp_path / "evil.pth"
    weights = read_checkpoint(place.weights, ALLOWED)["state_dict"]
    torch.save({"state_dict": weights, "meta": _Payload()}, evil)
    code, out, error = run_tool("test", place.distilled, evil, "--work-dir", tmp_path)
    assert code == 1 and "evil.pth" in error
    assert "has run" not in out


NOTHING = """
custom_imports = dict(imports=["kd_det"])
model = dict(_delete_=True, type="FindNothing")
"""


@pytest.fixture
def find_nothing():
    """A detector without a single box; its weight is trained."""
    from mmdet.registry import MODELS
    from mmengine.model import BaseModel
    from mmengine.structures import InstanceData

    class FindNothing(BaseModel):
        def __init__(self):
            super().__init__(dict(type="DetDataPreprocessor"))
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, inputs, data_samples=None, mode="predict"):
            if mode == "loss":
                return {"loss": (self.scale**2).sum()}
            for sample in data_samples:
                sample.pred_instances = InstanceData(
                    bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long(), scores=torch.zeros(0)
                )
            return data_samples

    MODELS.register_module(module=FindNothing, force=True)
    yield
    MODELS.module_dict.pop("FindNothing")


@pytest.mark.parametrize("base", ["base.py", "voc.py"])
def test_a_detector_that_finds_nothing_scores_0(place, run_tool, tmp_path, find_nothing, base):
    config = place.variant(f"nothing_{base}", NOTHING, base)
    torch.save({"scale": torch.ones(1)}, tmp_path / "one.pth")
    out = tmp_path / "metrics.json"
    code, text, error = run_tool(
        "test", config, tmp_path / "one.pth", "--out", out, "--work-dir", tmp_path
    )
    assert code == 0, error
    metrics = json.loads(out.read_text())
    if base == "voc.py":
        assert metrics == {"pascal_voc/mAP": 0.0, "pascal_voc/AP50": 0.0}
    else:
        names = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
        assert metrics == {f"coco/bbox_{name}": 0.0 for name in names}
        assert "coco/bbox_mAP " in text and "found nothing on 4 images" in text


def test_a_validation_that_finds_nothing_does_not_end_the_training(
    place, run_tool, tmp_path, find_nothing
):
    text = NOTHING + (
        "val_dataloader = {{_base_.test_dataloader}}\nval_evaluator = {{_base_.test_evaluator}}\n"
        "val_cfg = dict(type='ValLoop')\ntrain_cfg = dict(val_interval=1)\n"
        "default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP'))\n"
    )
    config = place.variant("nothing_validated.py", text, "base.py")
    code, _, error = run_tool("train", config, "--work-dir", tmp_path / "run")
    assert code == 0, error
    assert list((tmp_path / "run").glob("best_coco_bbox_mAP_epoch_1.pth"))


def test_an_evaluation_without_any_value_says_so(place, run_tool, tmp_path):
    command = (
        "test", place.distilled, place.weights, "--work-dir", tmp_path, "--cfg-options",
        "test_evaluator.format_only=True", f"test_evaluator.outfile_prefix={tmp_path / 'found'}",
    )  # fmt: skip
    code, text, error = run_tool(*command)
    assert code == 0 and "no metric gave a value" in text, error
    code, _, error = run_tool(*command, "--out", tmp_path / "m.json")
    assert code == 1 and "no metric gave a value" in error
    assert not (tmp_path / "m.json").exists() and (tmp_path / "found.bbox.json").exists()
