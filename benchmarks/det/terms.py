"""Cost of each kind of term of a detector, by one table: head responses, feature losses, masks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config

from benchmarks.det.case import DetectorCase
from benchmarks.measure import describe_machine
from benchmarks.step_costs import DISTILLED, RATIO_LIMIT, row, step_ratios
from kd_engine.config.load import load_run_config

_QUERIES, _LAYERS = 100, 2  # of the small DINO


@dataclass(frozen=True)
class Kind:
    """Kind of term that is measured.

    Attributes:
        config: A config of the repository that has it.
        change: What is changed in that config before it is built.
    """

    config: str
    change: Callable[[Config], None] | None = None


def _masked(mask: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        config.model.terms.pkd.mask = mask

    return change


def _smaller(config: Config) -> None:
    """Make student and teacher a DINO of few queries and layers: a step takes seconds, not more."""
    model = config.model
    model.teacher.config = load_run_config(model.teacher.config).model
    for one in (model.student, model.teacher.config):
        one.num_queries = _QUERIES
        one.encoder.num_layers = one.decoder.num_layers = _LAYERS
        one.backbone.init_cfg = None


def _memory(config: Config) -> None:
    _smaller(config)
    loss = {"type": "kd_core.losses.PearsonFeatureLoss"}
    config.model.terms = {"memory": {"loss": loss, "layers": "encoder"}}


KINDS = {
    "imitation": Kind("kdkit::det/imitation+bccd"),
    "hmat": Kind("kdkit::det/hmat+bccd"),
    "asckd": Kind("kdkit::det/asckd+bccd"),
    "pkd": Kind("kdkit::det/pkd+bccd"),
    "pkd-boxes": Kind("kdkit::det/pkd+bccd", _masked("boxes")),
    "pkd-scores": Kind("kdkit::det/pkd+bccd", _masked("scores")),
    "pkd-attention": Kind("kdkit::det/pkd+bccd", _masked("attention")),
    "fgd": Kind("kdkit::det/fgd+bccd"),
    "mgd": Kind("kdkit::det/mgd+bccd"),
    "fbkd": Kind("kdkit::det/fbkd+bccd"),
    "review_kd": Kind("kdkit::det/review_kd+bccd"),
    "rpn": Kind("kdkit::det/rpn+bccd"),
    "roi": Kind("kdkit::det/roi+bccd"),
    "response": Kind("kdkit::det/dense/response+bccd"),
    "response-gfl": Kind("kdkit::det/dense/response+bccd_gfl"),
    "crosskd": Kind("kdkit::det/dense/crosskd+bccd"),
    "crosskd-gfl": Kind("kdkit::det/dense/crosskd+bccd_gfl"),
    "queries": Kind("kdkit::query_dino", _smaller),
    "memory": Kind("kdkit::query_dino", _memory),
}


@dataclass(frozen=True)
class TermSettings:
    """Settings of a measurement.

    Attributes:
        kinds: Names of kinds; empty for all.
        size: Height and width in pixels of the images of a step.
        batch: Number of images of a step.
        rounds: Rounds that count; two come before them.
        device: Where to run.
    """

    kinds: Sequence[str] = ()
    size: tuple[int, int] = (256, 320)
    batch: int = 2
    rounds: int = 12
    device: str = "cpu"


def measure_terms(settings: TermSettings) -> Iterator[dict[str, Any]]:
    """Measure a distilled step of each kind against its networks alone, one kind after another.

    Args:
        settings: How to measure.

    Yields:
        A dict that JSON can hold: the kind, its config, seconds of each round, and ratios of a
        distilled step to one of the student alone and a forward of the teacher, as far as the
        terms need it.

    Raises:
        ValueError: If there is no such kind, or the two students do not do the same work.
    """
    if unknown := sorted(set(settings.kinds) - set(KINDS)):
        raise ValueError(f"kinds must be some of {', '.join(KINDS)}, not {', '.join(unknown)}.")
    device = torch.device(settings.device)
    for name in settings.kinds or KINDS:
        config = copy.deepcopy(load_run_config(KINDS[name].config))
        if change := KINDS[name].change:
            change(config)
        case = DetectorCase(config, settings.size, settings.batch, device)
        found = step_ratios(case, settings.rounds, device)
        yield {"kind": name, "config": KINDS[name].config, **found}


def head_lines(settings: TermSettings) -> list[str]:
    """Return what a table of :func:`line_of` begins with."""
    height, width = settings.size
    return [
        describe_machine(torch.device(settings.device)),
        f"{settings.batch} images of {height} x {width}, {settings.rounds} rounds; a distilled "
        f"step over student step + teacher forward (wanted: at most {RATIO_LIMIT})\n",
        row("kind", "wall", "quartiles", "CPU", "quartiles"),
    ]


def line_of(report: dict[str, Any]) -> str:
    """Return the line of one kind."""
    cells = []
    for clock in ("wall", "cpu"):
        ratio = report["ratio"][DISTILLED][clock]
        cells += [f"{ratio['median']:.3f}", f"{ratio['q1']:.3f}-{ratio['q3']:.3f}"]
    return row(report["kind"], *cells)
