"""Terms from options by name, as a config or a dict in a program gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_core.gradients.auto_weight import auto_weight_of
from kd_core.normalization import Normalization
from kd_core.term import Term

_OTHERS = (
    "teacher_layers",
    "weight",
    "schedule",
    "teacher",
    "normalize",
    "share",
    "connector",
    "mask",
    "inputs",
    "weighting",
)


def term_of(name: str, options: Mapping[str, Any]) -> Term:
    """Make a term of options.

    Args:
        name: Its name, for messages.
        options: Arguments of :class:`Term`. ``weight`` may be "auto", and then has a ``share``;
            ``normalize`` may be the name of a :class:`Normalization`.

    Raises:
        ValueError: If an option is unknown, missing or wrong; names the term.
    """
    given = dict(options)
    if set(given) - {"loss", "layers", "shares", *_OTHERS} or not {"loss", "layers"} <= set(given):
        raise ValueError(
            f"term {name!r} must have loss and layers, and may have {', '.join(_OTHERS)}, but it "
            f"has {sorted(given)}."
        )
    weight, normalize = given.get("weight", 1.0), given.get("normalize")
    try:
        given["weight"] = auto_weight_of(weight, given.pop("share", None)) or weight
        if not (normalize is None or callable(normalize)):
            given["normalize"] = Normalization(normalize)
        return Term(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"term {name!r}: {error}") from error
