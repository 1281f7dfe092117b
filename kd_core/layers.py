"""Layer paths (selectors), and the forward hooks that read the selected layers' outputs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Features = Tensor | list[Tensor]  # of one layer, or of several levels

_SELECTOR = re.compile(r"(?P<path>\w+(?:\.\w+)*)(?:\[(?P<index>-?\d+)?(?P<slice>:-?\d*)?\])?")


@dataclass(frozen=True)
class LayerPath:
    """A layer's dotted path, and which items of a tuple output are meant.

    ``backbone.layer3`` is a module's output; ``neck[0]`` one item of a tuple output and
    ``neck[1:4]`` several. Make one with :meth:`parse`.
    """

    text: str
    module: str
    index: int | slice | None = None

    @classmethod
    def parse(cls, text: str) -> LayerPath:
        """Read a selector such as ``backbone.layer3``, ``neck[0]`` or ``neck[1:4]``.

        Raises:
            ValueError: If the text is not of that form.
        """
        match = _SELECTOR.fullmatch(text.strip())
        if match is None or (text.strip().endswith("[]")):
            raise ValueError(
                f"a layer selector must read like 'backbone.layer3', 'neck[0]' or 'neck[1:4]', "
                f"but it is {text!r}."
            )
        index: int | slice | None = None
        first = match["index"]
        if match["slice"] is not None:
            last = match["slice"][1:]
            index = slice(int(first) if first else None, int(last) if last else None)
        elif first is not None:
            index = int(first)
        return cls(text.strip(), match["path"], index)

    def pick(self, output: Any) -> Features:
        """Select from a module's output.

        Args:
            output: What the module returned: a tensor, or a tuple or list of tensors.

        Returns:
            The tensor meant, or a list of tensors when several are meant.

        Raises:
            ValueError: If the output has no such item or is not made of tensors.
        """
        if self.index is None:
            picked = list(output) if isinstance(output, tuple | list) else output
        elif not isinstance(output, tuple | list):
            raise ValueError(
                f"{self.text!r} asks for items of a tuple, but {self.module!r} returns "
                f"{_describe(output)}. Write {self.module!r} without an index."
            )
        else:
            picked = _items(self, output)
        tensors = levels_of(picked)
        if not tensors or not all(isinstance(item, Tensor) for item in tensors):
            raise ValueError(
                f"{self.text!r} must select tensors, but {self.module!r} returns "
                f"{_describe(output)}."
            )
        return picked


def find_layer(model: nn.Module, selector: LayerPath, whose: str) -> nn.Module:
    """Return the module that a selector names.

    Args:
        model: The model to search.
        selector: What to find.
        whose: "student" or "teacher", for the message.

    Raises:
        ValueError: If there is no such module; the message shows the nearest names.
    """
    names: dict[str, nn.Module] = {name: module for name, module in model.named_modules() if name}
    if selector.module in names:
        return names[selector.module]
    near = difflib.get_close_matches(selector.module, names, n=5, cutoff=0.4)
    if not near:
        near = [name for name in names if "." not in name]
    raise ValueError(
        f"the {whose} ({type(model).__name__}) has no layer {selector.module!r}. "
        f"Nearest names: {', '.join(near)}. kdkit layers prints all of them."
    )


class FeatureHooks:
    """Keep the outputs of some layers of one model, until they are cleared.

    Args:
        model: The model to listen to.
        selectors: Which layers; each path gets one forward hook.
        whose: "student" or "teacher", for messages.

    Raises:
        ValueError: If a selector names no layer of the model.
    """

    def __init__(self, model: nn.Module, selectors: Iterable[LayerPath], whose: str) -> None:
        self.whose = whose
        self.active = False
        self._outputs: dict[str, Any] = {}
        self._versions: dict[str, list[int]] = {}
        self._layers: dict[str, nn.Module] = {}
        self._handles: dict[str, RemovableHandle] = {}
        self._selectors = {selector.module: selector for selector in selectors}
        self.register(model)

    def register(self, model: nn.Module) -> None:
        """Listen to the layers that bear the paths now.

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
            self._handles[path] = layer.register_forward_hook(_Keep(self, path))

    def keep(self, path: str, output: Any) -> None:
        """Store one layer's output; called by the hook."""
        if not self.active:
            return
        if path in self._outputs:
            raise ValueError(
                f"layer {path!r} of the {self.whose} ran twice in one forward, so its output is "
                "ambiguous. Select a layer that runs once, such as the whole neck."
            )
        self._outputs[path] = output
        self._versions[path] = _versions(output)

    def read(self, selectors: Sequence[LayerPath]) -> Features:
        """Return what the selectors pick: one tensor, or a flat list if several are meant.

        Raises:
            ValueError: If a layer did not run, or changed in place after it ran.
        """
        picked: list[Features] = []
        for selector in selectors:
            if selector.module not in self._outputs:
                raise ValueError(
                    f"layer {selector.module!r} of the {self.whose} did not run in this forward. "
                    "Select a layer that the training forward uses."
                )
            output = self._outputs[selector.module]
            if _versions(output) != self._versions[selector.module]:
                raise ValueError(
                    f"the output of layer {selector.module!r} of the {self.whose} was changed in "
                    "place by the layer behind it. Select that layer instead."
                )
            picked.append(selector.pick(output))
        if len(picked) == 1:
            return picked[0]
        return [item for part in picked for item in levels_of(part)]

    def read_all(
        self, wanted: Mapping[str, Mapping[str, Sequence[LayerPath]]]
    ) -> dict[str, dict[str, Features]]:
        """Read for each term and role; see :meth:`read`."""
        return {
            term: {role: self.read(selectors) for role, selectors in roles.items()}
            for term, roles in wanted.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no outputs, for they belong to one graph."""
        return self.__dict__ | {"_outputs": {}, "_versions": {}}

    def clear(self) -> None:
        """Forget all outputs, so that no graph outlives its step."""
        self._outputs.clear()
        self._versions.clear()

    def remove(self) -> None:
        """Take every hook away."""
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()
        self._layers.clear()
        self.clear()


def read_layers(
    model: nn.Module, layers: Sequence[LayerPath], *args: Any, whose: str
) -> list[Tensor]:
    """Run a model and return the outputs of some of its layers.

    Args:
        model: The model.
        layers: Its layers; each picks one tensor.
        args: Arguments of its forward.
        whose: Whose model it is, for messages.

    Returns:
        One tensor for each layer.

    Raises:
        ValueError: If a layer does not exist or did not run.
    """
    hooks = FeatureHooks(model, layers, whose)
    hooks.active = True
    try:
        model(*args)
        found = hooks.read(layers)
    finally:
        hooks.remove()
    return levels_of(found)


def levels_of(features: Features) -> list[Tensor]:
    """Return a list of features; a single tensor is a list of one."""
    return features if isinstance(features, list) else [features]


class _Keep:
    """A forward hook that can be deep-copied together with its model."""

    def __init__(self, hooks: FeatureHooks, path: str) -> None:
        self.hooks = hooks
        self.path = path

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        self.hooks.keep(self.path, output)


def _at(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def _versions(output: Any) -> list[int]:
    items = output if isinstance(output, tuple | list) else [output]
    return [item._version for item in items if isinstance(item, Tensor)]


def _items(selector: LayerPath, output: Sequence[Tensor]) -> Features:
    if isinstance(selector.index, slice):
        stop = selector.index.stop
        if stop is not None and stop > len(output):
            raise ValueError(
                f"{selector.text!r} asks for items up to {stop}, but {selector.module!r} returns "
                f"{len(output)}."
            )
        return list(output[selector.index])
    assert selector.index is not None
    if not -len(output) <= selector.index < len(output):
        raise ValueError(
            f"{selector.text!r} asks for item {selector.index}, but {selector.module!r} returns "
            f"{len(output)} (0 to {len(output) - 1})."
        )
    return output[selector.index]


def _describe(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"one tensor {tuple(output.shape)}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)} items"
    return f"a {type(output).__name__}"
