"""Measurement of models: parameters, stored bytes, multiply-adds and latency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from kd_engine.build import TRAINING_ONLY, student_config, without_initial_weights
from kd_engine.cost.latency import ROUNDS, Latency, describe_device, latencies
from kd_engine.cost.macs import count_macs
from kd_engine.cost.score import Cost
from kd_engine.evaluate import build_model, referred_model
from kd_engine.run.first_training import FirstTraining
from kd_engine.run.prerequisites import references_of
from kd_engine.task import Task
from kd_engine.terminal import set_status
from kd_engine.weights.source import WeightSource

RANDOM = "random weights"


@dataclass(frozen=True)
class Candidate:
    """Model to be measured.

    Attributes:
        config: Config of a run, which says in what scope models are built.
        model: Its plain model config.
        source: Its weights; None leaves them random.
    """

    config: Config
    model: Mapping[str, Any]
    source: WeightSource | None = None

    def build(self) -> nn.Module:
        """Build it as an export would write it: without what only its training needs.

        Raises:
            kd_core.checkpoint.CheckpointError: If the weights are unsafe, broken or do not fit.
        """
        plain = without_initial_weights(self.model)
        plain.pop("criterion", None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: nn.Module = build_model(self.config, plain)
        if self.source is not None:
            self.source.load_into(model)
        model.eval()
        return model


@dataclass(frozen=True)
class ModelCost:
    """Costs of one model.

    Attributes:
        parameters: Numbers that are trained, or were.
        stored_bytes: Bytes of the tensors that an export writes, parameters and buffers, each in
            its own type; names and the config's text come on top.
        macs: Multiply-adds of one image; see :func:`kd_engine.cost.macs.count_macs`.
        latency: Name of a device to the latency of one image there.
        weights: Where its weights come from.
    """

    parameters: int
    stored_bytes: int
    macs: int
    latency: Mapping[str, Latency]
    weights: str

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> ModelCost:
        """Return the costs that ``dataclasses.asdict`` made plain values of."""
        latency = {device: Latency(**one) for device, one in content["latency"].items()}
        return cls(**{**content, "latency": latency})

    def on(self, device: str) -> Cost:
        """Return the costs that a joint score takes, with the latency on a device."""
        return Cost(self.stored_bytes, self.macs, self.latency[device].median)


@dataclass(frozen=True)
class Measurement:
    """Costs of several models, measured together.

    Attributes:
        models: Name to costs.
        image: The image that they ran on, in words.
        notes: What else a reader must know.
    """

    models: Mapping[str, ModelCost]
    image: str
    notes: Sequence[str] = ()


def candidates_of(config: Config, checkpoint: str | None = None) -> dict[str, Candidate]:
    """Return the models of a config: its teachers, then the student; or the plain model.

    Args:
        config: The config of a run.
        checkpoint: Checkpoint file or URL of the student; None leaves its weights random.

    Returns:
        ``teacher``, or ``teachers.<name>`` of several, and ``student``; ``model`` of a plain
        config. A teacher has the weights that the config names if they are a file here.
    """
    found = {
        name: Candidate(config, referred_model(reference), _source_here(name, reference))
        for name, reference in references_of(config.model)
        if name.split(".")[0] in ("teacher", "teachers")
    }
    own = "student" if "student" in config.model else "model"
    found[own] = Candidate(config, student_config(config.model), WeightSource.named(checkpoint))
    return found


def measure(
    candidates: Mapping[str, Candidate],
    task: Task,
    devices: Sequence[torch.device],
    size: tuple[int, int] | None = None,
    rounds: int = ROUNDS,
) -> Measurement:
    """Measure models on one image, a batch of 1.

    Args:
        candidates: Name to model; the test data is that of the last one's config.
        task: Their task.
        devices: Where latency is measured.
        size: Height and width of a random image; None takes the first image of the test data, or
            a random one of the same size if that is absent.
        rounds: How often each model is timed on each device.

    Raises:
        kd_core.checkpoint.CheckpointError: If weights are unsafe, broken or do not fit.
        ValueError: If a model does not take the image.
    """
    built = {}
    for name, candidate in candidates.items():
        set_status(f"building the {name}")
        built[name] = candidate.build()
    networks = {name: model for name, model in built.items() if list(model.parameters())}
    image, origin = task.test_image(list(candidates.values())[-1].config, size)
    macs = {}
    for name, model in networks.items():
        set_status(f"counting the multiply-adds of the {name}")
        macs[name] = count_macs(model, partial(task.predict, model, image))
    times = dict(_times(networks, task, image, devices, rounds))
    costs = {
        name: ModelCost(
            sum(one.numel() for one in model.parameters()),
            stored_bytes(model),
            macs[name],
            {device: of_models[name] for device, of_models in times.items()},
            source.checkpoint if (source := candidates[name].source) else RANDOM,
        )
        for name, model in networks.items()
    }
    return Measurement(costs, origin, list(_notes(built, costs, task)))


def stored_bytes(model: nn.Module) -> int:
    """Return the bytes of the tensors that an export of a model writes."""
    return sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in model.state_dict().items()
        if not name.startswith(TRAINING_ONLY)
    )


def _times(
    models: Mapping[str, nn.Module],
    task: Task,
    image: Any,
    devices: Sequence[torch.device],
    rounds: int,
) -> Iterator[tuple[str, dict[str, Latency]]]:
    for device in devices:
        set_status(f"timing {rounds} predictions of each model on {device}")
        for model in models.values():
            model.to(device)
        runs = {name: partial(task.predict, model, image) for name, model in models.items()}
        yield describe_device(device), latencies(runs, device, rounds)


def _source_here(name: str, reference: Mapping[str, Any]) -> WeightSource | None:
    """Return the weights of a reference, unless they would have to be downloaded or trained."""
    named = reference["checkpoint"]
    if named is None or "://" in str(named):
        return None
    if FirstTraining(name, str(named), reference["config"]).is_missing:
        return None
    return WeightSource.of(reference)


def _notes(
    built: Mapping[str, nn.Module], costs: Mapping[str, ModelCost], task: Task
) -> Iterator[str]:
    for name, model in built.items():
        if name not in costs:
            yield f"{name}: {type(model).__name__} has no parameters and is not measured."
        elif uncounted := task.uncounted(model):
            yield f"{name}: {uncounted} is not counted in its multiply-adds."
    guessed = [name for name, cost in costs.items() if cost.weights == RANDOM]
    if task.data_dependent and guessed:
        yield (
            f"{', '.join(guessed)}: random weights; after training another number of boxes may "
            "go through its last layers and NMS. Name a checkpoint for exact figures."
        )
