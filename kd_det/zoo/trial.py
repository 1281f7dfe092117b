"""Trial of one family: plain mmdet first, then the same model distilled by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from kd_core.layers import tensors_in
from kd_det.checks.masks import wants_masks
from kd_det.outputs import of_every_score, predictions, require_same
from kd_det.probe import fixed_image_size
from kd_det.zoo.samples import full_batch
from kd_engine.build import TRAINING_ONLY, without_weight_files
from kd_engine.config.file import read_config
from kd_engine.config.preprocessor import preprocessed_model
from kd_engine.data.required import dataset_parts
from kd_engine.run.run_length import set_training_position
from kd_engine.run.seeding import seed_all

YES, NO, NOT_TRIED = "yes", "no", "-"
_SIZES = [(128, 128), (112, 128)]  # pixels, so that a batch has padding
_QUERIES = 100  # of a DETR, at most
_BOXES = 20  # that a ROI head samples and a detector predicts, at most: they cost most of the time
_LOSSES = {"hmat": "HMATLoss", "asckd": "ASCKDLoss", "pkd": "PearsonFeatureLoss"}
_COUNTS = ("num", "num_proposals", "max_per_img", "nms_pre")
Note = Callable[[str], None]


def try_family(name: str, note: Note) -> dict[str, str]:
    """Try a config's model; see :func:`try_model`.

    Args:
        name: Name of a config, such as ``mmdet::atss/atss_r50_fpn_1x_coco.py``.
        note: Gets the name of each step before it begins.
    """
    try:
        config = read_config(name)
        model = tiny_model(config)
    except ImportError as error:
        return _row(NO) | {"reason": f"needs a package: {error}"}
    except Exception as error:
        return _row(NO) | {"reason": f"mmdet's own: {_short(error)}"}
    return try_model(model, note, trains_masks(config), one_size(config))


def try_model(
    model: Mapping[str, Any], note: Note, masks: bool = False, alike: bool = False
) -> dict[str, str]:
    """Train, distil and predict with a model, of random weights, on two small images.

    Args:
        model: Its config.
        note: Gets the name of each step before it begins.
        masks: Give it masks.
        alike: Give it images of one size, as YOLACT and RTMDet-Ins need.

    Returns:
        ``trains``, ``distils`` and ``predicts``, each "yes", "no", or "-" where it was not tried,
        and ``reason`` for what is not "yes".
    """
    row = _row(NO)
    try:
        init_default_scope("mmdet")
        note("plain mmdet, building")
        plain = _build(model)
        own = {key: value.clone() for key, value in plain.state_dict().items()}
        fixed = fixed_image_size(plain)
        sizes = [fixed or _SIZES[0]] * 2 if fixed or alike else _SIZES
        batch = full_batch(sizes, masks)
        layers = _levels(plain, batch)
        note("plain mmdet, one training step")
        losses = _losses(plain, batch)
        _backward(plain, losses)
    except Exception as error:
        return row | {"reason": f"mmdet's own: {_short(error)}"}
    row["trains"] = YES
    trained_keys = set(plain.state_dict())
    expected, fault = _predicted(plain, own, batch, note)
    if fault:
        row["reason"] = f"mmdet's own, in its prediction: {fault}"
    del plain
    try:
        note("kdkit, building")
        size = max(image.shape[1:] for image in batch["inputs"])
        distilled = _build(distilled_model(model, layers, tuple(size)))
        distilled.load_state_dict(own, strict=False)
        if expected is not None:
            note("kdkit, predicting")
            row["predicts"] = NO
            require_same(expected, predictions(_eval(distilled), batch))
            row["predicts"] = YES
        row["distils"] = NO
        note("kdkit, one training step")
        _require_distils(distilled, batch, losses)
        _require_keys(distilled, trained_keys)
    except Exception as error:
        return row | {"reason": _short(error)}
    return row | {"distils": YES}


def _row(trains: str) -> dict[str, str]:
    return {"trains": trains, "distils": NOT_TRIED, "predicts": NOT_TRIED, "reason": ""}


def trains_masks(config: Config) -> bool:
    """Return whether a config's training pipeline loads masks."""
    return any(wants_masks(one) or "LoadPanoptic" in str(one) for one in _pipelines(config))


def one_size(config: Config) -> bool:
    """Return whether a config's training pipeline makes all images of one size."""
    steps = [step for one in _pipelines(config) for step in one or []]
    stretched = any(step["type"] == "Resize" and not step.get("keep_ratio") for step in steps)
    return stretched or any(step["type"] == "Pad" and step.get("size") for step in steps)


def _pipelines(config: Config) -> list[Any]:
    loader = config.get("train_dataloader") or {}
    return [part.get("pipeline") for part in dataset_parts(loader.get("dataset") or {})]


def tiny_model(config: Config) -> dict[str, Any]:
    """Return a config's model without files of weights, for small images."""
    model = preprocessed_model(config).to_dict()
    if isinstance(path := model.get("teacher_config"), str):  # of LD, from mmdet's repository
        model["teacher_config"] = read_config(f"mmdet::{path.removeprefix('configs/')}").to_dict()
    if model.get("num_queries", 0) > _QUERIES:  # DINO's 900 are more than small images have cells
        model["num_queries"] = _QUERIES
    for augment in (model.get("data_preprocessor") or {}).get("batch_augments") or []:
        if "size" in augment:
            augment["size"] = _SIZES[0]
    _limit_boxes(model)
    return of_every_score(without_weight_files(model))


