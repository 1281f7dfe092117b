"""Several teachers of one term: the term once for each, with a share of its weight."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from kd_core.checks import check_choice, check_weights
from kd_core.teacher_shares import KINDS, TeacherShares


def split_terms(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Write a term of several teachers as one term for each of them, ``<term>_<teacher>``.

        loss = sum over teachers k of w_k * loss(student, teacher k)

    ``teacher=["a", "b"]`` gives each the same share, 1 / K, so that the sum has the size that the
    loss has with one teacher; ``teacher=dict(a=0.7, b=0.3)`` gives each its own, times the term's
    ``weight``. A teacher of weight 0 is left out: it does not run. Each has its own copy of the
    loss, and so its own connectors. ``teacher_layers`` may be a dict by teacher, whose values are
    what it is elsewhere. With one teacher it is the term with that teacher, under its own name.

    ``weighting="entropy"`` or ``"confidence"`` beside a list lets the teachers share each sample by
    how sure they are, in the place of equal shares: see
    :class:`kd_core.teacher_shares.TeacherShares`, of ``dict(kind=..., layers=...)`` with both its
    arguments; "mean" is the default.

    Args:
        terms: Name to options of a term, as :func:`kd_core.term_options.term_of` takes them; what
            is no mapping stays as it is.

    Returns:
        Name to options, each with one teacher.

    Raises:
        ValueError: If a weight is negative or not finite or all are 0, teachers lack layers, or
            the weight is measured.

    Example:
        >>> split_terms({"at": dict(loss="AT", layers="neck", teacher=["a", "b"])})["at_b"]
        {'loss': 'AT', 'layers': 'neck', 'teacher': 'b', 'weight': 0.5}
    """
    found: dict[str, Any] = {}
    for name, options in terms.items():
        made = {name: options}
        if isinstance(options, Mapping) and {"teacher", "weighting"} & set(options):
            try:
                made = _made(name, dict(options))
            except ValueError as error:
                raise ValueError(f"term {name!r}: {error}") from error
        if twice := sorted(set(made) & set(found)):
            raise ValueError(f"every term must have its own name, but there are two {twice[0]!r}.")
        found |= made
    return found


def _made(name: str, options: dict[str, Any]) -> dict[str, Any]:
    several, given = options.get("teacher"), options.pop("weighting", "mean")
    kind, layers = _weighting(given) if isinstance(given, Mapping) else (given, None)
    check_choice("weighting", kind, ("mean", *KINDS))
    shared = None if kind == "mean" else TeacherShares(kind, layers)
    if shared is not None and (several is None or isinstance(several, str | Mapping)):
        raise ValueError(
            f"weighting={kind!r} needs several teachers, teacher=['a', 'b'], but teacher is "
            f"{several!r}."
        )
    if several is None or isinstance(several, str):
        return {name: options}
    made = _split(name, options, _shares(several))
    if shared is not None and len(made) > 1:
        whole = float(options.get("weight", 1.0))
        made = {name: {**one, "shares": shared, "weight": whole} for name, one in made.items()}
    return made


def _weighting(given: Mapping[str, Any]) -> tuple[str, str | None]:
    if not {"kind"} <= set(given) <= {"kind", "layers"}:
        raise ValueError(
            f"weighting must have a kind and may have layers, but it has {', '.join(given)}."
        )
    return given["kind"], given.get("layers")


def _shares(teachers: Any) -> dict[str, float]:
    names = list(teachers)
    shares = (
        dict(teachers)
        if isinstance(teachers, Mapping)
        else dict.fromkeys(names, 1 / max(len(names), 1))
    )
    check_weights(**shares)
    if len(set(names)) < len(names) or not any(shares.values()):
        raise ValueError(
            "teacher must be a name, a list of different ones, or a dict of weights, one of them "
            f"above 0, but it is {teachers}."
        )
    return shares


def _split(name: str, options: dict[str, Any], shares: Mapping[str, float]) -> dict[str, Any]:
    weight = options.get("weight", 1.0)
    if isinstance(weight, str) or not hasattr(weight, "__float__"):
        raise ValueError(
            f"several teachers share a weight that is a number, but it is {weight!r}. Write a term "
            "for each teacher to measure its weight."
        )
    layers: Any = options.get("teacher_layers")
    by_teacher = isinstance(layers, Mapping) and bool(set(layers) & set(shares))
    if by_teacher and set(layers) != set(shares):
        raise ValueError(
            f"teacher_layers must name the layers of each teacher, {', '.join(shares)}, but it "
            f"names those of {', '.join(layers)}."
        )
    made = {}
    for teacher, share in shares.items():
        if not share:
            continue
        own = copy.deepcopy(options) | {"teacher": teacher, "weight": share * float(weight)}
        if by_teacher:
            own["teacher_layers"] = layers[teacher]
        made[f"{name}_{teacher}" if len(shares) > 1 else name] = own
    return made
