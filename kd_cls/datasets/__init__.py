"""Datasets for classification: images with a class and an id."""

from kd_cls.datasets.caltech100 import Caltech100
from kd_cls.datasets.cifar import CIFAR10, CIFAR100
from kd_cls.datasets.digits import BuiltInDigits
from kd_cls.datasets.fashion_mnist import FashionMNIST
from kd_cls.datasets.folder import ImageFolder
from kd_cls.datasets.samples import ClassificationDataset
from kd_cls.datasets.svhn import SVHN
from kd_cls.datasets.tiny_imagenet import TinyImageNet

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "SVHN",
    "BuiltInDigits",
    "Caltech100",
    "ClassificationDataset",
    "FashionMNIST",
    "ImageFolder",
    "TinyImageNet",
]
