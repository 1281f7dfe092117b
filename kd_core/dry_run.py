"""Dry run of a distiller: layouts, shapes, connectors, and a trial of every loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from kd_core.layers import Features, levels_of
from kd_core.layouts import AllFeatures, Layouts, hints_of, image_size_of, prefixes_of
from kd_core.pairs import LevelPairs
from kd_core.shapes import ShapeTable
from kd_core.term import Term
from kd_core.term_connectors import TermConnectors

Run = Callable[[tuple[Any, ...]], AllFeatures]  # from a model's arguments to its features


def dry_run(
    terms: Mapping[str, Term],
    layouts: Mapping[str, Layouts],
    connectors: TermConnectors,
    pairs: LevelPairs,
    runs: Sequence[tuple[str, nn.Module, Run]],
    example: tuple[Any, ...],
) -> ShapeTable:
    """Run student and teachers once: find shapes, make connectors, and try every loss.

    Args:
        terms: Name to term.
        layouts: "student" and "teacher" to layouts, which are found here.
        connectors: Connectors of the terms, which are made here.
        pairs: Pairs of levels of the terms, which are found here.
        runs: Side, "student" or "teacher", model, and how it gives the features of its terms.
        example: Arguments of the models.

    Returns:
        The shapes that were found.

    Raises:
        ValueError: If the shapes do not fit, or a loss refuses the features; the term is named.
    """
    sides: dict[str, dict[str, Any]] = {"student": {}, "teacher": {}}
    with torch.no_grad():
        for side, model, run in runs:
            found = run(example)
            said = hints_of(model, terms, side), prefixes_of(model, terms, side)
            layouts[side].find(found, example, run, *said)
            sides[side] |= layouts[side].turn(found, example)
        table = ShapeTable(terms, sides["student"], sides["teacher"], layouts, pairs)
        connectors.add(table)
        features = pairs.select(sides["student"], sides["teacher"])
        _prepare_and_try(terms, connectors, table, features, image_size_of(example))
    return table


def _prepare_and_try(
    terms: Mapping[str, Term],
    connectors: TermConnectors,
    table: ShapeTable,
    features: tuple[AllFeatures, AllFeatures],
    image_size: tuple[int, int] | None = None,
) -> None:
    """Let every loss prepare for the features of a dry run, and try it on them.

    Whatever a loss remembers of the trial is discarded, and later random numbers are the same as
    without it.
    """
    connectors.eval()
    student, teacher = features
    for name, term in terms.items():
        connected = connectors.connect(name, student[name])
        try:
            with torch.random.fork_rng(devices=[]):
                term.prepare({**student[name], **connected}, teacher[name])
                trial = copy.copy(term)
                trial.loss = copy.deepcopy(term.loss)
                extra_inputs = _placeholders(term.requires, student[name], image_size)
                trial.compare(student[name], teacher[name], extra_inputs, connected)
        except (ValueError, RuntimeError) as error:  # torch has its own for sizes
            raise ValueError(f"term {name!r} does not fit: {error}\n{table}") from error
    connectors.train()


def _placeholders(
    required: Iterable[str], features: Mapping[str, Features], image_size: tuple[int, int] | None
) -> dict[str, Any]:
    """Return what stands in the place of extra inputs: a dry run has no labels.

    A box on each image, which fills it; int64 zeros (N,) for all that is not known here.
    """
    sample = levels_of(next(iter(features.values())))[0]
    size = image_size or tuple(sample.shape[-2:])
    box = sample.new_tensor([[0, 0, size[-1], size[0]]], dtype=torch.float32)
    known: dict[str, Any] = {"image_size": size, "boxes": [box] * len(sample)}
    zeros = torch.zeros(len(sample), dtype=torch.long, device=sample.device)
    return {name: known.get(name, zeros) for name in required}
