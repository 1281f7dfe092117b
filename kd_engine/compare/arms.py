"""Arms of a comparison: the configs that are given, and the student alone of distilled ones."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_engine.build import is_distilled, student_config
from kd_engine.compare.fairness import warnings_of
from kd_engine.compare.fingerprint import data_digest, digests_of, fingerprint
from kd_engine.compare.results import SCORED, Arm, Kind
from kd_engine.config.keys import require_settings
from kd_engine.config.load import load_run_config
from kd_engine.config.parts import require_training
from kd_engine.work_dir.default import default_work_dir

ALONE = "alone"
_SCORED = ("val_dataloader", "val_evaluator")
_OF_A_RUN = ("work_dir", "resume", "launcher")


@dataclass(frozen=True)
class TrainedArm:
    """An arm and the config that its runs are trained with.

    Attributes:
        arm: What the results hold of it.
        config: The whole config, with the seed left open.
    """

    arm: Arm
    config: Config

    def folder(self, root: Path) -> Path:
        """Return the folder of its runs: another config never shares it.

        Args:
            root: Folder of the comparison.
        """
        name = "".join(one if one.isalnum() or one in "+._-" else "_" for one in self.arm.name)
        return root / f"{name}-{self.arm.fingerprint[:8]}"


def given_arms(names: Sequence[str], options: Mapping[str, Any]) -> list[TrainedArm]:
    """Read the configs that are compared.

    Args:
        names: Their names.
        options: Changes of all of them, dotted keys and values.

    Raises:
        ValueError: If one of them cannot be trained or is not scored, or two are the same.
    """
    found: dict[str, TrainedArm] = {}
    shown = _short_names(names)
    for name in names:
        config = load_run_config(name, options)
        require_training(config)
        require_settings(config, _SCORED, "compared")
        kind: Kind = "distilled" if is_distilled(config.model) else "plain"
        made = make_arm(shown[name], name, config, kind)
        if made.arm.fingerprint in found:
            raise ValueError(
                "each config must be compared once, but "
                f"{found[made.arm.fingerprint].arm.config} and {name} are the same: no setting "
                "that decides the result differs. Name one of them."
            )
        found[made.arm.fingerprint] = made
    return list(found.values())


def with_students_alone(given: Sequence[TrainedArm], earlier: Sequence[Arm]) -> list[TrainedArm]:
    """Add the student alone of each distilled config, unless a plain config is given.

    It is the config's own student with the same data and schedule. Configs with the same student
    share it.

    Args:
        given: The arms that are given.
        earlier: Arms that the results hold already.

    Returns:
        All arms; distilled ones name their baseline.
    """
    plain = next((one.arm.name for one in given if one.arm.kind == "plain"), None)
    found: dict[str, TrainedArm] = {}
    names = {arm.name: arm.fingerprint for arm in earlier}
    for one in given:
        baseline = plain if one.arm.kind == "distilled" else None
        if one.arm.kind == "distilled" and plain is None:
            alone = _named_alone(one, names)
            names[alone.arm.name] = alone.arm.fingerprint
            found.setdefault(alone.arm.fingerprint, alone)
            baseline = alone.arm.name
        arm = dataclasses.replace(one.arm, baseline=baseline)
        found[arm.fingerprint] = TrainedArm(arm, one.config)
    return list(found.values())


def _named_alone(distilled: TrainedArm, names: Mapping[str, str]) -> TrainedArm:
    """Return the student alone, under the name that it has already, or under a free one."""
    alone = student_alone(distilled, ALONE)
    own = [name for name, key in names.items() if key == alone.arm.fingerprint]
    name = next(iter(own), ALONE if ALONE not in names else f"{ALONE} ({distilled.arm.name})")
    return TrainedArm(dataclasses.replace(alone.arm, name=name), alone.config)


def student_alone(distilled: TrainedArm, name: str) -> TrainedArm:
    """Return an arm with the student of a distilled one, trained alone."""
    content = distilled.config.to_dict()
    content["model"] = student_config(content["model"])
    made = make_arm(name, distilled.arm.config, Config(content), "plain")
    return TrainedArm(dataclasses.replace(made.arm, derived=True), made.config)


def make_arm(name: str, source: str, config: Config, kind: Kind) -> TrainedArm:
    """Describe a config as an arm.

    Args:
        name: The arm's name.
        source: The config's name.
        config: The config; settings of a single run are taken out of it.
        kind: Kind of the arm.
    """
    for key in _OF_A_RUN:
        config.pop(key, None)
    digests = digests_of(config)
    test = config.get("test_dataloader")
    on_test = bool(test) and digests[SCORED] == data_digest(test)
    arm = Arm(
        name,
        source,
        fingerprint(config),
        kind,
        length=_length(config.train_cfg),
        batch_size=config.train_dataloader.get("batch_size"),
        digests=digests,
        scored_on_test=on_test,
        warnings=tuple(warnings_of(config, on_test)),
    )
    return TrainedArm(arm, config)


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Return each config's name without its folders, or with them where two would be alike."""
    full = {name: default_work_dir(name).relative_to("work_dirs") for name in names}
    times = Counter(path.name for path in {*full.values()})
    return {
        name: path.name if times[path.name] == 1 else path.as_posix() for name, path in full.items()
    }


def _length(loop: Mapping[str, Any]) -> str:
    for setting, unit in (("max_epochs", "epochs"), ("max_iters", "iterations")):
        if loop.get(setting) is not None:
            return f"{loop[setting]} {unit}"
    return ""
