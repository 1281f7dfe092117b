"""Modules of a student and its teacher side by side: which weights fit, which width differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from kd_core.checkpoint.remedy import classes_behind
from kd_core.layers import LayerPath, find_layer
from kd_core.table import format_table

_LONGEST_TABLE = 20
Shape = tuple[int, ...]
Modules = str | Sequence[str] | Mapping[str, str]


@dataclass(frozen=True)
class Misfit:
    """Tensor that a student cannot inherit.

    Attributes:
        key: Its name in the student, or where it would be.
        student: Its shape in the student; ``None`` if it is not there.
        teacher: Its shape in the teacher; ``None`` if it is not there.
    """

    key: str
    student: Shape | None
    teacher: Shape | None


def misfit_table(misfits: Sequence[Misfit], whose: str = "teacher") -> str:
    """Return a line for each tensor, with both shapes.

    Args:
        misfits: The tensors.
        whose: What the teacher is called.
    """
    rows = [(one.key, _text(one.student), _text(one.teacher)) for one in misfits]
    table = format_table(("name", "student", whose), rows[:_LONGEST_TABLE])
    more = len(rows) - _LONGEST_TABLE
    return "\n".join(f"  {line}" for line in [*table, *[f"... and {more} more"] * (more > 0)])


def widths_in_the_way(
    misfits: Sequence[Misfit], ours: Mapping[str, Any], whose: str = "teacher"
) -> str:
    """Return the width that most of the tensors differ in, and the classes, if they differ.

    Args:
        misfits: The tensors of one module that do not fit.
        ours: Names and tensors of the student's module.
        whose: What the teacher is called.

    Returns:
        Such as "64 channels against the teacher's 128"; "" without misfits.
    """
    shaped = [
        (misfit.key, misfit.student, misfit.teacher)
        for misfit in misfits
        if misfit.student is not None and misfit.teacher is not None
    ]
    changed = {key for key, _, _ in shaped}
    classes: Counter[tuple[int, int]] = Counter()
    widths: Counter[tuple[int, int, str]] = Counter()
    for key, here, there in shaped:
        if (found := _classes(key, here, there, ours, changed)) is not None:
            classes[found] += 1
        else:
            widths.update(_widths(here, there, ours))
    parts = []
    if widths:
        mine, theirs, unit = max(widths, key=lambda width: (widths[width], -width[0]))
        parts.append(f"{mine} {unit} against the {whose}'s {theirs}")
    if classes:
        (mine, theirs), _ = classes.most_common(1)[0]
        parts.append(f"{mine} classes against the {whose}'s {theirs}")
    absent = [sum(m.teacher is None for m in misfits), sum(m.student is None for m in misfits)]
    if any(absent):
        parts.append(
            f"{absent[0]} of its {len(ours)} tensors are not in the {whose}'s, which has "
            f"{absent[1]} others"
        )
    return ", ".join(parts)


def module_pairs(
    student: nn.Module, teacher: nn.Module, modules: Modules, whose: str = "teacher"
) -> list[ModulePair]:
    """Find the modules that a student inherits, on both sides.

    Args:
        student: The student.
        teacher: The teacher.
        modules: As for :func:`inherit_weights`.
        whose: What messages call the teacher.

    Raises:
        ValueError: If a module does not exist, or the student's has no weights.
    """
    return [
        ModulePair(path, other, _module(student, path, "student"), _module(teacher, other, whose))
        for path, other in module_paths(modules).items()
    ]


@dataclass(frozen=True)
class ModulePair:
    """A module of a student, and the one that it inherits from.

    Attributes:
        path: Path of the student's.
        other: Path of the teacher's.
        module: The student's.
        source: The teacher's.
    """

    path: str
    other: str
    module: nn.Module
    source: nn.Module

    def __post_init__(self) -> None:
        """Require weights, and know their shapes.

        Raises:
            ValueError: If the student's module has none, or a shape is not known yet.
        """
        if not self.module.state_dict():
            raise ValueError(
                f"only a module with parameters or buffers can be inherited, but {self.path} "
                f"({type(self.module).__name__}) has none. Leave it out."
            )
        for path, module in ((self.path, self.module), (self.other, self.source)):
            if any(is_lazy(value) for value in (*module.parameters(), *module.buffers())):
                raise ValueError(
                    f"the shapes of {path} must be known before it is inherited, but it has lazy "
                    "layers. Run the model once before."
                )

    def misfits(self) -> list[Misfit]:
        """Return the tensors that are not on both sides in one shape."""
        ours, theirs = self.module.state_dict(), self.source.state_dict()
        found = []
        for key in dict.fromkeys([*ours, *theirs]):
            shapes = [_shape(side[key]) if key in side else None for side in (ours, theirs)]
            if shapes[0] != shapes[1]:
                found.append(Misfit(f"{self.path}.{key}", *shapes))
        return found

    def fitting(self) -> dict[str, Any]:
        """Return the teacher's values of the layers that fit as a whole, by the module's keys."""
        bad = {_layer(misfit.key) for misfit in self.misfits()}
        theirs = self.source.state_dict()
        return {key: theirs[key] for key in theirs if _layer(f"{self.path}.{key}") not in bad}

    def obstacle(self, whose: str = "teacher") -> str:
        """Return what stands in the way, in one line; "" if the module fits."""
        keys = self.module.state_dict()
        ours = {f"{self.path}.{key}": value for key, value in keys.items()}
        found = widths_in_the_way(self.misfits(), ours, whose)
        return f"{self.path}: {found}" if found else ""


def module_paths(modules: Any) -> dict[str, str]:
    """Return the student's paths and the teacher's.

    Args:
        modules: A path, several, or a mapping of the student's to the teacher's.

    Raises:
        ValueError: If it has another form, names no module, or one twice.
    """
    named = [modules] if isinstance(modules, str) else modules
    if not isinstance(named, Sequence | Mapping) or not _all_texts(named):
        raise ValueError(
            "modules must be a path such as 'neck', a list of them, or a dict of the student's "
            f"paths to the teacher's, but got {modules!r}."
        )
    found = dict(named) if isinstance(named, Mapping) else {path: path for path in named}
    twice = [one for one in found for other in found if one.startswith(f"{other}.")]
    if twice or not found or len(found) < len(named):
        problem = f"{twice[0]!r} is inside of another" if twice else f"they are {list(named)}"
        raise ValueError(f"inherit must name at least one module, each once, but {problem}.")
    return found


def _all_texts(named: Iterable[Any]) -> bool:
    values = [*named, *(named.values() if isinstance(named, Mapping) else ())]
    return all(isinstance(value, str) for value in values)


def _module(model: nn.Module, path: str, whose: str) -> nn.Module:
    selector = LayerPath.parse(path)
    found = find_layer(model, selector, whose)
    if selector.keys or found is model:
        raise ValueError(
            "only whole modules of a model are inherited, by paths such as 'neck' or "
            f"'roi_head.bbox_head', but got {path!r}. Where all of it fits, load the teacher's "
            "checkpoint into the student."
        )
    return found


def _layer(key: str) -> str:
    return key.rpartition(".")[0]


def _shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _text(shape: Shape | None) -> str:
    return "-" if shape is None else str(shape)


def _classes(
    key: str, here: Shape, there: Shape, ours: Mapping[str, Any], changed: Collection[str]
) -> tuple[int, int] | None:
    """Return the numbers of classes behind the rows of two weights that differ in no more."""
    if not here or not there or here[1:] != there[1:]:
        return None
    mine, theirs = (classes_behind(key, shape[0], ours, changed) for shape in (here, there))
    return (mine.classes, theirs.classes) if mine and theirs else None


def _widths(here: Shape, there: Shape, ours: Mapping[str, Any]) -> set[tuple[int, int, str]]:
    """Return the sizes that two shapes differ in, each with its unit."""
    if len(here) != len(there):
        return {(len(here), len(there), "dimensions of a tensor")}
    convolves = any(getattr(value, "ndim", 0) > 2 for value in ours.values())
    unit = "channels" if convolves else "features"
    pairs = list(enumerate(zip(here, there, strict=True)))
    places = [place for place, (mine, theirs) in pairs if mine != theirs]
    units = {0: unit, 1: f"input {unit}" if places == [1] else unit}
    return {(*pairs[place][1], units.get(place, "pixels of a kernel")) for place in places}
