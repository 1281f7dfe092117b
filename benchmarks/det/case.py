"""Detector steps to compare: the student alone, its teacher, and the two together."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from benchmarks.step_costs import seed_case, term_actions, without_weights
from kd_core.layers import FeatureHooks
from kd_core.terms import layers_of
from kd_det.probe import random_batch
from kd_engine.build import is_distilled, student_config
from kd_engine.run.run_length import set_training_position

OPTIMIZER = {"type": "OptimWrapper", "optimizer": {"type": "SGD", "momentum": 0.9}}
_BOXES = 5  # on each image


class DetectorCase:
    """Steps of a config: ``student``, ``teacher`` and ``distilled``.

    All weights are random, nothing is downloaded, and the two students have the same ones. The
    learning rate is 0: optimizers do all their work, but the two students stay alike, so that a
    step finds as many proposals and positives in the hundredth round as in the first. Schedules
    are left out: every term is active.

    Args:
        config: A distillation config.
        size: Height and width in pixels of the synthetic images.
        batch: Number of images.
        device: Where to run.

    Raises:
        ValueError: If the config has no teacher.
    """

    def __init__(
        self, config: Config, size: tuple[int, int], batch: int, device: torch.device
    ) -> None:
        if not is_distilled(config.model):
            raise ValueError(
                "the config must be one with a teacher (model = dict(student=..., teacher=...)), "
                f"but its model is a plain {config.model.get('type')}. Name a distillation config."
            )
        init_default_scope(config.get("default_scope") or "mmdet")
        model = ConfigDict(without_weights(config.model.to_dict()))
        seed_case()
        distilled: Any = MODELS.build(copy.deepcopy(model))  # a DINO changes its config
        distilled.init_weights()
        student: Any = MODELS.build(student_config(model))
        weights = distilled.state_dict()
        student.load_state_dict({k: v for k, v in weights.items() if k in student.state_dict()})
        self.students = {"student": student.to(device), "distilled": distilled.to(device)}
        for one in self.students.values():
            one.train()
        set_training_position(0, 1, None)  # YOLOX and others ask for it
        self.distiller = distilled.distiller
        self.teacher: Any = self.distiller.teacher.model
        settings = copy.deepcopy(config.get("optim_wrapper", OPTIMIZER))
        settings["optimizer"]["lr"] = 0.0
        self.optimizers = {
            name: build_optim_wrapper(one, copy.deepcopy(settings))
            for name, one in self.students.items()
        }
        self.data = student.data_preprocessor(boxed_batch(batch, size), True)
        layers = {name: term.teacher_layers for name, term in self.distiller.terms.items()}
        roots = {path.module.split(".")[0] for path in layers_of(self.distiller.terms, "teacher")}
        self.wanted = layers if roots - {"backbone", "neck"} else None  # of its heads
        self.followed = self._followed() if self.wanted else {}

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return the timed actions: two training steps, and the teacher's forward."""
        return {
            "student": lambda: self.step("student"),
            "teacher": self.run_teacher,
            "distilled": lambda: self.step("distilled"),
        }

    def step(self, name: str) -> None:
        """Forward with losses, backward and optimizer step of one of the two students."""
        model, optimizer = self.students[name], self.optimizers[name]
        with optimizer.optim_context(model):
            losses = model(**self.data, mode="loss")
        total, _ = model.parse_losses(losses)
        optimizer.update_params(total)

    def run_teacher(self) -> None:
        """Run the teacher as far as its terms need it, without gradients; mostly to the neck."""
        if self.wanted is not None:
            self.distiller.teacher.run((), {**self.data, **self.followed}, self.wanted)
            return
        with torch.no_grad():
            self.teacher.extract_feat(self.data["inputs"])

    def _followed(self) -> dict[str, Any]:
        """Return the boxes of the student's ROI head, on which the teacher's runs."""
        follows = self.distiller.teacher.follows
        if not follows:
            return {}
        hooks = FeatureHooks(self.students["student"], follows.values(), "student")
        hooks.active = True
        seed_case()
        try:
            self.students["student"](**self.data, mode="loss")
            found = {key: hooks.read([path]) for key, path in follows.items()}
        finally:
            hooks.remove()
        return {"followed": found}

    def check_same_work(self) -> None:
        """Require that the two students still see the same samples in the same way.

        Raises:
            ValueError: If their own losses differ by more than rounding.
        """
        losses = {}
        for name, model in self.students.items():
            seed_case()
            logged = model.parse_losses(model(**self.data, mode="loss"))[1]
            losses[name] = {key: value.item() for key, value in logged.items()}
        alone = {key: value for key, value in losses["student"].items() if key != "loss"}
        other = {key: losses["distilled"][key] for key in alone}
        if any(not math.isclose(alone[key], other[key], rel_tol=1e-3) for key in alone):
            raise ValueError(
                "the student alone and the distilled one must do the same work, but their own "
                f"losses are {alone} and {other}."
            )

    def parts(self) -> list[str]:
        """Return the names of the steps that the distilled one is compared with."""
        return ["student", "teacher"]

    def term_actions(self) -> dict[str, Callable[[], None]]:
        """Return, for each term, its forward and backward on features captured once."""
        return term_actions(self.students["distilled"], self.distiller, self.data)


def boxed_batch(count: int, size: tuple[int, int]) -> dict[str, Any]:
    """Make noise images with a few boxes each; always the same."""
    batch = random_batch(count, size)
    generator = torch.Generator().manual_seed(1)
    extent = torch.tensor([size[1], size[0]])
    for sample in batch["data_samples"]:
        corner = torch.rand(_BOXES, 2, generator=generator) * 0.6
        side = 0.1 + torch.rand(_BOXES, 2, generator=generator) * 0.3
        boxes = torch.cat([corner * extent, (corner + side) * extent], dim=1)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(_BOXES).long())
    return batch
