"""Which package of ours serves a config, and what the tools ask of it.

Each task package has a module ``task`` with the same functions:

``environment()``                                    rows (name, value) for tools/check.py
``check_data(config, images)``                       lines about the data, or an error
``check_teacher(config)``                             lines about its trained networks, or an error
``check_test(config, teacher)``                      an error where a score would be false
``dry_run(model, size)``                             run a model once on random images
``check_export(config, checkpoint, exported, plain)``  one sentence, or an error
``student_alone(config, plain, weights)``              how the exported student is used
``EXPORT_DEFAULTS``                                  settings that its use needs

and, where a metric may give nothing,

``metric_names(metric)``                             names of the values that it gives else
"""

from __future__ import annotations

import importlib
from types import ModuleType

from mmengine.config import Config

_SCOPES = {"mmdet": "kd_det"}  # a config of mmdet itself names no package of ours
_PACKAGES = ("kd_det", "kd_retrieval", "kd_cls")


def package_of(config: Config) -> str:
    """Name the package that serves a config: the one it imports, or its scope's.

    Raises:
        ValueError: If it is none of ours.
    """
    imports = config.get("custom_imports") or {}
    named = imports.get("imports", [])
    for name in [named] if isinstance(named, str) else named:
        if name.split(".")[0] in _PACKAGES:
            return str(name.split(".")[0])
    scope = config.get("default_scope") or "mmdet"
    if scope not in _SCOPES:
        raise ValueError(
            "a config must say which task it is: custom_imports = dict(imports=['kd_retrieval']) "
            f"or another of {', '.join(_PACKAGES)}, but it has default_scope {scope!r} and imports "
            f"{named!r}."
        )
    return _SCOPES[scope]


def package_of_scope(scope: str) -> str | None:
    """Name the package for ``<scope>::config``, if there is one."""
    return _SCOPES.get(scope)


def task_of(config: Config) -> ModuleType:
    """Import the module ``task`` of the package that serves a config."""
    return importlib.import_module(f"{package_of(config)}.task")
