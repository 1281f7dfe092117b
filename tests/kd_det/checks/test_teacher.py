import pytest
import torch
from mmengine.config import Config

from kd_det.checks.teacher import check_teacher


def config(tmp_path, classes, layers):
    path = str(tmp_path / "t.pth")
    torch.save({"state_dict": {}, "meta": {"dataset_meta": {"classes": classes}}}, path)
    dataset = dict(type="mmdet.CocoDataset", metainfo=dict(classes=("bolt", "nut")))
    return Config(
        dict(
            model=dict(
                student=dict(type="x"),
                teacher=dict(config="t.py", checkpoint=path),
                terms=dict(one=dict(loss=dict(type="y"), layers=layers)),
            ),
            train_dataloader=dict(dataset=dataset),
        )
    )


@pytest.mark.parametrize(
    "layers",
    ["bbox_head", "bbox_head.gfl_cls", "roi_head.bbox_head.fc_cls",
     ["neck[0]", "bbox_head.conv_cls"],
     dict(low="neck[0]", high="bbox_head.multi_level_conv_cls.0")],
)  # fmt: skip
def test_class_scores_of_other_classes_are_refused(tmp_path, layers):
    with pytest.raises(ValueError, match="in another order: number 0 is 'nut' there"):
        check_teacher(config(tmp_path, ("nut", "bolt"), layers))
    assert check_teacher(config(tmp_path, ("bolt", "nut"), layers)) == []


@pytest.mark.parametrize(
    "layers",
    ["backbone.layer3", "neck[0:4]", dict(low="neck[0]"), "rpn_head", "rpn_head.rpn_cls",
     "bbox_head.cls_convs.3", "bbox_head.gfl_reg", "roi_head.bbox_head.shared_fcs.1"],
)  # fmt: skip
def test_features_of_a_teacher_of_other_classes_are_right(tmp_path, layers):
    (line,) = check_teacher(config(tmp_path, ("nut", "bolt"), layers))
    assert "warning" in line
    (line,) = check_teacher(config(tmp_path, [str(n) for n in range(80)], layers))
    assert "warning" not in line and "it knows 80" in line
