"""Pretrained weights of a part, ``init_cfg=dict(type="Pretrained", ...)``: complete or an error.

mmengine loads what happens to fit and logs the rest, so that a file of another network leaves a
backbone random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from kd_core.checkpoint.load import CheckpointError, state_dict_of
from kd_core.checkpoint.part import is_neutral, load_part
from kd_engine.weights.source import TRAINING_ONLY

_LOADED = "_kd_pretrained"  # of a module whose file was loaded here: keys and marks of its values
_MORE = "_kd_pretrained_more"  # first parts of the keys that the file has besides
_ADDED = ".rfp_conv."  # mmdet's DetectoRS adds it to each block, and draws it
_SHOWN = 4
_TYPES = ("Pretrained", PretrainedInit)
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


def initialize_strictly(model: Any) -> list[str]:
    """Initialize a model, and require that every part with a ``Pretrained`` was filled by its file.

    mmdet's transformers read their file themselves: what they miss in it is found, and half of
    their parameters must be values of it. Some heads, such as YOLOX's, load their file and then
    draw a part of the weights anew.

    Args:
        model: A model; one without ``init_weights`` stays as it is.

    Returns:
        A line for each part.

    Raises:
        kd_core.checkpoint.CheckpointError: If a part was not filled; names the keys.
    """
    missed: dict[nn.Module, list[str]] = {}
    hooks = [
        part.register_load_state_dict_post_hook(_note_missing(missed))
        for _, part, _ in _pretrained_parts(model)
    ]
    try:
        if hasattr(model, "init_weights"):
            model.init_weights()
    except LookupError as error:  # mmdet's Swin, of a file without any key that it knows
        files = [_file(options) for _, _, options in _pretrained_parts(model)]
        raise CheckpointError(
            f"the files of {', '.join(files)} must fill the parts that name them in init_cfg, but "
            f"one could not be read ({error!r}). Give the file that belongs to the part "
            "(convert_weights=True reads names of the original program)."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return _require_filled(model, missed)


def has_pretrained(model: nn.Module) -> bool:
    """Return whether a part of a model has a ``Pretrained``, and is to be filled by a file."""
    return next(_pretrained_parts(model), None) is not None


def _note_missing(missed: dict[nn.Module, list[str]]) -> Callable[[nn.Module, Any], None]:
    def note(module: nn.Module, keys: Any) -> None:
        missed[module] = [key for key in keys.missing_keys if "num_batches_tracked" not in key]

    return note


def _require_filled(model: nn.Module, missed: Mapping[nn.Module, list[str]]) -> list[str]:
    parts = list(_pretrained_parts(model))
    read = {mark for _, module, _ in parts for mark in getattr(module, _LOADED, {}).values()}
    for name, module, options in parts:
        if options.get("allow_partial"):
            continue
        if not hasattr(module, _LOADED):
            _require_values(name, module, _file(options), missed.get(module, []))
        elif anew := [
            key for key, now in _marks(module, getattr(module, _LOADED)).items() if now not in read
        ]:
            raise CheckpointError(
                f"{_file(options)} must start {name}, but {type(module).__name__} sets "
                f"{_some(anew)} anew after the file was loaded. Leave its init_cfg out, and give "
                "load_from, or let the student inherit the part from its teacher "
                f"(model.inherit={[name]}): both come after all initialization."
            )
    return [
        f"{name or 'the model'}: {_described(module, options)}" for name, module, options in parts
    ]


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
    object.__setattr__(module, _LOADED, _marks(module, report.loaded))
    object.__setattr__(
        module, _MORE, list(dict.fromkeys(k.split(".")[0] for k, _ in report.unexpected))
    )
    text = f"{type(module).__name__} starts from {self.checkpoint}: {len(report.loaded)} keys"
    for what, keys in (("without", report.missing), ("the file also has", report.unexpected)):
        text += f", {what} {_some([key for key, _ in keys])}" if keys else ""
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
        listed = [found] if isinstance(found, Mapping) else list(found)
        named = [options for options in listed if options.get("type") in _TYPES]
        if not named and isinstance(module, BaseModule):  # mmdet's DetectoRS keeps the name alone
            path = getattr(module, "pretrained", None)
            named = [{"checkpoint": path}] if isinstance(path, str) else []
        yield from ((name, module, options) for options in named)


def _file(options: Mapping[str, Any]) -> str:
    return str(options.get("checkpoint"))


def _described(module: nn.Module, options: Mapping[str, Any]) -> str:
    """Return the file of a part; where a prefix took a part of it, also what has no place here."""
    more, prefix = getattr(module, _MORE, ()), options.get("prefix")
    return _file(options) + (f", whose {prefix} also has {_some(more)}" if more and prefix else "")


def _marks(module: nn.Module, keys: Iterable[str]) -> dict[str, tuple[int, float, float]]:
    """Return marks of values: another value of the same tensor has another mark."""
    state = module.state_dict(keep_vars=True)
    found = {}
    for key in keys:
        value = state[key].detach().double()
        found[key] = (id(state[key]), float(value.sum()), float(value.abs().sum()))
    return found


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{', '.join(keys[:_SHOWN])}{more}"


def _require_values(name: str, module: nn.Module, checkpoint: str, missed: Sequence[str]) -> None:
    """Require that a module which read its file itself has missed nothing in it.

    Most parameters must be values of the file, whatever their names.
    """
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    values: dict[Any, list[Tensor]] = {}
    for value in state_dict_of(content).values():
        if isinstance(value, Tensor):
            values.setdefault(value.shape, []).append(value)
    own = dict(module.named_parameters())
    found = [
        key
        for key, mine in own.items()
        if any(bool((one == mine.detach().cpu()).all()) for one in values.get(mine.shape, ()))
    ]
    state = module.state_dict(keep_vars=True)
    needed = [key for key in missed if key in state and _ADDED not in key]
    absent = [key for key in needed if not is_neutral(state[key])]
    if absent or len(found) < _ENOUGH * len(own):
        other = [key for key in own if key not in found]
        raise CheckpointError(
            f"{checkpoint} must fill {name} ({type(module).__name__}), but {len(found)} of its "
            f"{len(own)} parameters are values of the file. It lacks {_some(absent or other)}. "
            "Give the file that belongs to it (convert_weights=True reads names of the original "
            "program), or allow_partial=True in its init_cfg."
        )
