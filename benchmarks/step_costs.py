"""Cost of a distilled training step over that of the steps of its networks alone."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measure import describe_machine, interleave, peak_bytes, ratios, spread
from kd_core import Distiller
from kd_core.gradients.auto_weight import AUTO, AutoWeights
from kd_core.layers import FeatureHooks
from kd_core.terms import pick_required
from kd_engine.build import without_weight_files

RATIO_LIMIT = 1.05
WEIGHT_LIMIT = 0.02  # share of the time for automatic weights
DISTILLED = "distilled"
CLOCKS = ("wall", "cpu")
_WARM_UP = 2
_FIRST_MEASUREMENTS = 8  # after which the gaps have their full length


class StepCase(Protocol):
    """Training steps to compare: they do the same work on the same batch."""

    distiller: Any

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return the timed actions: ``distilled``, the ``parts``, and peers if there are any."""

    def parts(self) -> list[str]:
        """Name the actions that the distilled step is compared with, all together."""

    def check_same_work(self) -> None:
        """Raise an error if the steps have not done the same work."""

    def term_actions(self) -> dict[str, Callable[[], None]]:
        """Return forward and backward of each term alone."""


def step_costs(case: StepCase, rounds: int, device: torch.device) -> dict[str, Any]:
    """Measure a distilled step against its parts, and peers against the same.

    Args:
        case: The steps to compare.
        rounds: Rounds that count; two come before them.
        device: Where they run.

    Returns:
        A dict that JSON can hold: seconds of each round, ratios, medians, bytes.

    Raises:
        ValueError: If the steps do not do the same work.
    """
    actions, parts, times = case.actions(), case.parts(), _times(case, rounds, device)
    memory = {}
    for name, action in actions.items():
        seed_case()
        memory[name] = peak_bytes(action, device)
    terms = case.term_actions()
    interleave(terms, 1, device)
    wholes = [name for name in actions if name not in parts]
    found = {name: _ratios(times, name, parts) for name in wholes}
    return {
        "machine": describe_machine(device),
        "parts": parts,
        "seconds": times,
        "ratios": found[DISTILLED],
        "ratio": _spreads(found[DISTILLED]),
        "ratio_limit": RATIO_LIMIT,
        "peer_ratio": {name: _spreads(found[name]) for name in wholes if name != DISTILLED},
        "ratio_to_peer": {
            name: _spreads(_ratios(times, DISTILLED, [name]))
            for name in wholes
            if name != DISTILLED
        },
        "terms_seconds": interleave(terms, rounds, device),
        "peak_bytes": memory,
        "auto_weights": auto_weight_cost(case, rounds, device),
    }


def step_ratios(case: StepCase, rounds: int, device: torch.device) -> dict[str, Any]:
    """Measure the time alone of a distilled step against its parts; see :func:`step_costs`."""
    times = _times(case, rounds, device)
    return {
        "parts": case.parts(),
        "seconds": times,
        "ratio": {DISTILLED: _spreads(_ratios(times, DISTILLED, case.parts()))},
    }


def auto_weight_cost(case: StepCase, rounds: int, device: torch.device) -> dict[str, Any] | None:
    """Compare distilled steps in which automatic weights are measured with those between them.

    Returns:
        Seconds of both, iterations from one measurement to the next, and the share of the time
        that measuring takes; ``None`` if no weight is automatic.
    """
    distiller, step = case.distiller, case.actions()[DISTILLED]
    weights = getattr(distiller, "auto_weights", None) or AutoWeights({})
    controllers = [one for _, one in weights.controllers()]
    if not controllers:
        return None

    def run(iterations: int) -> None:
        distiller.set_iteration(distiller.current_iteration() + iterations)
        step()

    far = max(controller.gap for controller in controllers)
    actions = {"between": lambda: run(0), "measuring": lambda: run(far)}
    interleave({"measuring": actions["measuring"]}, _FIRST_MEASUREMENTS, device, seed_case)
    times = interleave(actions, rounds, device, seed_case)
    extra = {
        clock: [(ratio - 1) / far for ratio in found]
        for clock, found in _ratios(times, "measuring", ["between"]).items()
    }
    return {"seconds": times, "gap": far, "share": _spreads(extra), "share_limit": WEIGHT_LIMIT}


