"""Requirements of an arm, seen to before its runs: its teacher, its data."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from kd_engine.compare.arms import TrainedArm
from kd_engine.data.required import require_datasets
from kd_engine.doctor.data_warnings import warnings_among
from kd_engine.entry_points import task_of
from kd_engine.run.prerequisites import references_of, require_trained, train_missing

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Prepared:
    """Arm that can be trained.

    Attributes:
        trained: Name of each model that it is given to the digest of its checkpoint.
        warnings: What the check of its data warns of.
    """

    trained: Mapping[str, str]
    warnings: tuple[str, ...]


def prepare(
    one: TrainedArm, work_dir: Path, train_program: Sequence[str] | None, check: bool
) -> Prepared:
    """See to what an arm needs before it is trained.

    Args:
        one: The arm.
        work_dir: Folder of the comparison.
        train_program: Arguments of Python that train a missing teacher; None to require it.
        check: Whether to check the data; each training does, too, but says so on its own.

    Raises:
        FileNotFoundError: If the teacher is missing.
        ValueError: If the data would harm the training.
        SystemExit: If the training of the teacher fails.
    """
    config = copy.deepcopy(one.config)
    config.work_dir, config.launcher = str(one.folder(work_dir)), "none"
    require_datasets(config)
    lines = task_of(config).check_data(config) if check else []
    if train_program is not None:
        train_missing(config, train_program)
    require_trained(config)
    warnings = [line.removeprefix("warning: ").rstrip(".") for line in warnings_among(lines)]
    return Prepared(_digests(config), tuple(warnings))


def _digests(config: Config) -> dict[str, str]:
    """Return name to digest of the files of trained models; those that are not here are left out.

    The config's work dirs are replaced by files already.
    """
    found = {}
    for name, reference in references_of(config.model):
        path = Path(str(reference["checkpoint"])).expanduser()
        if path.is_file():
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
            found[name] = digest.hexdigest()[:16]
    return found
