"""Image classifiers: teachers, students, the networks that this literature compares, data."""

import kd_engine  # noqa: F401  first: it refuses two distributions of mmengine

# isort: split
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
from kd_cls.distilled import DistilledClassifier
from kd_cls.methods import BYOT, CCSKD, CKDMKT, CTKD, DML, MSKDSSR, TeacherHeads
from kd_cls.metric import ClassificationMetric
from kd_cls.networks import CifarNetwork, TimmNetwork, TorchvisionNetwork

__all__ = [
    "BYOT",
    "CCSKD",
    "CIFAR10",
    "CIFAR100",
    "CKDMKT",
    "CTKD",
    "DML",
    "MSKDSSR",
    "SVHN",
    "BuiltInDigits",
    "Caltech100",
    "CifarNetwork",
    "ClassificationMetric",
    "Classifier",
    "DistilledClassifier",
    "FashionMNIST",
    "ImageFolder",
    "TeacherHeads",
    "TimmNetwork",
    "TinyImageNet",
    "TorchvisionNetwork",
]
