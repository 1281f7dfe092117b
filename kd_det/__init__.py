"""Distilled mmdet detectors; import this before mmdet where mmcv has no compiled operators."""

from typing import TYPE_CHECKING

import kd_engine  # noqa: F401  first: it refuses two distributions of mmdet by name

# isort: split
from kd_core.packages import lazy_names, require_packages

require_packages("kd_det", ("mmcv", "mmdet", "pycocotools"))

from kd_det.mmcv_ops import provide_ops  # noqa: E402

provide_ops()

from kd_det.annotations.coco_reader import provide_coco_reader  # noqa: E402

provide_coco_reader()

from kd_det.class_counts import provide_class_counts  # noqa: E402

provide_class_counts()

from kd_det.backbones import BackboneTeacher, TimmBackbone, TorchvisionBackbone  # noqa: E402
from kd_det.detector import DistilledDetector, SelfTeacher  # noqa: E402
from kd_det.headless import HeadlessDetector  # noqa: E402
from kd_det.unserved import NAMES  # noqa: E402

if TYPE_CHECKING:
    from kd_det.unlabeled import UnlabeledImages
else:  # mmdet's datasets are slow to import
    homes = dict.fromkeys(NAMES, "kd_det.unserved") | {"UnlabeledImages": "kd_det.unlabeled"}
    __getattr__, __dir__ = lazy_names(__name__, homes)

__all__ = [
    "BackboneTeacher",
    "DistilledDetector",
    "HeadlessDetector",
    "SelfTeacher",
    "TimmBackbone",
    "TorchvisionBackbone",
    "UnlabeledImages",
    "provide_ops",
]
