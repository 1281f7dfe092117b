"""Calibration of terms: their shares of the gradient on some batches, and weights that fit."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from mmengine.config import Config
from torch import nn

from kd_core.gradients.auto_weight import AutoWeight, auto_weight_of
from kd_core.table import format_table
from kd_engine.build import build_weight
from kd_engine.doctor.one_step import training_batches
from kd_engine.run.seeding import seed_all

_HEAD = ("term", "weight now", "share of the gradient", "over the batches", "weight for a share")


@dataclass(frozen=True)
class TermShare:
    """Measurements of a term.

    Attributes:
        name: Its name.
        settings: Where it was measured, and the wanted share.
        weight: Its weight in the config; ``None`` if that is automatic.
        ratios: Gradient norm of the term at weight 1 over that of the task, of each batch in which
            neither was 0.
    """

    name: str
    settings: AutoWeight
    weight: float | None
    ratios: tuple[float, ...]

    @property
    def wanted(self) -> float | None:
        """The weight that gives the wanted share, with three digits; ``None`` if unmeasured."""
        if not self.ratios:
            return None
        wanted = self.settings.share / (1 - self.settings.share)
        return float(f"{wanted / statistics.median(self.ratios):.3g}")

    def cells(self) -> tuple[str, ...]:
        """Return a row of the table."""
        now = "auto" if self.weight is None else f"{self.weight:g}"
        if self.wanted is None:
            return self.name, now, "no gradient in these batches", "", ""
        factor = 1.0 if self.weight is None else self.weight
        low, middle, high = (
            factor * ratio / (factor * ratio + 1)
            for ratio in (min(self.ratios), statistics.median(self.ratios), max(self.ratios))
        )
        at = " at weight 1" if self.weight is None else ""
        return (
            self.name, now, f"{middle:.2f}{at}", f"{low:.2f} to {high:.2f}", f"{self.wanted:g}"
        )  # fmt: skip


def calibrate(
    config: Config, share: float, batches: int, build: Callable[[Config, Any], nn.Module]
) -> list[TermShare]:
    """Measure the terms of a config on its training data, without changing a weight.

    Schedules are left out. Each term is measured where its automatic weight is, or would be. The
    config's seed decides all that is random.

    Args:
        config: The config of a run.
        share: Wanted gradient norm of each term over the sum of its own and the task's.
        batches: Number of batches.
        build: Builds a model config with all initial weights: ``build(config, model)``.

    Raises:
        ValueError: If the share is not between 0 and 1, there is no batch or no term, or a term
            has several teachers or cannot be measured.
    """
    terms = config.model.get("terms") if "student" in config.model else None
    if not terms:
        raise ValueError(
            "calibrate finds weights of terms, but the config's model, "
            f"{config.model.get('type')}, has none. Name a config with model = dict(terms=...)."
        )
    for name, term in terms.items():
        if not isinstance(term.get("teacher", ""), str):
            raise ValueError(
                f"calibrate measures a term against one teacher, but term {name!r} has several, "
                f"{', '.join(term['teacher'])}. Write a term for each, with its own teacher='...'."
            )
    model = copy.deepcopy(config.model)
    found: dict[str, tuple[AutoWeight, float | None]] = {}
    for name, term in model.terms.items():
        weight = build_weight(term.pop("weight", 1.0))
        given = auto_weight_of(weight, term.pop("share", None))
        settings = replace(given or AutoWeight(), share=share, interval=1)
        found[name] = settings, None if given else float(weight)
        term.pop("schedule", None)
        term["weight"] = settings
    seed_all((config.get("randomness") or {}).get("seed") or 0)
    network: Any = build(config, model)
    controllers = network.distiller.auto_weights
    ratios: dict[str, list[float]] = {name: [] for name in found}
    for data in islice(training_batches(network, config), batches):
        network(**data, mode="loss")
        for name, measured in ratios.items():
            if (ratio := controllers[name].ratio) is not None:
                measured.append(ratio)
    return [TermShare(name, *found[name], tuple(of)) for name, of in ratios.items()]


def calibration_text(shares: list[TermShare]) -> str:
    """Return the table, and lines to paste."""
    wanted = shares[0].settings.share
    head = (*_HEAD[:-1], f"{_HEAD[-1]} of {wanted:g}")
    lines = format_table(head, [one.cells() for one in shares], "<>>>>")
    fixed = {one.name: {"weight": one.wanted} for one in shares if one.wanted is not None}
    if not fixed:
        return "\n".join(lines)
    automatic = {name: {"weight": "auto", "share": wanted} for name in fixed}
    options = " ".join(f"model.terms.{name}.weight={of['weight']:g}" for name, of in fixed.items())
    return "\n".join(
        [
            *lines,
            "",
            "In the config, as they are now:",
            f"model = dict(terms={_dict_text(fixed)})",
            "or steered all through the training:",
            f"model = dict(terms={_dict_text(automatic)})",
            "The first on the command line:",
            f"--cfg-options {options}",
        ]
    )


def _dict_text(node: Any) -> str:
    if not isinstance(node, Mapping):
        return f'"{node}"' if isinstance(node, str) else f"{node:g}"
    return f"dict({', '.join(f'{key}={_dict_text(value)}' for key, value in node.items())})"
