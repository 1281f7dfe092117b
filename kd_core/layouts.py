"""Layouts of features: maps (N, H, W, C) and tokens (N, L, C) are turned to (N, C, H, W)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.layers import Features, levels_of
from kd_core.term import Term
from kd_core.tokens import TokenGrid, grid_of, prefix_of

AllFeatures = Mapping[str, Mapping[str, Features]]  # term, then role, to features


class Layouts:
    """Layouts of features: those in (N, H, W, C), as of Swin transformers, become (N, C, H, W).

    Height and width of a map follow those of the image, and channels do not. So the two of the
    last three axes that have the image's proportions are height and width; where that leaves a
    doubt, or gives (N, H, W, C), the model runs once more on images of twice the width, if it takes
    them, and the axis that grows is the width. If that decides nothing either, timm's attribute
    ``output_fmt`` of a module around the layer decides, otherwise a map is (N, C, H, W).

    Tokens (N, L, C) of a layer of a vision transformer become the map of its patches, if they are
    a grid with the proportions of the images, without the class token and its like.

    Args:
        side: "student" or "teacher", for the message.
    """

    def __init__(self, side: str) -> None:
        self.side = side
        self._turned: dict[str, set[tuple[str, int]]] = {}  # term -> role and level
        self._tokens: dict[tuple[str, str, int], TokenGrid] = {}  # term, role and level

    def find(
        self,
        features: AllFeatures,
        example: Sequence[Any],
        again: Callable[[tuple[Any, ...]], AllFeatures],
        hinted: Callable[[str, str, int], bool],
        prefixes: Callable[[str, str, int], int | None] = lambda *_: None,
    ) -> None:
        """Find the layout of each feature of a dry run.

        Args:
            features: Term, then role, to its features.
            example: Arguments of the model that gave them.
            again: Runs the model on other arguments and returns the same features.
            hinted: Whether a module around a term's layer says that its maps are (N, H, W, C).
            prefixes: How many tokens a term's layer gives before those of the grid; ``None`` of one
                that is not part of a vision transformer.
        """
        size = image_size_of(example)
        votes = {key: _by_shape(one.shape, size) for key, one in _each(features)}
        wider: dict[tuple[str, str, int], Tensor] = {}
        grids = {key: prefixes(*key) for key, one in _each(features) if one.dim() == 3}
        if any(vote is not False for vote in votes.values()) or grids:
            try:
                wider = dict(_each(again(tuple(_widened(one) for one in example))))
            except Exception:  # each library has an error of its own for a size that is refused
                wider = {}
        self._turned |= {term: set() for term in features}
        for key, prefix in grids.items():
            self._find_tokens(key, prefix, dict(_each(features))[key], wider.get(key), size)
        for key, one in _each(features):
            vote = votes[key]
            if vote is not False and key in wider:
                grown = _by_growth(one.shape, wider[key].shape)
                vote = vote if grown is None else grown
            if hinted(*key) if vote is None else vote:
                self._turned[key[0]].add(key[1:])

    def turn(self, features: AllFeatures, images: Sequence[Any]) -> dict[str, dict[str, Features]]:
        """Turn maps (N, H, W, C) and tokens (N, L, C) to (N, C, H, W).

        A term that no dry run has seen is examined now, by the shapes alone.

        Args:
            features: Term, then role, to its features.
            images: Arguments of the model that gave them.
        """
        for term, roles in features.items():
            if term not in self._turned:
                self._look(term, roles, images)
        size = image_size_of(images) if self._tokens else None
        return {
            term: {role: self._turn(term, role, one, size) for role, one in roles.items()}
            for term, roles in features.items()
        }

    def is_turned(self, term: str, role: str, level: int) -> bool:
        """Return whether a feature is turned."""
        return (role, level) in self._turned.get(term, ())

    def said(self, term: str, role: str, level: int) -> str:
        """Return what the table says of a feature: "turned", "of tokens" or nothing."""
        if (term, role, level) in self._tokens:
            return "of tokens"
        return "turned" if self.is_turned(term, role, level) else ""

    def _turn(
        self, term: str, role: str, found: Features, size: tuple[int, int] | None
    ) -> Features:
        levels = []
        for level, one in enumerate(levels_of(found)):
            if grid := self._tokens.get((term, role, level)):
                one = grid.to_map(one, size)
            levels.append(one.permute(0, 3, 1, 2) if self.is_turned(term, role, level) else one)
        return levels if isinstance(found, list) else levels[0]

    def _find_tokens(
        self,
        key: tuple[str, str, int],
        prefix: int | None,
        tokens: Tensor,
        wider: Tensor | None,
        size: tuple[int, int] | None,
    ) -> None:
        grid = None if prefix is None or size is None else grid_of(tokens.shape[1] - prefix, size)
        if prefix is not None and grid is not None:
            fixed = wider is None or wider.shape[1] == tokens.shape[1]
            self._tokens[key] = TokenGrid(prefix, grid if fixed else None)

    def _look(self, term: str, roles: Mapping[str, Features], images: Sequence[Any]) -> None:
        size = image_size_of(images)
        found = {key: one for key, one in _each({term: roles}) if _by_shape(one.shape, size)}
        self._turned[term] = {key[1:] for key in found}
        if found:
            shapes = ", ".join(str(tuple(one.shape)) for one in found.values())
            warnings.warn(
                f"term {term!r} turns maps (N, H, W, C) of the {self.side} to (N, C, H, W), as "
                f"their shapes are {shapes}. Give Distiller.attach an example, whose table shows "
                "them.",
                stacklevel=2,
            )


def is_channels_last(feature: Tensor, images: Tensor, in_doubt: bool = False) -> bool:
    """Return whether a map is (N, H, W, C) by its shape.

    Args:
        feature: Any feature (N, ...).
        images: The images (N, 3, H, W) that gave it.
        in_doubt: What to return if (N, C, H, W) is possible too.
    """
    found = _by_shape(feature.shape, (images.shape[2], images.shape[3]))
    return in_doubt if found is None else found


def fast_memory_format(images: Tensor) -> Tensor:
    """Give images the memory layout in which convolutions are faster, where that is known.

    The shape stays (N, 3, H, W). On a CPU a step of a small classifier takes three quarters of its
    time then; elsewhere the layout is changed in reduced precision only.
    """
    kind = images.device.type
    reduced = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if kind == "cpu" or reduced:
        return images.contiguous(memory_format=torch.channels_last)
    return images


def hints_of(model: nn.Module, terms: Mapping[str, Term], side: str) -> Callable[..., bool]:
    """Return a function of term, role and level: whether timm calls the layer (N, H, W, C).

    Args:
        model: The student or the teacher.
        terms: Name to term.
        side: "student" or "teacher".
    """

    def hinted(term: str, role: str, level: int) -> bool:
        layers = terms[term].layers(side)[role]
        path = layers[min(level, len(layers) - 1)].module.split(".")
        around = [model.get_submodule(".".join(path[:count])) for count in range(len(path))]
        return any(str(getattr(one, "output_fmt", "")).endswith("NHWC") for one in around)

    return hinted


def prefixes_of(
    model: nn.Module, terms: Mapping[str, Term], side: str
) -> Callable[..., int | None]:
    """Return a function of term, role and level: see :func:`kd_core.tokens.prefix_of`.

    Args:
        model: The student or the teacher.
        terms: Name to term.
        side: "student" or "teacher".
    """

    def prefixes(term: str, role: str, level: int) -> int | None:
        layers = terms[term].layers(side)[role]
        return prefix_of(model, layers[min(level, len(layers) - 1)].module)

    return prefixes


def _each(features: AllFeatures) -> Iterator[tuple[tuple[str, str, int], Tensor]]:
    for term, roles in features.items():
        for role, found in roles.items():
            for level, one in enumerate(levels_of(found)):
                yield (term, role, level), one


def all_features(features: AllFeatures) -> Iterator[Tensor]:
    """Yield the features of all terms, roles and levels."""
    return (one for _, one in _each(features))


def image_size_of(example: Iterable[Any]) -> tuple[int, int] | None:
    """Return height and width of the first images (N, 3, H, W), or list of images (3, H, W)."""
    for one in example:
        first = one[0] if isinstance(one, list | tuple) and one else None
        images = first[None] if isinstance(first, Tensor) and first.dim() == 3 else one
        if isinstance(images, Tensor) and images.dim() == 4:
            return images.shape[2], images.shape[3]
    return None


def _widened(value: Any) -> Any:
    """Return images of twice the width; anything else as it is."""
    if isinstance(value, Tensor) and value.dim() == 4:
        return torch.cat([value, value], dim=3)
    if isinstance(value, list | tuple):
        return type(value)(
            torch.cat([one, one], dim=2) if isinstance(one, Tensor) and one.dim() == 3 else one
            for one in value
        )
    return value


def _by_shape(shape: Sequence[int], size: tuple[int, int] | None) -> bool | None:
    """Return whether a shape is (N, H, W, C); None if that and (N, C, H, W) are possible."""
    if len(shape) != 4 or size is None or not _is_like(shape[1], shape[2], size):
        return False
    return None if _is_like(shape[2], shape[3], size) else True


def _is_like(height: int, width: int, size: tuple[int, int]) -> bool:
    """Return whether a map may be that of an image at one stride, rounded either way."""
    if size[0] == size[1]:
        return height == width
    strides = [(side / (count + 1), side / max(count - 1, 0.5))
               for side, count in zip(size, (height, width), strict=True)]  # fmt: skip
    return max(low for low, _ in strides) <= min(high for _, high in strides)


def _by_growth(shape: Sequence[int], wider: Sequence[int]) -> bool | None:
    """Return whether it is (N, H, W, C), by the axis that grew with the width; None if none did."""
    grown = [axis for axis in (1, 2, 3) if shape[axis] != wider[axis]]
    return grown == [2] if grown in ([2], [3]) else None
