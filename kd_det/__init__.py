"""Distilled mmdet detectors; import this before mmdet where mmcv has no compiled operators."""

import kd_engine  # noqa: F401  first, for it refuses two distributions of mmdet by name
from kd_det.mmcv_ops import provide_ops

provide_ops()

from kd_det.annotations.coco_reader import provide_coco_reader  # noqa: E402

provide_coco_reader()

from kd_det.backbones import TorchvisionBackbone  # noqa: E402
from kd_det.detector import DistilledDetector  # noqa: E402

__all__ = ["DistilledDetector", "TorchvisionBackbone", "provide_ops"]
