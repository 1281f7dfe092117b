"""Settings that load a part's initial weights, declared where the part is defined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mmengine.registry import MODELS

Part = TypeVar("Part", bound=Callable[..., Any])


def loads_initial_weights(*settings: str) -> Callable[[Part], Part]:
    """Declare which settings of a part's class or function load weights; a decorator.

    They are left out of its config where a checkpoint brings every weight.

    Args:
        settings: Names of arguments.
    """

    def mark(part: Part) -> Part:
        part.initial_weights = settings  # type: ignore[attr-defined]
        return part

    return mark


def initial_weight_settings(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the settings of a part's config that load initial weights; none if it does not say.

    Args:
        config: ``dict(type=, ...)`` of the part.
    """
    kind = config.get("type")
    if isinstance(kind, str):
        try:
            kind = MODELS.get(kind) if "." in kind else MODELS.module_dict.get(kind)
        except (RuntimeError, ImportError):  # building the part reports what is wrong with it
            return ()
    found: tuple[str, ...] = getattr(kind, "initial_weights", ())
    return found
