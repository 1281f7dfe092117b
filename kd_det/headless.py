"""Detector without heads: a student whose backbone and neck learn from features alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from torch import Tensor


class HeadlessDetector(BaseDetector):  # type: ignore[misc]
    """Backbone and neck of a detector, with a loss of its own that is 0.

    As the student of a ``kd_det.DistilledDetector`` it learns from the terms alone, so images need
    no annotations. Its keys are those of the detector, ``backbone.*`` and ``neck.*``: an
    ``init_cfg=dict(type="Pretrained", checkpoint=..., prefix="backbone.")`` starts from them.

    Args:
        backbone: Config of any backbone of mmdet, or of ``kd_det.TimmBackbone`` and the like.
        neck: Config of a neck; ``None`` trains the backbone alone.
        data_preprocessor: The detector's.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone = MODELS.build(dict(backbone))
        self.neck = None if neck is None else MODELS.build(dict(neck))

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of the neck, or of the backbone where there is none.

        Args:
            batch_inputs: Images (N, 3, H, W), preprocessed.

        Returns:
            Maps (N, C, H, W), fine to coarse.
        """
        maps: tuple[Tensor, ...] = self.backbone(batch_inputs)
        return maps if self.neck is None else tuple(self.neck(maps))

    def loss(self, batch_inputs: Tensor, batch_data_samples: Any) -> dict[str, Tensor]:
        """Return ``loss_task``, 0, with a gradient of 0 to every map, which DDP waits for.

        Args:
            batch_inputs: Images (N, 3, H, W), preprocessed.
            batch_data_samples: Their samples, which do not count.
        """
        maps = self.extract_feat(batch_inputs)
        return {"loss_task": torch.stack([one.flatten()[0].float() for one in maps]).sum() * 0.0}

    def predict(self, batch_inputs: Tensor, batch_data_samples: Any) -> Any:
        """Refuse.

        Raises:
            ValueError: Always: there is no head.
        """
        raise ValueError(
            "a HeadlessDetector predicts nothing. Train the detector that starts from its backbone "
            "and neck, and predict with that; leave val_dataloader and test_dataloader out here."
        )

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Any = None) -> tuple[Tensor, ...]:
        return self.extract_feat(batch_inputs)
