"""Helpers of the methods' tests: a training step, three of them, plain training."""

import copy

import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS

from kd_cls.distilled import ADAPTER
from kd_core.methods import HeadedClassifier
from kd_engine.network_builder import ConfigNetworkBuilder

from ...kd_cls.toy_classifiers import STUDENT, batch

STAGES = ["network.stage1", "network.stage2", "network.stage3"]


def build(kind, **config):
    """Build a model of a method after the same seed."""
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(type=f"kd_cls.{kind}", **copy.deepcopy(config)))


def plain():
    """The student alone, after the same seed."""
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(copy.deepcopy(STUDENT)))


def build_headed(reference):
    """Build a classifier with trained heads from a reference."""
    return HeadedClassifier.from_config(ConfigNetworkBuilder({}, ADAPTER), reference)


def losses(model):
    """One training forward."""
    model.train()
    return model(**model.data_preprocessor(batch(), True), mode="loss")


def train(model):
    """Three steps; returns the student's own weights."""
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    model.train()
    for _ in range(3):
        model.train_step(batch(), wrapper)
    return {key: value for key, value in model.state_dict().items() if "distiller" not in key}


def outputs(network, layers, training, images=None):
    """Run a copy of a network by hand: its logits and the outputs of children, in order."""
    found = {}
    clone = copy.deepcopy(network).train(training)
    for layer in layers:
        clone.get_submodule(layer).register_forward_hook(
            lambda _, inputs, output, name=layer: found.__setitem__(name, output)
        )
    inputs = clone.data_preprocessor(batch(), True)["inputs"] if images is None else images
    return clone(inputs), [found[layer] for layer in layers]


def changed(before, after):
    """Return whether any entry of a state differs."""
    return any(not torch.equal(value, after[key]) for key, value in before.items())
