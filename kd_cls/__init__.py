"""Image classifiers: teachers, students and the networks that this literature compares."""

import kd_engine  # noqa: F401  first: it refuses two distributions of mmengine

# isort: split
from kd_cls.networks import CifarNetwork, TimmNetwork, TorchvisionNetwork

__all__ = ["CifarNetwork", "TimmNetwork", "TorchvisionNetwork"]
