"""Image classifiers: teachers, students, datasets, and the networks that papers compare.

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import kd_engine  # noqa: F401  first: it refuses two distributions of mmengine, or none
from kd_core.packages import lazy_names

if TYPE_CHECKING:
    from kd_cls.classifier import Classifier
    from kd_cls.datasets import (
        CIFAR10,
        CIFAR100,
        SVHN,
        BuiltInDigits,
        Caltech100,
        FashionMNIST,
        ImageFolder,
        TinyImageNet,
    )
    from kd_cls.distilled import (
        BYOT,
        CAMKD,
        CCSKD,
        CKDMKT,
        CTKD,
        DML,
        MSKDSSR,
        ONE,
        PSKD,
        Adversarial,
        DistilledClassifier,
        SelfTeacher,
        TeacherHeads,
    )
    from kd_cls.metric import ClassificationMetric
    from kd_cls.networks import CifarNetwork, SimKDNetwork, TimmNetwork, TorchvisionNetwork
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Adversarial": "kd_cls.distilled",
            "BYOT": "kd_cls.distilled",
            "BuiltInDigits": "kd_cls.datasets",
            "CAMKD": "kd_cls.distilled",
            "CCSKD": "kd_cls.distilled",
            "CIFAR10": "kd_cls.datasets",
            "CIFAR100": "kd_cls.datasets",
            "CKDMKT": "kd_cls.distilled",
            "CTKD": "kd_cls.distilled",
            "Caltech100": "kd_cls.datasets",
            "CifarNetwork": "kd_cls.networks",
            "ClassificationMetric": "kd_cls.metric",
            "Classifier": "kd_cls.classifier",
            "DML": "kd_cls.distilled",
            "DistilledClassifier": "kd_cls.distilled",
            "FashionMNIST": "kd_cls.datasets",
            "ImageFolder": "kd_cls.datasets",
            "MSKDSSR": "kd_cls.distilled",
            "ONE": "kd_cls.distilled",
            "PSKD": "kd_cls.distilled",
            "SVHN": "kd_cls.datasets",
            "SelfTeacher": "kd_cls.distilled",
            "SimKDNetwork": "kd_cls.networks",
            "TeacherHeads": "kd_cls.distilled",
            "TimmNetwork": "kd_cls.networks",
            "TinyImageNet": "kd_cls.datasets",
            "TorchvisionNetwork": "kd_cls.networks",
        },
    )

__all__ = [
    "BYOT",
    "CAMKD",
    "CCSKD",
    "CIFAR10",
    "CIFAR100",
    "CKDMKT",
    "CTKD",
    "DML",
    "MSKDSSR",
    "ONE",
    "PSKD",
    "SVHN",
    "Adversarial",
    "BuiltInDigits",
    "Caltech100",
    "CifarNetwork",
    "ClassificationMetric",
    "Classifier",
    "DistilledClassifier",
    "FashionMNIST",
    "ImageFolder",
    "SelfTeacher",
    "SimKDNetwork",
    "TeacherHeads",
    "TimmNetwork",
    "TinyImageNet",
    "TorchvisionNetwork",
]
