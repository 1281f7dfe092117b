import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from kd_det.mmcv_ops import provide_ops

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(provide_ops() == "compiled", reason="mmcv has compiled operators")


def test_is_found_by_mmcv_and_mmengine():
    from mmcv.utils import ext_loader
    from mmengine.utils.dl_utils.misc import mmcv_full_available

    assert importlib.util.find_spec("mmcv._ext").name == "mmcv._ext"
    assert mmcv_full_available()
    assert ext_loader.check_ops_exist()
    assert ext_loader.load_ext("_ext", ["nms", "psamask_forward"]) is sys.modules["mmcv._ext"]


def test_called_again_changes_nothing():
    before = sys.modules["mmcv._ext"]
    assert provide_ops() == "torchvision"
    assert sys.modules["mmcv._ext"] is before


def test_loaded_compiled_operators_are_left_alone(monkeypatch):
    compiled = ModuleType("mmcv._ext")
    monkeypatch.setitem(sys.modules, "mmcv._ext", compiled)
    assert provide_ops() == "compiled"
    assert sys.modules["mmcv._ext"] is compiled


def test_installed_compiled_operators_are_left_alone(monkeypatch, tmp_path):
    import mmcv

    (tmp_path / "_ext.py").write_text("nms = 'compiled'\n")
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    monkeypatch.setattr(mmcv, "_ext", mmcv._ext)  # put back afterwards
    monkeypatch.setattr(mmcv, "__path__", [*mmcv.__path__, str(tmp_path)])
    assert provide_ops() == "compiled"
    assert importlib.import_module("mmcv._ext").nms == "compiled"


def test_unserved_operator_is_named():
    from mmcv.ops import nms_rotated

    boxes = torch.tensor([[5.0, 5, 2, 2, 0.1]])
    with pytest.raises(NotImplementedError, match=r"'nms_rotated'.*Install an mmcv with compiled"):
        nms_rotated(boxes, torch.ones(1), 0.5)


def test_private_names_are_absent():
    assert not hasattr(sys.modules["mmcv._ext"], "__all__")


def test_placeholders_of_an_earlier_mmdet_are_named(monkeypatch):
    early = ModuleType("mmdet.early")
    exec("def batched_nms(): ...", vars(early))
    monkeypatch.setitem(sys.modules, "mmdet.early", early)
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    with pytest.raises(ImportError, match="mmdet.early keeps a placeholder"):
        provide_ops()
    assert "mmcv._ext" not in sys.modules


def test_torchvision_without_operators_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    monkeypatch.setattr(torch.ops, "torchvision", object())
    with pytest.raises(ImportError, match="Install the torchvision that belongs to this torch"):
        provide_ops()


def test_works_after_a_failed_import():
    program = (
        "try:\n    import mmcv.ops\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
        "from kd_det.mmcv_ops import provide_ops\n"
        "print(provide_ops())\n"
        "import mmcv.ops\n"
        "print(mmcv.ops.RoIAlign.__name__)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "mmcv._ext" in run.stdout
    assert run.stdout.split()[-2:] == ["torchvision", "RoIAlign"]


@pytest.fixture(scope="module")
def detector():
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.hub import get_config

    register_all_modules()
    model = get_config("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py").model
    model.backbone = {"type": "ResNet", "depth": 18, "base_channels": 8}
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
    model.rpn_head.update(in_channels=8, feat_channels=8)
    model.roi_head.bbox_roi_extractor.out_channels = 8
    model.roi_head.bbox_head.update(in_channels=8, fc_out_channels=16, num_classes=3)
    torch.manual_seed(0)
    return MODELS.build(model)


@pytest.fixture
def batch():
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    sample = DetDataSample(
        metainfo={"img_shape": (64, 64), "ori_shape": (64, 64), "scale_factor": (1.0, 1.0)}
    )
    boxes, labels = torch.tensor([[5.0, 5, 40, 40]]), torch.tensor([1])
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    image = torch.randint(0, 256, (3, 64, 64), generator=torch.manual_seed(1), dtype=torch.uint8)
    return {"inputs": [image], "data_samples": [sample]}


def test_faster_rcnn_trains(detector, batch):
    detector.train()
    losses = detector(**detector.data_preprocessor(batch, True), mode="loss")
    total, _ = detector.parse_losses(losses)
    total.backward()
    assert {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"} <= set(losses)
    assert torch.isfinite(total)
    assert detector.backbone.layer4[1].conv2.weight.grad.abs().sum() > 0


def test_faster_rcnn_predicts(detector, batch):
    detector.eval()
    (result,) = detector.test_step(batch)
    found = result.pred_instances
    assert found.bboxes.shape == (len(found.scores), 4)
    assert 0 < len(found.scores) <= 100
    assert (found.scores.diff() <= 0).all()
