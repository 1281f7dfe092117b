"""Networks of torchvision and timm as backbones of detectors; backbones alone as teachers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.models import SwinTransformer, get_model
from torchvision.models.feature_extraction import create_feature_extractor

from kd_core.checkpoint.load import load_weights
from kd_core.layouts import fast_memory_format, is_channels_last
from kd_core.tokens import TokenGrid, prefix_of
from kd_engine.networks import IMAGENET_MEAN, IMAGENET_STD
from kd_engine.weights.settings import loads_initial_weights
from kd_engine.weights.source import read_weights
from kd_engine.weights.zoos import timm_model

_OF_BACKBONE_TEACHER = ("backbone", "mean", "std", "bgr_to_rgb")


class PyramidBackbone(BaseModule):  # type: ignore[misc]
    """A network without its head that returns a pyramid of feature maps.

    Keys of the state dict are the network's under ``body.``. Batch norms keep their pretrained
    statistics in training (``norm_eval``), as mmdet's ResNet does. Maps (N, H, W, C), as of Swin,
    are turned; tokens of a vision transformer become the map of its patches.

    Args:
        body: Module that returns a dict of feature maps, fine to coarse.
        frozen: Modules of the body that are not trained, and stay in eval mode.
        norm_eval: Keep batch norms in eval mode in training.
        channels_last: Whether maps are (N, H, W, C) where their shape leaves a doubt.
        prefixes: Of each map, how many tokens come before those of the patches; ``None`` of one
            that is no tokens.
    """

    def __init__(
        self,
        body: nn.Module,
        frozen: Sequence[nn.Module],
        norm_eval: bool,
        channels_last: bool = False,
        prefixes: Sequence[int | None] = (),
    ) -> None:
        super().__init__()
        self.body = body
        self.norm_eval = norm_eval
        self._channels_last, self._prefixes = channels_last, list(prefixes)
        self._frozen = list(frozen)
        for stage in self._frozen:
            stage.requires_grad_(False)

    def init_weights(self) -> None:
        """Keep the weights: they were loaded or drawn when the model was made."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the pyramid.

        Args:
            images: Batch (N, 3, H, W).

        Returns:
            Feature maps (N, C, H, W), one for each node.
        """
        found: list[Tensor] = list(self.body(fast_memory_format(images)).values())
        size = images.shape[2], images.shape[3]
        for number, feature in enumerate(found):
            prefix = self._prefixes[number] if self._prefixes else None
            if feature.dim() == 3 and prefix is not None:
                found[number] = TokenGrid(prefix).to_map(feature, size)
            elif is_channels_last(feature, images, self._channels_last):
                found[number] = feature.permute(0, 3, 1, 2)
        return tuple(found)

    def train(self, mode: bool = True) -> PyramidBackbone:
        """Switch the mode; frozen stages and, if asked, batch norms stay in eval mode."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        if mode and self.norm_eval:
            for module in self.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


@loads_initial_weights("checkpoint")
class TorchvisionBackbone(PyramidBackbone):
    """A torchvision classifier without its head.

    Args:
        name: Name of the model for ``torchvision.models.get_model``.
        nodes: Modules whose outputs make the pyramid, fine to coarse, such as
            ``features.3``; ``torchvision.models.feature_extraction.get_graph_node_names``
            lists them.
        checkpoint: File or URL of weights for the whole classifier; ``None`` starts at random.
        frozen: How many leading children of ``features`` are not trained.
        norm_eval: Keep batch norms in eval mode in training.

    Raises:
        kd_core.checkpoint.CheckpointError: If the checkpoint does not fit, strictly.
        ValueError: If ``frozen`` is negative or more than there are children of ``features``.
    """

    def __init__(
        self,
        name: str,
        nodes: Sequence[str],
        checkpoint: str | None = None,
        frozen: int = 0,
        norm_eval: bool = False,
    ) -> None:
        model = _loaded(get_model(name, weights=None), checkpoint)
        body = create_feature_extractor(model, {node: str(i) for i, node in enumerate(nodes)})
        stages = _leading_stages(body, name, frozen) if frozen else []
        swin = isinstance(model, SwinTransformer)
        super().__init__(body, stages, norm_eval, swin, [prefix_of(model, one) for one in nodes])


