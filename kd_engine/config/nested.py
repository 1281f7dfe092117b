"""Distilled models inside another model of a config, whose losses nothing would add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_REFERENCE = {"config", "checkpoint"}  # of a teacher, of which only the student is taken


def require_outermost(model: Any) -> None:
    """Require that no part of a model is a distilled model itself.

    A distiller adds to the losses that its student's forward returns. mmdet's SoftTeacher, for
    one, asks the detectors inside it for their losses without a forward.

    Args:
        model: A config's model.

    Raises:
        ValueError: Names the part.
    """
    for place in _distilled_inside(model, "model"):
        raise ValueError(
            f"a distilled model must be the config's model, but {place} is one, inside a "
            f"{model.get('type')}, which would train it without its terms. Put its student there, "
            "or distil the plain detector."
        )


def _distilled_inside(node: Any, place: str) -> Iterator[str]:
    items: Any = ()
    if isinstance(node, Mapping) and not _REFERENCE <= set(node):
        items = node.items()
    elif isinstance(node, list | tuple):
        items = enumerate(node)
    for key, value in items:
        inner = f"{place}.{key}"
        if isinstance(value, Mapping) and {"type", "student"} <= set(value):
            yield inner
        yield from _distilled_inside(value, inner)
