"""Tensors in what a detector predicts or outputs, of whatever kind, to compare two of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_core.layers import tensors_in

_CLOSE = 1e-4  # pixels, scores; on a CPU the two are equal


def predict(model: nn.Module, batch: Mapping[str, Any]) -> list[Any]:
    """Predict as ``test_step`` does, but with the proposals of the detector's own RPN.

    mmdet takes proposals that come with the samples, as random ones have them, for the RPN's;
    they are for detectors without one.

    Args:
        model: A detector.
        batch: Images and samples, as a data loader yields them.

    Returns:
        The samples with what was predicted.
    """
    detector: Any = model
    if getattr(model, "rpn_head", None) is not None:
        samples = [_without_proposals(sample) for sample in batch["data_samples"]]
        batch = {**batch, "data_samples": samples}
    found: list[Any] = detector.test_step(batch)
    return found


def predictions(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Predict one image after the other; the model's modes stay as they are.

    mmdet's configs test single images, and Guided Anchoring can do no more.

    Args:
        model: A detector in eval mode.
        batch: Images and samples, as a data loader yields them.

    Returns:
        Place, such as ``image 0: pred_instances.bboxes``, to what was predicted there: boxes,
        scores, labels, masks, panoptic maps.
    """
    samples = []
    for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
        one = {"inputs": [image], "data_samples": [copy.deepcopy(sample)]}
        with torch.no_grad():
            samples += predict(model, one)
    return {
        f"image {number}: {field}.{key}": tensor
        for number, sample in enumerate(samples)
        for field, part in sample.items()
        if field.startswith("pred_")
        for key, tensor in _tensors(part.items())
    }


def raw_outputs(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return what the heads of a detector in eval mode output, before it becomes boxes."""
    detector: Any = model
    with torch.no_grad():
        data = detector.data_preprocessor(copy.deepcopy(batch), False)
        return dict(tensors_in(detector(**data, mode="tensor"), "output"))


def require_same(
    plain: Mapping[str, Tensor], distilled: Mapping[str, Tensor], verb: str = "predict"
) -> int:
    """Require that two models output the same.

    Args:
        plain: Place to tensor, of the plain model.
        distilled: The same of the distilled one.
        verb: What they do, for the message.

    Returns:
        Number of values compared.

    Raises:
        ValueError: If they differ in a place, a shape or a value.
    """
    rule = f"plain mmdet must {verb} what the distilled model {verb}s"
    if plain.keys() != distilled.keys():
        other = sorted(plain.keys() ^ distilled.keys())
        raise ValueError(f"{rule}, but only one of them has {', '.join(other[:4])}.")
    for place, one in plain.items():
        other_one = distilled[place]
        if one.shape != other_one.shape:
            raise ValueError(
                f"{rule}, but at {place} one has {tuple(one.shape)} and the distilled one "
                f"{tuple(other_one.shape)}."
            )
        difference = (one.double() - other_one.double()).abs().nan_to_num(0.0)
        apart = one.isnan() != other_one.isnan()
        if one.numel() and (float(difference.max()) > _CLOSE or bool(apart.any())):
            raise ValueError(f"{rule}, but {place} differs by up to {float(difference.max()):.3g}.")
    return sum(tensor.numel() for tensor in plain.values())


def of_every_score(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model config that keeps boxes of every score, so that there are some to compare."""
    if not model.get("test_cfg"):
        return dict(model)
    return {**model, "test_cfg": _without_threshold(model["test_cfg"])}


def _without_proposals(sample: Any) -> Any:
    if "proposals" not in sample:
        return sample
    own = copy.deepcopy(sample)
    del own.proposals
    return own


def _without_threshold(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {
        key: 0.0 if key == "score_thr" else _without_threshold(value)
        for key, value in content.items()
    }


def _tensors(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Tensor]]:
    for key, value in items:
        found = getattr(value, "tensor", getattr(value, "masks", value))  # boxes, bitmaps
        if isinstance(found, np.ndarray) and found.dtype != object:
            found = torch.from_numpy(found)
        if isinstance(found, Tensor):
            yield key, found