@loads_initial_weights("checkpoint")
class TimmBackbone(PyramidBackbone):
    """A timm classifier without its head.

    Args:
        name: Name for ``timm.create_model``, such as ``tf_efficientnet_lite0``.
        nodes: Modules whose outputs make the pyramid, fine to coarse, such as ``blocks.1``;
            ``timm.models.get_graph_node_names`` lists them.
        checkpoint: File or URL of weights for the whole classifier; ``None`` starts at random.
        frozen: Modules that are not trained, such as ``conv_stem`` and ``blocks.0``.
        norm_eval: Keep batch norms in eval mode in training.
        options: More arguments for the model.

    Raises:
        ImportError: If timm is not installed.
        kd_core.checkpoint.CheckpointError: If the checkpoint does not fit, strictly.
        ValueError: If timm has no such model or option, or the model no such node or module.
    """

    def __init__(
        self,
        name: str,
        nodes: Sequence[str],
        checkpoint: str | None = None,
        frozen: Sequence[str] = (),
        norm_eval: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        model = _loaded(timm_model(name, options or {}), checkpoint)
        from timm.models import create_feature_extractor as trace  # knows what cannot be traced

        _require_modules(model, name, nodes=nodes, frozen=frozen)
        body = trace(model, {node: str(i) for i, node in enumerate(nodes)})
        _require_modules(body, f"{name} up to {nodes[-1]}", frozen=frozen)
        super().__init__(
            body,
            [body.get_submodule(one) for one in frozen],
            norm_eval,
            getattr(model, "output_fmt", "NCHW") == "NHWC",
            [prefix_of(model, one) for one in nodes],
        )


class BackboneTeacher(BaseModule):  # type: ignore[misc]
    """A backbone alone, as the teacher of a detector's backbone or neck.

    It has no neck and no head: terms read ``backbone[0]``, ``backbone[1]``, ... of it.

    Args:
        backbone: Config of any backbone of mmdet, or of ``kd_det.TimmBackbone`` or
            ``kd_det.TorchvisionBackbone``.
        mean: Mean of each channel that its images are normalized with, of values from 0 to 255;
            the default is ImageNet's.
        std: Deviation of each channel.
        bgr_to_rgb: Whether it takes RGB; images are loaded as BGR.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        bgr_to_rgb: bool = True,
    ) -> None:
        super().__init__()
        self.data_preprocessor = DetDataPreprocessor(
            mean=list(mean), std=list(std), bgr_to_rgb=bgr_to_rgb
        )
        self.backbone = MODELS.build(dict(backbone))

    def forward(self, images: Tensor, *_: Any, **__: Any) -> tuple[Tensor, ...]:
        """Return the backbone's maps.

        Args:
            images: Batch (N, 3, H, W), normalized for it.
        """
        found: tuple[Tensor, ...] = self.backbone(images)
        return found


def whole_teacher(reference: Mapping[str, Any], name: str = "teacher") -> dict[str, Any]:
    """Return what a config says of a teacher, with a backbone alone as a :class:`BackboneTeacher`.

    Args:
        reference: ``dict(config=, checkpoint=, ...)``, or the short form of a backbone:
            ``dict(backbone=)`` with any of ``mean``, ``std``, ``bgr_to_rgb``, ``scale`` and
            ``precision``.
        name: Its key in the model config, for the message.

    Raises:
        ValueError: If the short form has another key.
    """
    if "backbone" not in reference:
        return dict(reference)
    own = {key: one for key, one in reference.items() if key in _OF_BACKBONE_TEACHER}
    shared = {key: one for key, one in reference.items() if key in ("scale", "precision")}
    if more := sorted(set(reference) - set(own) - set(shared)):
        raise ValueError(
            f"{name} is a backbone alone, which may have {', '.join(_OF_BACKBONE_TEACHER[1:])}, "
            f"scale and precision, but it has {', '.join(more)}. Weights belong to the backbone: "
            "its checkpoint, or its init_cfg. Leave out backbone for a teacher with a config."
        )
    return {"config": {"type": "kd_det.BackboneTeacher", **own}, "checkpoint": None, **shared}


def _loaded(model: nn.Module, checkpoint: str | None) -> nn.Module:
    if checkpoint is not None:
        load_weights(model, read_weights(checkpoint), source=checkpoint)
    return model


def _require_modules(model: nn.Module, name: str, **asked: Sequence[str]) -> None:
    known = [path for path, _ in model.named_modules() if path]
    for argument, paths in asked.items():
        for path in paths:
            if path not in known:
                near = difflib.get_close_matches(path, known, n=5) or known[:5]
                raise ValueError(
                    f"{argument} must name modules of {name}, but it has no {path!r}. The nearest "
                    f"names: {', '.join(near)}."
                )


def _leading_stages(body: nn.Module, name: str, count: int) -> list[nn.Module]:
    if not isinstance(features := getattr(body, "features", None), nn.Module):
        raise ValueError(f"frozen must be 0, because {name} has no 'features', but it is {count}.")
    stages = list(features.children())
    if not 0 <= count <= len(stages):
        raise ValueError(f"frozen must be from 0 to {len(stages)}, but it is {count}.")
    return stages[:count]
