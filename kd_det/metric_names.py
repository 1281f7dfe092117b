"""Names of the values that mmdet's metrics report."""

from __future__ import annotations

from typing import Any

_COCO = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
_LVIS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
_PROPOSALS = ("AR@100", "AR@300", "AR@1000", "AR_s@1000", "AR_m@1000", "AR_l@1000")
_LVIS_PROPOSALS = ("AR@300", "ARs@300", "ARm@300", "ARl@300")


def metric_names(metric: Any) -> list[str]:
    """List the names of the values that a metric of mmdet reports for boxes or masks.

    Args:
        metric: A metric of an evaluator.

    Returns:
        Names with the metric's prefix, such as ``coco/bbox_mAP``; none for a metric that is not of
        COCO's kind or only writes files.
    """
    kinds = [kind.__name__ for kind in type(metric).__mro__]
    if getattr(metric, "format_only", False) or "CocoMetric" not in kinds:
        return []
    lvis = "LVISMetric" in kinds
    names: list[str] = []
    for kind in metric.metrics:
        items = metric.metric_items
        if kind == "proposal":
            names += items or (_LVIS_PROPOSALS if lvis else _PROPOSALS)
        elif kind != "proposal_fast":  # which gives its values also where nothing was found
            names += [f"{kind}_{item}" for item in items or (_LVIS if lvis else _COCO)]
    return [f"{metric.prefix}/{name}" if metric.prefix else name for name in names]
