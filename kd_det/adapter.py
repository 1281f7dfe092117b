"""Adapter of detection: a batch of images and samples, and what of a detector has to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from kd_core import Term
from kd_core.teacher import Forward
from kd_det.probe import random_samples
from kd_engine.adapter import ModelAdapter
from kd_engine.data.renormalize import Renormalize


class DetectorAdapter(ModelAdapter):
    """How any detector of mmdet is fed; see :class:`ModelAdapter`."""

    scope = "mmdet"

    def require_pair(
        self, student: nn.Module, teacher: nn.Module, terms: Mapping[str, Term]
    ) -> None:
        """Require detectors, which have a data preprocessor."""
        for owner, model in (("student", student), ("teacher", teacher)):
            if not isinstance(getattr(model, "data_preprocessor", None), nn.Module):
                raise ValueError(
                    f"the {owner} ({type(model).__name__}) has no data_preprocessor, so it is no "
                    "mmdet detector. Use kd_core.Distiller for other models."
                )

    def image_size(self, *models: nn.Module) -> tuple[int, int]:
        """Return 256 x 256."""
        return 256, 256

    def arguments(self, size: tuple[int, int]) -> tuple[Tensor, list[DetDataSample]]:
        """Return two random images and their samples, with a box on each."""
        return torch.randn(2, 3, *size), random_samples(2, size)

    def forward(self, modules: Iterable[str], convert: Renormalize | None = None) -> Forward:
        """Return how a detector is run: backbone or neck alone if nothing behind is read."""
        return DetectorForward(modules, convert)


class DetectorForward:
    """Run as little of a detector as the layers need.

    Args:
        modules: Dotted paths of the layers.
        convert: What turns the images into the model's.
    """

    def __init__(self, modules: Iterable[str], convert: Renormalize | None = None) -> None:
        roots = {path.split(".")[0] for path in modules}
        self.backbone_only = roots == {"backbone"}
        self.features_only = roots <= {"backbone", "neck"}
        self.convert = convert

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        data_samples: Sequence[DetDataSample] | None = None,
        mode: str = "loss",
    ) -> Any:
        """Run the detector on a batch.

        Args:
            model: The detector.
            inputs: Images (N, 3, H, W), preprocessed for the student.
            data_samples: Their samples.
            mode: The student's mode; a detector whose head is read always runs as "tensor".

        Returns:
            Whatever the part that ran returns.
        """
        detector: Any = model
        if self.convert is not None:
            inputs = self.convert(inputs, data_samples)
        if self.backbone_only:
            return detector.backbone(inputs)
        if self.features_only:
            return detector.extract_feat(inputs)
        return detector(inputs, data_samples, mode="tensor")
