"""Methods of several networks that detectors do not have: types of a config that say why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

_USUAL = "Take kd_det.DistilledDetector, with terms on backbone, neck or heads."


def _unserved(name: str, remedy: str = _USUAL) -> Callable[..., NoReturn]:
    """Make a type of a config's ``model`` that is refused as it is built."""

    def build(*_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            f"{name} needs one vector of scores and one label for each image, which a detector "
            f"does not have. {remedy}"
        )

    build.__name__ = build.__qualname__ = name
    return build


Adversarial = _unserved("Adversarial")
BYOT = _unserved("BYOT")
CAMKD = _unserved(
    "CAMKD",
    "Give a term of kd_det.DistilledDetector several teachers with fixed weights, "
    "teacher=dict(large=0.7, other=0.3).",
)
CCSKD = _unserved("CCSKD")
CKDMKT = _unserved("CKDMKT")
CTKD = _unserved("CTKD")
DML = _unserved("DML")
MSKDSSR = _unserved("MSKDSSR")
ONE = _unserved("ONE")
PSKD = _unserved("PSKD")
SelfTeacher = _unserved(
    "SelfTeacher",
    "Let a finished run teach the next one, with kd_det.DistilledDetector; mmengine's EMAHook "
    "evaluates an average of the weights.",
)
NAMES = ("Adversarial", "BYOT", "CAMKD", "CCSKD", "CKDMKT", "CTKD", "DML", "MSKDSSR", "ONE",
         "PSKD", "SelfTeacher")  # fmt: skip
