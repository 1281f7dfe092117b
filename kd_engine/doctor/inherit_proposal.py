"""Modules that a student could inherit from its teacher, and the widths that stand in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from kd_core import Distiller, FrozenTeacher
from kd_core.checkpoint.module_pairs import ModulePair

_NO_PARTS = ("data_preprocessor", "criterion", "distiller")  # of what is distilled
_SHOWN = 3


def inherit_proposal(student: nn.Module, config: Mapping[str, Any]) -> list[str]:
    """Propose ``inherit`` where modules of student and teacher have the same shapes.

    The first part, which reads the images, is left out: it is what a small student has small.

    Args:
        student: A student with its distiller.
        config: The run's config.

    Returns:
        At most a line of modules that fit and a line of those that another width keeps from it;
        none where the config says what the student starts from.
    """
    distiller: Any = getattr(student, "distiller", None)
    if not isinstance(distiller, Distiller):
        return []
    if config["model"].get("inherit") is not None or config.get("load_from"):
        return []
    several = len(distiller.teachers) > 1
    for name, teacher in distiller.teachers.items():
        if lines := _lines(student, teacher, name if several else None):
            return lines
    return []


def _lines(student: nn.Module, teacher: FrozenTeacher, name: str | None) -> list[str]:
    whose = "teacher" if name is None else f"teacher {name}"
    found = list(_candidates(student, teacher.model))
    fitting = [pair.path for pair in found if not pair.misfits()]
    lines = []
    if fitting:
        verb, them = ("has", "it") if len(fitting) == 1 else ("have", "them")
        request = str(fitting) if name is None else f"dict(modules={fitting}, teacher={name!r})"
        lines.append(
            f"{_and(fitting)} {verb} the {whose}'s shapes: model.inherit={request} would start "
            f"{them} from it"
        )
    if blocked := [pair.obstacle(whose) for pair in found if _differs_in_width(pair)]:
        more = len(blocked) - _SHOWN
        text = "; ".join(blocked[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        lines.append(f"cannot be inherited as a whole: {text}")
    return lines


def _candidates(student: nn.Module, teacher: nn.Module) -> Iterator[ModulePair]:
    """Yield the parts behind the first one, each with the teacher's of that name.

    The next one, a detector's neck, reads the first: of its own parts some may fit.
    """
    pairs = [_pair(path, module, teacher) for path, module in _parts(student)]
    if not any(pair is None or pair.misfits() for pair in pairs):
        return  # a copy of the teacher would have nothing to learn
    for number, pair in enumerate(pairs[1:]):
        if pair is not None:
            yield from [pair] if number or "." in pair.path else _split(pair, teacher)


def _split(pair: ModulePair, teacher: nn.Module) -> list[ModulePair]:
    """Return a part of a model, or its own parts if it does not fit and some of them do."""
    parts = (_pair(f"{pair.path}.{n}", child, teacher) for n, child in _children(pair.module))
    found = [one for one in parts if one is not None]
    fits = any(not one.misfits() for one in found)
    return found if fits and _differs_in_width(pair) else [pair]


def _parts(student: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the parts with weights, in order: the children, or those of an only child."""
    found = [(name, child) for name, child in _children(student) if name not in _NO_PARTS]
    while len(found) == 1:
        path, module = found[0]
        found = [(f"{path}.{name}", child) for name, child in _children(module)]
    return found


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_children() if child.state_dict()]


def _pair(path: str, module: nn.Module, teacher: nn.Module) -> ModulePair | None:
    """Return a module and the teacher's of that name, if it has one whose shapes are known."""
    try:
        return ModulePair(path, path, module, teacher.get_submodule(path))
    except (AttributeError, ValueError):
        return None


def _differs_in_width(pair: ModulePair) -> bool:
    """Return whether both have the same tensors, in other shapes."""
    misfits = pair.misfits()
    return bool(misfits) and not any(None in (one.student, one.teacher) for one in misfits)


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
