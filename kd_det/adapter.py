"""Adapter of detection: how a detector is fed, and how little of it has to run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.structures import DetDataSample
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from kd_core import FrozenTeacher, Term
from kd_core.layers import LayerPath
from kd_core.terms import layers_of
from kd_det.class_mapping import pick_classes
from kd_det.head_pairs import require_alike_heads
from kd_det.headless import HeadlessDetector
from kd_det.heads import followed_boxes, run_heads, takes_batches
from kd_det.probe import fixed_image_size, random_samples
from kd_engine.adapter import ModelAdapter


class DetectorAdapter(ModelAdapter):
    """Adapter of mmdet's detectors; see :class:`ModelAdapter`."""

    scope = "mmdet"

    def require_pair(
        self, student: nn.Module, teacher: nn.Module, terms: Mapping[str, Term]
    ) -> None:
        """Require normalized images, one map for each, and heads that fit each other."""
        for owner, model in (("student", student), ("teacher", teacher)):
            own = getattr(model, "data_preprocessor", None)
            if not isinstance(own, nn.Module):
                raise ValueError(
                    f"the {owner} ({type(model).__name__}) has no data_preprocessor, so it is no "
                    "mmdet detector. Use kd_core.Distiller for other models."
                )
            if type(own) is BaseDataPreprocessor:  # mmengine's stand-in, which leaves all as it is
                raise ValueError(
                    f"a detector must say how its images are normalized, but the config of the "
                    f"{owner} ({type(model).__name__}) has no data_preprocessor. Give its model "
                    "data_preprocessor=dict(type='DetDataPreprocessor', mean=, std=, "
                    "bgr_to_rgb=), as it was trained."
                )
        _require_one_branch("student", student, training=True)
        _require_one_branch("teacher", teacher, training=False)
        _require_batches(teacher, terms)
        require_alike_heads(student, teacher, terms)
        _require_task(student, terms)
        for term in terms.values():
            loss: Any = term.loss
            if getattr(loss, "queries", 0) is None:  # in training a DINO has more than its own
                loss.queries = getattr(student, "num_queries", None)

    def image_size(self, *models: nn.Module) -> tuple[int, int]:
        """Return the first fixed size of the models, such as SSD300's; otherwise 256 x 256."""
        return next(filter(None, map(fixed_image_size, models)), (256, 256))

    def try_sizes(
        self,
        student: nn.Module,
        teacher: FrozenTeacher,
        wanted: Mapping[str, Mapping[str, Sequence[LayerPath]]],
        size: tuple[int, int],
    ) -> None:
        """Try a teacher on images that are padded as the student pads, if that is not enough."""
        own, its = (_pads_to(model) for model in (student, teacher.model))
        if own % its == 0:
            return
        height, width = (-(-side // its) * its + own for side in size)
        try:
            teacher.run(self.arguments((height, width)), {}, wanted)
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"the teacher must take every size of images that the student's padding gives, but "
                f"the student pads them to multiples of {own}, the teacher to multiples of {its}, "
                f"and the teacher fails on images of {height} x {width} ({error}). Set "
                f"pad_size_divisor={math.lcm(own, its)} in the student's data_preprocessor."
            ) from error

    def extra_inputs(self, named: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ground truth's ``boxes`` of each image (B, 4), where samples have them."""
        samples = named.get("data_samples") or []
        found = [getattr(sample, "gt_instances", None) for sample in samples]
        if not found or any(one is None or "bboxes" not in one for one in found):
            return {}
        boxes = [getattr(one.bboxes, "tensor", one.bboxes) for one in found]  # type: ignore[union-attr]
        return {"boxes": boxes}

    def require_scalable(self, layers: Iterable[LayerPath]) -> None:
        """Require backbone and neck: boxes and the samples' sizes would be of other images."""
        beyond = sorted(
            {path.text for path in layers}
            - {path.text for path in layers if path.module.split(".")[0] in ("backbone", "neck")}
        )
        if beyond:
            raise ValueError(
                "a teacher with a scale is read at its backbone and neck, but a term reads "
                f"{', '.join(beyond)}. Leave scale out, or compare other layers."
            )

    def score_layers(self, teacher: nn.Module) -> str | None:
        """Return the objectness of the RPN, or the class scores of a dense head, of sigmoids."""
        name = "bbox_head" if getattr(teacher, "rpn_head", None) is None else "rpn_head"
        sigmoid = getattr(getattr(teacher, name, None), "use_sigmoid_cls", False)
        return f"{name}[0]" if sigmoid else None

    def arguments(self, size: tuple[int, int]) -> tuple[Tensor, list[DetDataSample]]:
        """Return two random images and their samples, with a box on each."""
        return torch.randn(2, 3, *size), random_samples(2, size)

    def pick_classes(self, teacher: nn.Module, wanted: Sequence[str], known: Sequence[str]) -> None:
        """Map the classes of a teacher's heads; see :func:`kd_det.class_mapping.pick_classes`."""
        pick_classes(teacher, wanted, known)

    def make_readable(self, model: nn.Module, layers: Iterable[LayerPath]) -> None:
        """Let no activation overwrite the convolution or norm that is read before it."""
        for path in layers:
            block, _, part = path.module.rpartition(".")
            around = model.get_submodule(block) if _has(model, path.module) else None
            if isinstance(around, ConvModule) and part != "activate" and around.with_activation:
                around.activate.inplace = False

    def follows(
        self, student: nn.Module, teacher: nn.Module, terms: Mapping[str, Term]
    ) -> dict[str, LayerPath]:
        """Let a teacher's ROI head run on the boxes that the student has sampled."""
        return followed_boxes(student, teacher, layers_of(terms, "teacher"))

    def run(
        self,
        roots: frozenset[str],
        convert: Any,
        model: Any,
        inputs: Tensor,
        data_samples: Sequence[DetDataSample] | None = None,
        *_: Any,
        followed: Mapping[str, Any] | None = None,
        **__: Any,
    ) -> Any:
        """Run a detector, and no more of it than is read: see :func:`kd_det.heads.run_heads`.

        Args:
            roots: First parts of the paths of the layers that are read.
            convert: Turns images and their samples into the model's images.
            model: The detector.
            inputs: Images (N, 3, H, W), preprocessed for the student.
            data_samples: Their samples.
            followed: Boxes of the student's ROI head, on which the teacher's runs.
        """
        images = convert(inputs, data_samples)
        if roots == {"backbone"}:
            return model.backbone(images)
        if roots <= {"backbone", "neck"}:
            return model.extract_feat(images)
        return run_heads(model, roots, images, data_samples, followed)


def _require_task(student: nn.Module, terms: Mapping[str, Term]) -> None:
    """Refuse a weight that is measured against a loss that the student does not have."""
    for name, term in terms.items():
        if term.auto and isinstance(student, HeadlessDetector):
            raise ValueError(
                f"term {name!r} has weight='auto', which is measured against the task's gradient, "
                "but a HeadlessDetector has none. Give it a number; alone, any will do."
            )


def _has(model: nn.Module, path: str) -> bool:
    return path in dict(model.named_modules())


def _pads_to(model: nn.Module) -> int:
    """Return the number of pixels of whose multiples a model's images are, after padding."""
    return int(getattr(model.data_preprocessor, "pad_size_divisor", None) or 1)


def _require_batches(teacher: nn.Module, terms: Mapping[str, Term]) -> None:
    """Refuse the heads of a teacher that takes no batch in eval mode."""
    read = sorted({path.text for path in layers_of(terms, "teacher")})
    of_heads = [text for text in read if not text.startswith(("backbone", "neck"))]
    if of_heads and not takes_batches(teacher):
        raise ValueError(
            f"a teacher must take batches, but {type(teacher).__name__} has mmcv's masked "
            f"convolution, which takes a single image, in its head, and a term reads "
            f"{', '.join(of_heads)}. Compare layers of backbone and neck."
        )


def _require_one_branch(owner: str, model: nn.Module, training: bool) -> None:
    """Refuse mmdet's TridentNet where its backbone returns each image once for each branch."""
    backbone = getattr(model, "backbone", None)
    branches: Any = getattr(backbone, "num_branch", 1)
    if branches > 1 and (training or getattr(backbone, "test_branch_idx", -1) == -1):
        raise ValueError(
            f"a term compares one feature map for each image, but the {owner}'s "
            f"{type(backbone).__name__} returns {branches}, one for each of its branches"
            + (" in training. A TridentNet can be a teacher, with test_branch_idx=1, not a student."
               if training else ". Set test_branch_idx=1, in the model and its backbone.")
        )  # fmt: skip
