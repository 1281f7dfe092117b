"""Classifier steps to compare: each network alone, and all of them together."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.step_costs import DISTILLED, seed_case, term_actions, without_weights
from kd_cls.classifier import image_size_of
from kd_core import Distiller
from kd_core.methods.base import NetworksDistiller
from kd_core.methods.heads import HeadedClassifier
from kd_engine.build import is_distilled, student_config
from kd_engine.doctor.probe import random_images

STUDENT, HEADED = "student", "student with heads"
_OPTIMIZER = {"type": "OptimWrapper", "optimizer": {"type": "SGD", "momentum": 0.9}}


class ClassifierCase:
    """Steps of a config: each network alone, and the distilled student.

    The student's own step is a training step; heads that it has are part of it, and learn from
    the labels. Of its other networks a trained one makes a training step too (cross-entropy over
    all logits that it returns), a frozen one a forward without gradients. All weights are random,
    nothing is downloaded, and the learning rate is 0: optimizers do all their work, but the
    students stay alike. Terms have no schedules, and a method whose losses begin later begins at
    once.

    Args:
        config: A config of a classifier with something attached.
        size: Height and width in pixels of the random images; ``None`` takes the student's size,
            otherwise 32 x 32.
        batch: Number of images.
        device: Where to run.

    Raises:
        ValueError: If the model is a plain classifier.
    """

    def __init__(
        self, config: Config, size: tuple[int, int] | None, batch: int, device: torch.device
    ) -> None:
        if not is_distilled(config.model):
            raise ValueError(
                "the config must be one with more networks than the student "
                f"(model = dict(student=..., ...)), but its model is a plain "
                f"{config.model.get('type')}. Name a distillation config."
            )
        model = ConfigDict(without_weights(config.model.to_dict()))
        seed_case()
        distilled: Any = MODELS.build(model)
        student: Any = MODELS.build(student_config(model))
        weights = distilled.state_dict()
        student.load_state_dict({key: weights[key] for key in student.state_dict()})
        self.size = size or image_size_of(student)
        self.device = device
        self._settings = copy.deepcopy(config.get("optim_wrapper", _OPTIMIZER))
        self._settings["optimizer"]["lr"] = 0.0
        self.distilled, self.student = (one.to(device).train() for one in (distilled, student))
        self.distiller: Any = distilled.distiller
        self.data = self.student.data_preprocessor(labeled_batch(student, batch, self.size), True)
        if isinstance(self.distiller, NetworksDistiller):
            self.distiller.set_run_length(epoch_length=1)
            self.distiller.iteration.fill_(self.distiller.start_iteration())
        self._optimizers: dict[str, Any] = {}
        self._actions: dict[str, Callable[[], None]] = {
            **self._own_step(),
            **self._others(),
            DISTILLED: self._action(self._step, DISTILLED, self.distilled),
        }

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return the timed actions: the steps of all networks, then the distilled one."""
        return dict(self._actions)

    def parts(self) -> list[str]:
        """Return the names of the steps that the distilled one is compared with."""
        return [name for name in self._actions if name != DISTILLED]

    @property
    def has_plain_optimizer(self) -> bool:
        """Return whether the config's wrapper does nothing but run the optimizer."""
        return set(self._settings) == {"type", "optimizer"} and (
            self._settings["type"] == "OptimWrapper"
        )

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """Return the config of the optimizer itself, with learning rate 0."""
        return dict(self._settings["optimizer"])

    def _optimizer(self, model: nn.Module) -> Any:
        """Build the config's optimizer wrapper for a model, with learning rate 0."""
        return build_optim_wrapper(model, copy.deepcopy(self._settings))

    def check_same_work(self) -> None:
        """Require that the two students still give the same logits for the batch.

        Raises:
            ValueError: If they differ by more than rounding.
        """
        found = []
        for model in (self.student, self.distilled):
            seed_case()
            with torch.no_grad():
                found.append(model(self.data["inputs"]))
        require_agreement("the student alone and the distilled one", "logits", *found)

    def loss(self) -> Tensor:
        """Return the total loss of the distilled student, without a step."""
        total: Tensor = self.distilled.parse_losses(self.distilled(**self.data, mode="loss"))[0]
        return total.detach()

    def term_actions(self) -> dict[str, Callable[[], None]]:
        """Return forward and backward of each term; none of a method that has no terms."""
        if not isinstance(self.distiller, Distiller):
            return {}
        return term_actions(self.distilled, self.distiller, self.data)

    def _step(self, name: str, model: Any) -> None:
        optimizer = self._optimizers[name]
        with optimizer.optim_context(model):
            losses = model(**self.data, mode="loss")
        total, _ = model.parse_losses(losses)
        optimizer.update_params(total)

    def _own_step(self) -> dict[str, Callable[[], None]]:
        """Return the student's step: with its heads, each a classifier too, if it has any."""
        heads = getattr(self.distiller, "heads", None)
        if not heads:
            return {STUDENT: self._action(self._step, STUDENT, self.student)}
        layers = self.distiller.layers[: len(heads) + 1]  # a method may have more than stages
        network = HeadedClassifier(
            self.student, layers, copy.deepcopy(heads), self.distiller.output
        )
        return {HEADED: self._action(self._train, HEADED, network)}

    def _others(self) -> dict[str, Callable[[], None]]:
        """Return the steps of the networks besides the student."""
        if not isinstance(self.distiller, NetworksDistiller):
            return {"teacher": functools.partial(self._run_frozen, self.distiller.teacher.model)}
        actions: dict[str, Callable[[], None]] = {}
        for name, network, trained in self.distiller.networks():
            actions[name] = (
                self._action(self._train, name, network)
                if trained
                else functools.partial(self._run_frozen, network)
            )
        return actions

    def _run_frozen(self, network: nn.Module) -> None:
        with torch.no_grad():
            network(self.data["inputs"])

    def _action(
        self, step: Callable[[str, Any], None], name: str, model: nn.Module
    ) -> Callable[[], None]:
        """Give a model its optimizer, and return its training step."""
        self._optimizers[name] = self._optimizer(model)
        return functools.partial(step, name, model)

    def _train(self, name: str, network: nn.Module) -> None:
        optimizer = self._optimizers[name]
        with optimizer.optim_context(network):
            loss = self._own_loss(network)
        optimizer.update_params(loss)

    def _own_loss(self, network: nn.Module) -> Tensor:
        """Sum the cross-entropies of the logits that a network returns."""
        found = network(self.data["inputs"])
        outputs: Iterable[Tensor] = [found] if isinstance(found, Tensor) else found
        labels = self.data["labels"]
        return torch.stack([F.cross_entropy(one.float(), labels) for one in outputs]).sum()


def labeled_batch(student: Any, count: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """Make noise images uint8 with labels and ids; always the same."""
    return {
        "inputs": random_images(count, size),
        "labels": torch.arange(count) % student.num_classes,
        "ids": torch.arange(count),
    }


def require_agreement(who: str, what: str, first: Tensor, second: Tensor) -> None:
    """Require that two steps computed the same value.

    Raises:
        ValueError: If they differ by more than 0.1 percent of the larger one.
    """
    difference = (first - second).abs().max().item()
    if not difference <= 1e-3 * max(first.abs().max().item(), second.abs().max().item()):
        raise ValueError(
            f"{who} must do the same work, but their {what} differ by {difference:.3g}."
        )
