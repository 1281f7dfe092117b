"""Builder of a method's networks from config dicts and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import nn

from kd_core.checkpoint.load import load_weights, state_dict_of
from kd_engine.adapter import ModelAdapter
from kd_engine.build import build_trained, student_config
from kd_engine.config.file import read_config
from kd_engine.config.preprocessor import preprocessed_model
from kd_engine.weights.source import read_engine_checkpoint
from kd_engine.work_dir.run_checkpoint import checkpoint_file

_HEADS = "distiller.heads."
_EXAMPLE = "kdkit::cls/heads+digits"


class ConfigNetworkBuilder:
    """A :class:`kd_core.methods.adapter.NetworkBuilder` for config dicts.

    The other networks leave the random numbers alone: they continue as if only the student had
    been built.

    Args:
        student: Model config of the student.
        adapter: The task.
    """

    def __init__(self, student: Mapping[str, Any], adapter: ModelAdapter) -> None:
        self.config, self.adapter = student, adapter

    def student(self) -> nn.Module:
        """Build the student."""
        model: nn.Module = MODELS.build(ConfigDict(self.config))
        return model

    def network(self, config: Mapping[str, Any]) -> nn.Module:
        """Build another network."""
        with torch.random.fork_rng(devices=[]):
            model: nn.Module = MODELS.build(ConfigDict(config))
        return model

    def peers(self, configs: Sequence[Mapping[str, Any]]) -> dict[str, nn.Module]:
        """Build peers, keyed by readable names, each with weights of its own.

        Raises:
            ValueError: If they are not a list of one or more dicts.
        """
        names = self.names_of(configs)
        with torch.random.fork_rng(devices=[]):
            built = [MODELS.build(ConfigDict(config)) for config in configs]
        return dict(zip(names, built, strict=True))

    def trained(
        self, reference: Mapping[str, Any], name: str = "teacher"
    ) -> tuple[nn.Module, torch.dtype | None]:
        """Build a trained network: see :func:`kd_engine.build.build_trained`.

        Raises:
            ValueError: If the checkpoint lacks the weights of the classes that the task needs.
        """
        model, precision = build_trained(reference, name)
        child = self.adapter.scored_by
        if child is not None and reference["checkpoint"] is not None:
            found, file = _part_of(reference, f"{child}.")
            if not found:
                raise ValueError(
                    f"class scores need {child}.* of a trained network, but {file} has none. Take "
                    "the checkpoint of the run itself; kdkit export leaves them out."
                )
            load_weights(model.get_submodule(child), found, source=file, ignore=())
        return model, precision

    def trained_peers(
        self, references: Sequence[Mapping[str, Any]]
    ) -> list[tuple[nn.Module, torch.dtype | None]]:
        """Build what was trained alone before: the student's network, then each peer."""
        with torch.random.fork_rng(devices=[]):
            built = []
            for number, reference in enumerate(references):
                torch.rand(())  # so that networks without a checkpoint differ
                name = f"peers.{number - 1}" if number else "pretrained"
                built.append(build_trained(reference, name))
        return built

    def configs_of(self, references: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the plain model configs of references, each a file's or given as it is.

        Raises:
            ValueError: If they are not a list of one or more dicts.
        """
        found: list[Mapping[str, Any]] = []
        for reference in _require_list(references, "dict(config=, checkpoint=)"):
            config = reference.get("config", {})
            found.append(
                student_config(
                    preprocessed_model(read_config(config)) if isinstance(config, str) else config
                )
            )
        return found

    def names_of(self, configs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Name peers for people, such as "peer 1 (resnet20)".

        Raises:
            ValueError: If they are not a list of one or more dicts.
        """
        listed = _require_list(configs, "model configs")
        return [f"peer {number} ({_kind(one)})" for number, one in enumerate(listed, start=1)]

    def heads_of(self, reference: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
        """Read the heads that :class:`kd_core.methods.TeacherHeads` trained from a checkpoint.

        Returns:
            Their weights and the file's name; ``None`` for a reference without a checkpoint.

        Raises:
            ValueError: If the checkpoint has none; names the command that trains them.
        """
        config = reference["config"]
        if reference["checkpoint"] is None:
            return None
        found, file = _part_of(reference, _HEADS)
        if found:
            return found, file
        own = isinstance(config, str) and "pretrained" in read_config(config).model
        raise ValueError(
            "the teacher's heads are trained before the student, in a phase of their own, but "
            f"{file} has no heads ({_HEADS}*). Train them: kdkit train "
            f"{config if own else _EXAMPLE} --with-teacher"
            + ("" if own else " (or a config like it, for your teacher)")
            + ", and name its config and checkpoint as teacher."
        )


def _part_of(reference: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], str]:
    """Read the weights of a reference's checkpoint below a prefix; also return the file's name."""
    config = reference["config"]
    file = checkpoint_file(reference["checkpoint"], config if isinstance(config, str) else None)
    weights = state_dict_of(read_engine_checkpoint(file))
    found = {key.removeprefix(prefix): v for key, v in weights.items() if key.startswith(prefix)}
    return found, file


def _kind(config: Mapping[str, Any]) -> str:
    """Return a model's kind: the name or type of its first part that has one."""
    for part in config.values():
        if isinstance(part, Mapping) and (found := part.get("name") or part.get("type")):
            return str(found)
    return str(config.get("type"))


def _require_list(peers: Any, of: str) -> list[Any]:
    listed = isinstance(peers, list | tuple)
    if not listed or not peers or not all(isinstance(one, Mapping) for one in peers):
        kind = f"a list of {len(peers)}" if listed else f"a {type(peers).__name__}"
        raise ValueError(f"peers must be a list of one or more {of}, but it is {kind}.")
    return list(peers)
