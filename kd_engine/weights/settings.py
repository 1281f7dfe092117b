"""Settings of a model's part that load its initial weights: said where the part is defined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mmengine.registry import MODELS

Part = TypeVar("Part", bound=Callable[..., Any])


def loads_initial_weights(*settings: str) -> Callable[[Part], Part]:
    """Decorate a part's class or function: which of its settings load weights when it is made.

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
        except (RuntimeError, ImportError):  # whoever builds the part says what is wrong with it
            return ()
    found: tuple[str, ...] = getattr(kind, "initial_weights", ())
    return found