def with_auto_weights(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model config whose terms all have automatic weights."""
    terms = model.get("terms", {})
    changed = {
        name: {key: value for key, value in term.items() if key != "share"} | {"weight": AUTO}
        for name, term in terms.items()
    }
    return {**model, "terms": changed} if changed else dict(model)


def cost_lines(report: Mapping[str, Any], titles: Mapping[str, str] | None = None) -> list[str]:
    """Return the report of :func:`step_costs` as the lines of two tables.

    Args:
        report: Its result.
        titles: Name of an action to its title in the table.
    """
    known = titles or {}
    lines = [row("median of the rounds", "wall ms", "CPU ms", "peak MB")]
    for name, times in report["seconds"].items():
        peak = f"{report['peak_bytes'][name] / 1e6:.0f}"
        lines.append(row(known.get(name, name), *_milliseconds(times), peak))
    for name, times in report["terms_seconds"].items():
        lines.append(row(f"  term {name} alone", *_milliseconds(times)))
    parts = " + ".join(report["parts"])
    lines += ["", *_ratio_lines(f"{DISTILLED} / ({parts})", report["ratio"])]
    lines.append(f"  wanted: at most {report['ratio_limit']}")
    for peer, ratio in report["peer_ratio"].items():
        lines += ["", *_ratio_lines(f"{peer} / ({parts})", ratio)]
        lines += _ratio_lines(f"{DISTILLED} / {peer}", report["ratio_to_peer"][peer])
    return lines + _auto_weight_lines(report.get("auto_weights"))


def row(title: str, *cells: str) -> str:
    """Return a line of a table."""
    return f"{title:36}" + "".join(f" {cell:>13}" for cell in cells)


def term_actions(
    model: nn.Module, distiller: Distiller, data: Mapping[str, Any]
) -> dict[str, Callable[[], None]]:
    """Return, for each term, its forward and backward on features captured once.

    Args:
        model: The student that the distiller is attached to.
        distiller: Its distiller.
        data: Arguments of the student's forward, without the mode.
    """
    terms = distiller.terms
    wanted = {name: term.student_layers for name, term in terms.items()}
    hooks = FeatureHooks(model, distiller.student_layers(model), "student")
    distiller.terms, hooks.active = {}, True
    try:
        model(**data, mode="loss")
        student = _leaves(hooks.read_all(wanted))
        given = {
            name: {key: hooks.read_first(paths) for key, paths in term.inputs.items()}
            for name, term in terms.items()
        }
        followed = {key: hooks.read([path]) for key, path in distiller.teacher.follows.items()}
    finally:
        distiller.terms = terms
        hooks.remove()
    layers = {name: term.teacher_layers for name, term in terms.items()}
    more = {"followed": followed} if followed else {}
    teacher = distiller.teacher.run((), {**data, **more}, layers)

    student, teacher = distiller.pairs.select(student, teacher)
    known = distiller.known_inputs(data)

    def action(name: str) -> None:
        connected = distiller.connectors.connect(name, student[name])
        required = pick_required(name, terms[name].requires, known | given[name])
        needed = given[name] | required
        values = terms[name].compare(student[name], teacher[name], needed, connected)
        torch.stack(list(values.values())).sum().backward()

    return {name: functools.partial(action, name) for name in terms}


def without_weights(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model config that reads no file of weights, and whose terms have no schedules."""
    plain: dict[str, Any] = without_weight_files(model)
    if "gradient_shares" in plain:
        plain["gradient_shares"] = None
    for term in plain.get("terms", {}).values():
        term.pop("schedule", None)
    return plain


def seed_case(seed: int = 0) -> None:
    """Seed every generator from which samplers and losses draw."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _times(case: StepCase, rounds: int, device: torch.device) -> dict[str, Any]:
    actions = case.actions()
    interleave(actions, _WARM_UP, device, seed_case)
    times = interleave(actions, rounds, device, seed_case)
    case.check_same_work()
    return times


def _ratios(
    times: Mapping[str, Mapping[str, list[float]]], above: str, below: list[str]
) -> dict[str, list[float]]:
    return {
        clock: ratios(times[above][clock], *(times[name][clock] for name in below))
        for clock in CLOCKS
    }


def _spreads(found: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    return {clock: spread(values) for clock, values in found.items()}


def _ratio_lines(title: str, ratio: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = [row(title, "median", "quartiles", "range")]
    for clock, found in ratio.items():
        lines.append(row(
            f"  {'CPU' if clock == 'cpu' else clock} time", f"{found['median']:.3f}",
            f"{found['q1']:.3f}-{found['q3']:.3f}", f"{found['min']:.3f}-{found['max']:.3f}",
        ))  # fmt: skip
    return lines


def _auto_weight_lines(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    lines = ["", row("automatic weights, distilled step", "wall ms", "CPU ms")]
    for name, times in found["seconds"].items():
        title = "  that measures" if name == "measuring" else f"  {name} two measurements"
        lines.append(row(title, *_milliseconds(times)))
    shares = [f"{found['share'][clock]['median']:.2%}" for clock in CLOCKS]
    lines.append(row(f"  share of the time, one in {found['gap']}", *shares))
    return [*lines, f"  wanted: at most {found['share_limit']:.0%}"]


def _milliseconds(times: Mapping[str, list[float]]) -> list[str]:
    return [f"{1000 * spread(times[clock])['median']:.1f}" for clock in CLOCKS]


def _leaves(node: Any) -> Any:
    if isinstance(node, Tensor):
        return node.detach().clone().requires_grad_()
    if isinstance(node, Mapping):
        return {key: _leaves(value) for key, value in node.items()}
    return [_leaves(item) for item in node]
