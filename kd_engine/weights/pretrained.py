"""Pretrained weights of a part, ``init_cfg=dict(type="Pretrained", ...)``: complete or an error.

mmengine loads what happens to fit and logs the rest, so that a file of another network leaves a
backbone random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from kd_core.checkpoint.load import CheckpointError, state_dict_of
from kd_core.checkpoint.part import load_part
from kd_engine.weights.source import TRAINING_ONLY

_LOADED = "_kd_pretrained"  # set on a module whose file was loaded here
_ENOUGH = 0.5  # share of a module's parameters that must come from the file


class Pretrained(PretrainedInit):  # type: ignore[misc]
    """Initialize a module from a file, strictly: see :func:`kd_core.checkpoint.part.load_part`.

    Args:
        checkpoint: File, URL, or a name such as ``torchvision://resnet18``.
        prefix: Take only the keys that begin with this, without it.
        map_location: Device of the tensors.
        allow_partial: Load what fits, and warn about the rest.
        key: Entry of the file that holds the weights.

    Raises:
        kd_core.checkpoint.CheckpointError: When called, if the weights do not fill the module.
    """

    def __init__(
        self,
        checkpoint: str,
        prefix: str | None = None,
        map_location: str = "cpu",
        allow_partial: bool = False,
        key: str | None = None,
    ) -> None:
        super().__init__(checkpoint, prefix, map_location)
        self.allow_partial, self.key = allow_partial, key


def use_strict_pretrained() -> None:
    """Make mmengine's ``Pretrained`` strict in this process; repeated calls change nothing."""
    PretrainedInit.__call__ = _load  # for configs that name the class itself
    WEIGHT_INITIALIZERS.register_module(name="Pretrained", module=Pretrained, force=True)


def require_pretrained(model: nn.Module) -> list[str]:
    """Require that every part with a ``Pretrained`` was filled when the weights were initialized.

    mmdet's transformers read their file themselves. Half of their parameters must be values of the
    file.

    Args:
        model: A model after its ``init_weights``.

    Returns:
        A line for each part.

    Raises:
        kd_core.checkpoint.CheckpointError: If a part was not filled.
    """
    lines = []
    for name, module, options in _pretrained_parts(model):
        checkpoint = str(options["checkpoint"])
        if not hasattr(module, _LOADED) and not options.get("allow_partial"):
            _require_values(name, module, checkpoint)
        lines.append(f"{name or 'the model'}: {checkpoint}")
    return lines


def pretrained_files(model: nn.Module) -> list[str]:
    """List the files that a model's parts with a ``Pretrained`` name."""
    return [str(options.get("checkpoint")) for _, _, options in _pretrained_parts(model)]


def _load(self: Any, module: nn.Module) -> None:
    content = CheckpointLoader.load_checkpoint(self.checkpoint, map_location=self.map_location)
    try:
        weights = state_dict_of(content, getattr(self, "key", None), self.prefix)
    except CheckpointError as error:
        raise CheckpointError(f"{self.checkpoint}: {error}") from error
    report = load_part(
        module,
        weights,
        source=self.checkpoint,
        allow_partial=getattr(self, "allow_partial", False),
        optional=tuple(_plugins(module)),
        ignore=TRAINING_ONLY,
    )
    object.__setattr__(module, _LOADED, True)
    text = f"{type(module).__name__} starts from {self.checkpoint}: {len(report.loaded)} keys"
    for what, keys in (("without", report.missing), ("the file also has", report.unexpected)):
        text += f", {what} {', '.join(key for key, _ in keys[:4])}" if keys else ""
        text += f" and {len(keys) - 4} more" if len(keys) > 4 else ""
    print_log(text, "current")
    if hasattr(module, "_params_init_info"):
        update_init_info(module, init_info=self._get_init_info())


def _plugins(module: nn.Module) -> Iterator[str]:
    """Yield the prefixes of the layers that mmdet's ``plugins`` add to a backbone's blocks."""
    for path, part in module.named_modules():
        for attribute, names in vars(part).items():
            if attribute.endswith("plugin_names") and isinstance(names, list | tuple):
                yield from (f"{path}.{name}." if path else f"{name}." for name in names)


def _pretrained_parts(model: nn.Module) -> Iterator[tuple[str, nn.Module, Mapping[str, Any]]]:
    for name, module in model.named_modules():
        found = getattr(module, "init_cfg", None) or []
        for options in [found] if isinstance(found, Mapping) else found:
            if options.get("type") in ("Pretrained", Pretrained, PretrainedInit):
                yield name, module, options


def _require_values(name: str, module: nn.Module, checkpoint: str) -> None:
    """Require that most parameters of a module are values of a file, whatever their names."""
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    values: dict[Any, list[Tensor]] = {}
    for value in state_dict_of(content).values():
        if isinstance(value, Tensor):
            values.setdefault(value.shape, []).append(value)
    parameters = list(module.parameters())
    found = sum(any(bool((one == own.detach().cpu()).all()) for one in values.get(own.shape, ()))
                for own in parameters)  # fmt: skip
    if found < _ENOUGH * len(parameters):
        raise CheckpointError(
            f"{checkpoint} must fill {name} ({type(module).__name__}), but {found} of its "
            f"{len(parameters)} parameters are values of the file. Give the file that belongs to "
            "it (convert_weights=True reads names of the original program), or allow_partial=True "
            "in its init_cfg."
        )
