"""kd_det.metric_names agrees with what mmdet's metrics give."""

import pytest
from mmdet.evaluation import CocoMetric, LVISMetric, VOCMetric

from kd_det.metric_names import metric_names


def metric(kind, **settings):
    """A metric without its annotations."""
    made = object.__new__(kind)
    vars(made).update(
        dict(metrics=["bbox"], metric_items=None, format_only=False, prefix=None) | settings
    )
    return made


@pytest.mark.parametrize(
    ("kind", "settings", "names"),
    [
        (CocoMetric, dict(metric_items=["mAP", "AR@100"], prefix="coco"),
         ["coco/bbox_mAP", "coco/bbox_AR@100"]),
        (CocoMetric, dict(metrics=["segm", "proposal_fast"], metric_items=["mAP"]), ["segm_mAP"]),
        (CocoMetric, dict(metrics=["proposal"], metric_items=["AR@100"]), ["AR@100"]),
        (CocoMetric, dict(format_only=True), []),
        (LVISMetric, dict(metric_items=["APr"], prefix="lvis"), ["lvis/bbox_APr"]),
        (VOCMetric, {}, []),
        (type("Recall", (), {}), {}, []),
    ],
)  # fmt: skip
def test_names(kind, settings, names):
    assert metric_names(metric(kind, **settings)) == names


def test_all_names_of_coco():
    names = metric_names(metric(CocoMetric, prefix="coco"))
    sizes = ("", "_50", "_75", "_s", "_m", "_l")
    assert names == [f"coco/bbox_mAP{size}" for size in sizes]
