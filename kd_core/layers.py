"""Layer paths (selectors), and the forward hooks that read the selected layers' outputs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kd_core.tokens import as_levels

Features = Tensor | list[Tensor]  # of one layer, or of several levels

_SELECTOR = re.compile(r"(?P<module>\w+(?:\.\w+)*|)(?P<keys>(?:\[[^\[\]]+\])*)")
_KEY = re.compile(r"(?P<index>-?\d+)|(?P<first>-?\d*):(?P<last>-?\d*)|(?P<name>[\w.-]+)")
_OUTPUT = ("", "output")  # the model's own output, unless it has a child of that name
_INPUT = ".input"  # end of a path: a layer's arguments, unless it has a child of that name
_SHOWN = 8


@dataclass(frozen=True)
class LayerPath:
    """Selector: a layer's dotted path, and items of its output; :meth:`parse` makes one.

    ``backbone.layer3`` is a module's output, ``neck[0]`` an item of it and ``neck[1:4]`` several,
    ``backbone[feat]`` an entry of a dict or a named tuple, and ``head[0][1]`` an item of an item.
    ``output`` is the output of the model itself. ``head.input[1]`` is the second argument that
    ``head`` is called with, and ``head.input[mask]`` the one of that name; numbers become tensors.
    """

    text: str
    module: str
    keys: tuple[int | slice | str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LayerPath:
        """Read a selector such as ``backbone.layer3``, ``neck[0]`` or ``backbone[feat]``.

        Raises:
            ValueError: If the text is not of that form.
        """
        match = _SELECTOR.fullmatch(text.strip())
        found = [_KEY.fullmatch(key) for key in match["keys"][1:-1].split("][")] if match else []
        keys = tuple(_key(one) for one in found if one)
        if match is None or (match["keys"] and not all(found)):
            raise ValueError(
                "a layer selector must read like 'backbone.layer3', 'neck[0]', 'neck[1:4]', "
                f"'backbone[feat]' or 'head[0][1]', but it is {text!r}."
            )
        return cls(f"{match['module'] or 'output'}{match['keys']}", match["module"], keys)

    def pick(self, output: Any) -> Features:
        """Select from a module's output.

        Args:
            output: Output of the module: a tensor, or tuples, lists and dicts of tensors.

        Returns:
            The selected tensor, or a list of tensors if several are selected.

        Raises:
            ValueError: If the output has no such item, or the item does not consist of tensors.
        """
        picked = output
        for depth, key in enumerate(self.keys):
            picked = _item(picked, key, self.text, _name(self.text, depth))
        several = isinstance(picked, tuple | list)
        tensors = list(picked) if several else [picked]
        if not tensors or not all(isinstance(item, Tensor) for item in tensors):
            raise ValueError(
                f"{self.text!r} must select tensors, but {_name(self.text, 0)!r} returns "
                f"{_describe(output)}.{_instead(output, _name(self.text, 0), self.text)}"
            )
        return tensors if several else tensors[0]


def find_layer(model: nn.Module, selector: LayerPath, whose: str) -> nn.Module:
    """Return the module of a model that a selector names.

    Raises:
        ValueError: If there is none; says of which model, by ``whose`` ("student" or "teacher"),
            and shows the nearest names.
    """
    if (found := _at(model, selector.module)) is not None:
        return found
    names = [name for name, _ in model.named_modules() if name]
    near = difflib.get_close_matches(selector.module, names, n=5, cutoff=0.4)
    near = near or [name for name in names if "." not in name]
    raise ValueError(
        f"the {whose} ({type(model).__name__}) has no layer {selector.module!r}. "
        f"Nearest names: {', '.join(near)}. kdkit layers prints all of them."
    )


class FeatureHooks:
    """Forward hooks that keep the outputs of some layers of a model, until they are cleared.

    Args:
        model: The model.
        selectors: Which layers; each path gets one forward hook.
        whose: "student" or "teacher", for messages.

    Raises:
        ValueError: If a selector names no layer of the model.
    """

    def __init__(self, model: nn.Module, selectors: Iterable[LayerPath], whose: str) -> None:
        self.whose = whose
        self.active = False
        self._outputs: dict[str, list[Any]] = {}  # of each run
        self._versions: dict[str, list[list[int]]] = {}
        self._layers: dict[str, nn.Module] = {}
        self._handles: dict[str, RemovableHandle] = {}
        self._selectors = {selector.module: selector for selector in selectors}
        self.register(model)

    def register(self, model: nn.Module) -> None:
        """Hook the layers that have the paths now.

        Conversions such as SyncBN replace modules under the same name, so this is called
        before every step; layers that are still the same keep their hook.
        """
        moved = {
            path: find_layer(model, selector, self.whose)
            for path, selector in self._selectors.items()
            if path not in self._layers or _at(model, path) is not self._layers[path]
        }
        for path, layer in moved.items():
            if path in self._handles:
                self._handles[path].remove()
            self._layers[path] = layer
            keep = _Keep(self, path, _reads_input(model, path))
            self._handles[path] = layer.register_forward_hook(keep, with_kwargs=True)

    def keep(self, path: str, output: Any) -> None:
        """Store one layer's output; called by the hook, each time that the layer runs."""
        self._outputs.setdefault(path, []).append(output)
        self._versions.setdefault(path, []).append(_versions(output))

    def read(self, selectors: Sequence[LayerPath]) -> Features:
        """Return the selected outputs: one tensor, or a flat list if several are selected.

        A layer that ran several times, such as a head of all levels, gives the selected items of
        each run, in order.

        Raises:
            ValueError: If a layer did not run, or its output changed in place after it ran.
        """
        picked: list[Features] = []
        for selector in selectors:
            layer = f"layer {_name(selector.text, 0)!r} of the {self.whose}"
            if not (runs := self._outputs.get(selector.module, [])):
                raise ValueError(
                    f"{layer} did not run in this forward. Select one that it uses in training."
                )
            if [_versions(output) for output in runs] != self._versions[selector.module]:
                raise ValueError(
                    f"the output of {layer} was changed in place by the next layer. "
                    "Select that layer instead."
                )
            picked += [selector.pick(output) for output in runs]
        if len(picked) == 1:
            return picked[0]
        return [item for part in picked for item in levels_of(part)]

    def read_first(self, selectors: Sequence[LayerPath]) -> Features:
        """Return what the first selector gives whose layer ran; see :meth:`read`."""
        return self.read([next((s for s in selectors if s.module in self._outputs), selectors[0])])

    def read_all(
        self, wanted: Mapping[str, Mapping[str, Sequence[LayerPath]]]
    ) -> dict[str, dict[str, Features]]:
        """Read for each term and role; see :meth:`read`."""
        return {
            term: {role: self.read(selectors) for role, selectors in roles.items()}
            for term, roles in wanted.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy: it has no outputs, which belong to one graph."""
        return self.__dict__ | {"_outputs": {}, "_versions": {}}

    def clear(self) -> None:
        """Forget all outputs, so that no graph outlives its step."""
        self._outputs.clear()
        self._versions.clear()

    def remove(self) -> None:
        """Remove all hooks."""
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()
        self._layers.clear()
        self.clear()


def tensors_in(output: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a layer's output, each with its selector; ``name`` is the layer's."""
    if isinstance(output, Tensor):
        yield name, output
    elif isinstance(output, Mapping):
        for key, item in output.items():
            yield from tensors_in(item, f"{name}[{key}]")
    elif isinstance(output, tuple | list):
        for number, item in enumerate(output):
            yield from tensors_in(item, f"{name}[{number}]")


def levels_of(features: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Return a list of features; one tensor gives a list of one."""
    return [features] if isinstance(features, Tensor) else list(features)


class _Keep:
    """Forward hook that can be deep-copied together with its model."""

    def __init__(self, hooks: FeatureHooks, path: str, of_input: bool) -> None:
        self.hooks = hooks
        self.path = path
        self.of_input = of_input

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self.hooks.active:
            found = _arguments(args, kwargs) if self.of_input else as_levels(output, kwargs)
            self.hooks.keep(self.path, found)


def _at(model: nn.Module, path: str) -> nn.Module | None:
    """Return the module at a path; at that of an input, the module that is called with it."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        if path.endswith(_INPUT):
            return _at(model, path.removesuffix(_INPUT))
        return model if path in _OUTPUT else None


def _reads_input(model: nn.Module, path: str) -> bool:
    return path.endswith(_INPUT) and _at(model, path) is _at(model, path.removesuffix(_INPUT))


def _arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[int | str, Any]:
    known: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    return {k: torch.as_tensor(v) if isinstance(v, int | float) else v for k, v in known.items()}


def _versions(output: Any) -> list[int]:
    return [tensor._version for _, tensor in tensors_in(output, "")]


def _key(match: re.Match[str]) -> int | slice | str:
    if match["index"]:
        return int(match["index"])
    if match["name"]:
        return match["name"]
    return slice(*(int(match[end]) if match[end] else None for end in ("first", "last")))


def _name(text: str, depth: int) -> str:
    """Return the first part of a selector, with this many of its keys."""
    return "[".join(text.split("[")[: depth + 1])


def _item(output: Any, key: int | slice | str, text: str, name: str) -> Any:
    """Return an item of a layer's output; ``name`` is the selector of that output."""
    named = dict(output) if isinstance(output, Mapping) else getattr(output, "_asdict", dict)()
    for known, item in named.items():
        if str(known) == str(key):
            return item
    if isinstance(output, tuple | list):
        if isinstance(key, slice) and (key.stop or 0) <= len(output):
            return list(output[key])
        if isinstance(key, int) and -len(output) <= key < len(output):
            return output[key]
    wanted = text[len(name) :].split("]")[0].lstrip("[")
    raise ValueError(
        f"{text!r} asks for [{wanted}], but {name!r} returns {_describe(output)}."
        f"{_instead(output, name, f'{name}[{wanted}]')}"
    )


def _describe(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"one tensor {tuple(output.shape)}"
    size = f" of {len(output)} items" if isinstance(output, tuple | list | Mapping) else ""
    return f"a {type(output).__name__}{size}"


def _instead(output: Any, name: str, wanted: str) -> str:
    """Return a sentence with the selectors of an output's tensors; of many the nearest ones."""
    found = {part: tuple(tensor.shape) for part, tensor in tensors_in(output, name)}
    near = difflib.get_close_matches(wanted, found, n=_SHOWN, cutoff=0.0)
    shown = [f"{part} {shape}" for part, shape in found.items() if part in near]
    more = f" or one of {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f" Select from {', '.join(shown)}{more}." if found else ""
