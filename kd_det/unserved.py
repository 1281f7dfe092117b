"""Methods of several networks that detectors do not have: types of a config that say why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

_USUAL = "Take kd_det.DistilledDetector, with terms on backbone, neck or heads."


_REMEDIES = dict.fromkeys(
    ("Adversarial", "BYOT", "CCSKD", "CKDMKT", "CTKD", "DML", "MSKDSSR", "ONE", "PSKD"), _USUAL
) | {
    "CAMKD": "Give a term on a head's class scores, in kd_det.DistilledDetector, several teachers "
    "and a weighting, teacher=['large', 'other'], weighting='confidence'.",
}
NAMES = tuple(_REMEDIES)


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Make a type of a config's ``model`` that is refused as it is built."""
    if name not in _REMEDIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def build(*_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            f"{name} needs one vector of scores and one label for each image, which a detector "
            f"does not have. {_REMEDIES[name]}"
        )

    build.__name__ = build.__qualname__ = name
    return build
