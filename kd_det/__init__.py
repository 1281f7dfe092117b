"""Distilled mmdet detectors; import this before mmdet where mmcv has no compiled operators."""

import kd_engine  # noqa: F401  first: it refuses two distributions of mmdet by name

# isort: split
from kd_core.packages import require_packages

require_packages("kd_det", ("mmcv", "mmdet", "pycocotools"))

from kd_det.mmcv_ops import provide_ops  # noqa: E402

provide_ops()

from kd_det.annotations.coco_reader import provide_coco_reader  # noqa: E402

provide_coco_reader()

from kd_det.class_counts import provide_class_counts  # noqa: E402

provide_class_counts()

from kd_det.backbones import BackboneTeacher, TimmBackbone, TorchvisionBackbone  # noqa: E402
from kd_det.detector import DistilledDetector  # noqa: E402

__all__ = [
    "BackboneTeacher",
    "DistilledDetector",
    "TimmBackbone",
    "TorchvisionBackbone",
    "provide_ops",
]