def distilled_model(
    model: Mapping[str, Any], layers: list[str], size: tuple[int, ...]
) -> dict[str, Any]:
    """Return the config of a model that HMAT, ASCKD and PKD distil by itself.

    Args:
        model: Its plain config.
        layers: Selectors of feature maps, fine to coarse.
        size: Height and width in pixels of the dry run.
    """
    roles = {"low": layers[0], "mid": layers[1:-1] or layers[:1], "high": layers[-1]}
    return dict(
        type="kd_det.DistilledDetector",
        student=copy.deepcopy(dict(model)),
        teacher=dict(config=copy.deepcopy(dict(model)), checkpoint=None),
        terms={
            name: dict(
                loss=dict(type=f"kd_core.losses.{loss}"), layers=roles if name == "hmat" else layers
            )
            for name, loss in _LOSSES.items()
        },
        dry_run_size=size,
    )


def _limit_boxes(node: Any) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in _COUNTS and isinstance(value, int):
            node[key] = min(value, _BOXES)
        elif isinstance(value, dict | list):
            _limit_boxes(value)


def _build(model: Mapping[str, Any]) -> Any:
    seed_all(0)
    built: Any = MODELS.build(ConfigDict(copy.deepcopy(dict(model))))
    built.init_weights()
    if hasattr(built, "distiller"):
        seed_all(1)  # so that the teacher is another network
        built.distiller.teacher.model.init_weights()
    return built.to(get_device())


def _eval(model: nn.Module) -> nn.Module:
    model.eval()  # some models' eval() returns nothing
    return model


def _levels(model: Any, batch: Mapping[str, Any]) -> list[str]:
    """Return selectors of the maps of the neck, or of the backbone where there is no neck."""
    root = "neck" if getattr(model, "neck", None) is not None else "backbone"
    found: list[tuple[str, Tensor]] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        found.extend(tensors_in(output, root))

    handle = getattr(model, root).register_forward_hook(keep)
    try:
        with torch.no_grad():
            images = model.data_preprocessor(copy.deepcopy(batch), False)["inputs"]
            _eval(model)
            model.extract_feat(images)
    finally:
        handle.remove()
    return [selector for selector, tensor in found if tensor.dim() == 4]


def _losses(model: Any, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return each summed loss of a training forward on the batch."""
    seed_all(2)
    set_training_position(0, 1, 1)
    model.train()
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    losses = model(**data, mode="loss")
    found = {
        key: sum(item.mean() for item in (value if isinstance(value, list | tuple) else [value]))
        for key, value in losses.items()
        if "loss" in key
    }
    bad = [key for key, value in found.items() if not value.isfinite()]
    if bad:
        raise FloatingPointError(f"{', '.join(bad)} is not finite")
    return found


def _backward(model: nn.Module, losses: Mapping[str, Tensor]) -> None:
    model.zero_grad()
    torch.stack([value.reshape(()) for value in losses.values()]).sum().backward()


def _predicted(
    plain: nn.Module, own: Mapping[str, Tensor], batch: Mapping[str, Any], note: Note
) -> tuple[dict[str, Tensor] | None, str]:
    """Return what the plain model predicts with its initial weights, or why it cannot."""
    note("plain mmdet, predicting")
    try:
        plain.load_state_dict(own, strict=False)
        return predictions(_eval(plain), batch), ""
    except Exception as error:
        return None, _short(error)


def _require_distils(model: Any, batch: Mapping[str, Any], plain: Mapping[str, Tensor]) -> None:
    losses = _losses(model, batch)
    terms = {key: value for key, value in losses.items() if key not in plain}
    missing = [name for name in _LOSSES if not any(key.startswith(f"loss_{name}") for key in terms)]
    if missing or not all(value.item() > 0 for value in terms.values()):
        values = {key: round(value.item(), 6) for key, value in terms.items()}
        raise ValueError(f"each term must be above 0, but they are {values}, without {missing}")
    other = [
        key for key, value in plain.items() if not torch.equal(value.detach(), losses[key].detach())
    ]
    if other:
        raise ValueError(f"its own losses differ from plain mmdet's: {', '.join(other[:3])}")
    trained = [p for p in model.backbone.parameters() if p.requires_grad]
    total = torch.stack(list(terms.values())).sum()
    found = torch.autograd.grad(total, trained, retain_graph=True, allow_unused=True)
    if not any(one is not None and bool(one.any()) for one in found):
        raise ValueError("no gradient of the terms reaches the backbone")
    _backward(model, losses)


def _require_keys(model: nn.Module, plain: set[str]) -> None:
    ours = {key for key in model.state_dict() if not key.startswith(TRAINING_ONLY)}
    if other := sorted(ours ^ plain):
        raise ValueError(f"its keys differ from plain mmdet's: {', '.join(other[:4])}")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text if len(text) < 240 else text[:237] + '...'}"
