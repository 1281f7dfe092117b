"""Operators of mmcv, served by torchvision and plain torch where no compiled ones exist.

mmdet imports `mmcv.ops` at once and that imports the compiled module `mmcv._ext`, for which few
versions of torch have a wheel. Where it is missing, `provide_ops()` puts a stand-in in its place.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import torch
import torchvision  # noqa: F401  (registers its operators)

_NAME = "mmcv._ext"
_PARTS = (
    "boxes", "roi_align", "roi_pool", "deform_roi_pool", "deform_conv", "masked_conv", "focal_loss",
    "sampling", "sync_bn", "line_nms",
)  # fmt: skip


def provide_ops() -> str:
    """Make `mmcv.ops` importable; call it before mmdet is imported.

    A compiled `mmcv._ext` is left alone. Repeated calls change nothing.

    Returns:
        'compiled' if mmcv brings its own operators, 'torchvision' if the stand-in serves them.

    Raises:
        ImportError: torchvision has no operators, or mmdet was imported before without any.
    """
    if _NAME in sys.modules:
        return "torchvision" if _is_ours(sys.modules[_NAME]) else "compiled"
    if importlib.util.find_spec(_NAME) is not None:
        return "compiled"
    _check_torchvision()
    _check_mmdet()
    spec = ModuleSpec(_NAME, _StandInLoader(), origin="kd_det.mmcv_ops")
    module = importlib.util.module_from_spec(spec)
    _StandInLoader().exec_module(module)
    sys.modules[_NAME] = module
    importlib.import_module("mmcv")._ext = module  # type: ignore[attr-defined]
    return "torchvision"


class _StandInLoader(Loader):
    """Loader of the stand-in; mmcv and mmengine take a module without a loader for absent."""

    def exec_module(self, module: ModuleType) -> None:
        """Add every served operator, and one that raises for every other name."""
        for part in _PARTS:
            source = importlib.import_module(f"{__name__}.{part}")
            for name in source.SERVED:
                setattr(module, name, getattr(source, name))
        setattr(module, "get_compiler_version", lambda: "not available")  # noqa: B010
        setattr(module, "get_compiling_cuda_version", lambda: "not available")  # noqa: B010
        setattr(module, "__getattr__", _unserved)  # noqa: B010


def _is_ours(module: ModuleType) -> bool:
    return isinstance(getattr(module.__spec__, "loader", None), _StandInLoader)


def _unserved(name: str) -> Callable[..., NoReturn]:
    if name.startswith("_"):
        raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")

    def raise_unserved(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"mmcv's operator {name!r} is not available: this mmcv has no compiled operators, and "
            "kd_det.mmcv_ops does not serve this one. Install an mmcv with compiled operators "
            f"(built for torch {torch.__version__}; it holds the module {_NAME})."
        )

    raise_unserved.__name__ = name
    return raise_unserved


def _check_torchvision() -> None:
    if not hasattr(torch.ops.torchvision, "roi_align"):
        raise ImportError(
            f"torchvision has no compiled operators for torch {torch.__version__}. "
            "Install the torchvision that belongs to this torch, from the same source."
        )


def _check_mmdet() -> None:
    for name, module in list(sys.modules.items()):
        stand_in = name.startswith("mmdet.") and getattr(module, "batched_nms", None)
        if stand_in and stand_in.__module__ == name:
            raise ImportError(
                f"mmdet was imported before mmcv's operators were provided, and {name} keeps a "
                "placeholder for them. Start a new process and import kd_det before mmdet."
            )
