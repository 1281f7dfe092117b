"""Scale of a metric: percent, direction, names."""

import math

import pytest

from kd_engine.compare.scale import Scale, choose_metrics, is_lower_better, scale_of


def test_shares_are_in_percent_and_others_as_they_are():
    share = scale_of("coco/bbox_mAP", [0.31, 0.4, math.nan, -1])
    assert (share.value(0.3125), share.change(-0.01)) == ("31.25", "-1.00")
    assert (share.name, share.heading) == ("mAP", "coco/bbox_mAP, %")
    assert share.value(-1) == "-"  # COCO's for no objects of a size
    top = scale_of("cls/top1", [70.2, 1.0])
    assert (top.value(70.256), top.change(1.0), top.heading) == ("70.26", "+1.00", "cls/top1")
    assert scale_of("val/loss", [0.2]).value(0.2) == "0.200"
    assert Scale("a").value(math.nan) == Scale("a").change(math.nan) == "-"
    assert Scale("a").change(-0.0001) == "+0.000"


@pytest.mark.parametrize(
    ("name", "lower"),
    [("cls/top1", False), ("cls/ECE", True), ("val/loss", True), ("a/top1_error", True),
     ("coco/bbox_mAP", False), ("retrieval/recall@1", False), ("x/RMSE", True),
     ("x/closest", False), ("mae/top1", False)],
)  # fmt: skip
def test_the_direction_is_read_off_the_name(name, lower):
    assert is_lower_better(name) is lower
    assert scale_of(name, [0.5], lower_is_better=not lower).lower_is_better is not lower


def test_metrics_are_those_that_all_runs_have():
    first, second = ["voc/mAP", "coco/bbox_mAP", "own"], ["coco/bbox_mAP", "voc/mAP"]
    assert choose_metrics([first, second]) == ["coco/bbox_mAP", "voc/mAP"]
    assert choose_metrics([list("abcdef")]) == list("abcd")
    assert choose_metrics([list("abcdef")], list("fedcba")) == list("fedcba")
    assert choose_metrics([first, second], ["voc/mAP"]) == ["voc/mAP"]
    with pytest.raises(ValueError, match="'own' is not"):
        choose_metrics([first, second], ["own"])
    with pytest.raises(ValueError, match=r"Nearest names: coco/bbox_mAP\."):
        choose_metrics([first, second], ["bbox_mAP"])
    with pytest.raises(ValueError, match="no metric is in all of them: a; b"):
        choose_metrics([["a"], ["b"]])
