"""Entry points: which package serves a config, and its task.

A package with a task of its own says so in its ``pyproject.toml``; nothing of ours is edited:

    [project.entry-points."kdkit.tasks"]
    my_package = "my_package.task:TASK"        # a kd_engine.task.Task

    [project.entry-points."kdkit.scopes"]
    mmdet = "my_package"                       # it serves configs of that default_scope too

A config names the package in ``custom_imports``.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, distributions
from typing import TYPE_CHECKING

from mmengine.config import Config

if TYPE_CHECKING:
    from kd_engine.task import Task

TASKS, SCOPES = "kdkit.tasks", "kdkit.scopes"
_USUAL_SCOPE = "mmdet"  # of a config that names none


def package_of(config: Config) -> str:
    """Return the name of the package that serves a config: the one it imports, or its scope's.

    Raises:
        ValueError: If no installed package does.
    """
    known = _entries(TASKS)
    imports = config.get("custom_imports") or {}
    named = imports.get("imports", [])
    for name in [named] if isinstance(named, str) else named:
        if name.split(".")[0] in known:
            return str(name.split(".")[0])
    scope = config.get("default_scope") or _USUAL_SCOPE
    package = package_of_scope(scope)
    if package is None or package not in known:
        raise ValueError(
            "a config must say which task it is: custom_imports = dict(imports=[...]) of "
            f"{', '.join(sorted(known)) or 'an installed task'}, but it has default_scope "
            f"{scope!r} and imports {named!r}.{_if_stale()}"
        )
    return package


def package_of_scope(scope: str) -> str | None:
    """Return the name of the package that serves ``<scope>::config``, if there is one."""
    found = _entries(SCOPES).get(scope)
    return None if found is None else found.value


def task_of(config: Config) -> Task:
    """Import the task that serves a config.

    Raises:
        ValueError: If no installed package serves it.
    """
    task: Task = _entries(TASKS)[package_of(config)].load()
    return task


def _entries(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, the first on the path where several have one.

    ``importlib.metadata.entry_points`` looks at one distribution of a name only, and old
    metadata of kdkit in the current folder (an egg-info) would hide the installed one.
    """
    found: dict[str, EntryPoint] = {}
    for distribution in distributions():
        for entry in distribution.entry_points.select(group=group):
            found.setdefault(entry.name, entry)
    return found


def _if_stale() -> str:
    """Return a remedy where even the tasks of kdkit itself are not known."""
    if {"kd_det", "kd_retrieval", "kd_cls"} <= set(_entries(TASKS)):
        return ""
    return (
        f" Tasks are entry points ({TASKS}) of installed packages, and those of kdkit itself are "
        "missing: it is not installed, or was installed before they were added. Install it again, "
        "in its folder: pip install --no-deps -e ."
    )
