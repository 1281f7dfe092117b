"""Terms together: their layers, teachers and inputs, and when they begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kd_core.layers import LayerPath
from kd_core.term import ONLY_TEACHER, Term

_LATEST = 100_000  # iterations in which a term is expected to begin


def start_of(terms: Iterable[Term]) -> int:
    """Return the first iteration of 100,000 at which most terms, of those above 0, count."""
    wanted = [term for term in terms if term.weight]
    best = 0, 0
    for iteration in range(_LATEST):
        count = sum(term.factor(iteration) != 0.0 for term in wanted)
        if count > best[0]:
            best = count, iteration
        if count == len(wanted):
            break
    return best[1]


def require_teachers(terms: Mapping[str, Term], teachers: Mapping[str, Any]) -> None:
    """Require that each term has a teacher, and each teacher a term.

    Raises:
        ValueError: Names what has none.
    """
    wanted = {term.teacher for term in terms.values()}
    for name, term in terms.items():
        if term.teacher not in teachers:
            raise ValueError(
                f"the teacher of term {name!r} must be one of {', '.join(map(repr, teachers))}, "
                f"but it is {term.teacher!r}. Give the term teacher='...'."
            )
    if idle := sorted(set(teachers) - wanted):
        raise ValueError(f"every teacher must have a term, but {idle} have none. Leave them out.")


def layers_of(terms: Mapping[str, Term], side: str) -> list[LayerPath]:
    """Return all layers of some terms.

    Args:
        terms: Name to term.
        side: "student" or "teacher".
    """
    return [path for term in terms.values() for of in term.layers(side).values() for path in of]


def inputs_of(
    terms: Mapping[str, Term], known: Mapping[str, Any], read: Callable[[Any], Any]
) -> dict[str, dict[str, Any]]:
    """Return what the losses of terms get besides the layers, by term.

    Args:
        terms: Name to term.
        known: The inputs that there are, by name.
        read: Returns what the student's layers of an input gave.

    Raises:
        ValueError: If one is missing; names the term.
    """
    found = {}
    for name, term in terms.items():
        given = {key: read(of) for key, of in term.inputs.items()}
        found[name] = given | pick_required(name, term.requires, {**known, **given})
    return found


def pick_required(term: str, required: Iterable[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the extra inputs that a term's loss requires.

    Args:
        term: Name of the term, for the message.
        required: The names.
        known: The inputs that there are, by name.

    Raises:
        ValueError: If one is missing, or is None.
    """
    missing = [name for name in required if known.get(name) is None]
    if missing:
        raise ValueError(
            f"term {term!r} needs {missing} besides the layers, but this forward of the student "
            f"has only {sorted(name for name, value in known.items() if value is not None)}. Let "
            "the forward take an argument of that name, or give it to losses(), as in "
            f"losses({missing[0]}={missing[0]})."
        )
    return {name: known[name] for name in required}


def whose(teacher: str) -> str:
    """Return what messages call a teacher, by its name."""
    return "teacher" if teacher == ONLY_TEACHER else f"teacher {teacher!r}"
