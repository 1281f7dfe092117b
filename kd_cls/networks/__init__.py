"""Networks that classify; see staged.py for the names of their parts."""

from kd_cls.networks.cifar import CIFAR_NETWORKS, CifarNetwork
from kd_cls.networks.libraries import TimmNetwork, TorchvisionNetwork
from kd_cls.networks.mobilenet_v2 import MobileNetV2
from kd_cls.networks.resnet import CifarResNet, ResNet
from kd_cls.networks.shufflenet import ShuffleNetV1, ShuffleNetV2
from kd_cls.networks.simkd import SimKDNetwork
from kd_cls.networks.staged import StagedNetwork
from kd_cls.networks.vgg import VGG
from kd_cls.networks.wide_resnet import WideResNet

__all__ = [
    "CIFAR_NETWORKS",
    "CifarNetwork",
    "CifarResNet",
    "MobileNetV2",
    "ResNet",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "SimKDNetwork",
    "StagedNetwork",
    "TimmNetwork",
    "TorchvisionNetwork",
    "VGG",
    "WideResNet",
]
