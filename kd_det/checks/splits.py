"""Check of splits: scored data should have no images that are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.config import Config

from kd_det.checks.report import DataReport
from kd_engine.data.shared_images import ALLOW, judge_shared, shared_images


def check_splits(config: Config, reports: Mapping[str, Sequence[DataReport]]) -> None:
    """Compare the training data with the data to be scored.

    Some shared images are a warning. Nothing but training images is an error unless the config
    has ``allow_val_on_train = True``.

    Args:
        config: The config of a run.
        reports: Loader to the reports on its datasets; they receive the findings.
    """
    train = _files(reports.get("train_dataloader", ()))
    done: dict[tuple[int, ...], str] = {}
    for loader in ("val_dataloader", "test_dataloader"):
        owners = reports.get(loader, ())
        scored = _files(owners)
        key = tuple(map(id, owners))  # the same reports where val and test have the same data
        if not train or not scored or key in done:
            continue
        done[key] = loader
        name = loader.removesuffix("_dataloader")
        try:
            allowed = bool(config.get(ALLOW, False))
            warning = judge_shared(shared_images(train, scored), name, allowed)
        except ValueError as error:
            owners[0].error("", str(error))
        else:
            if warning:
                owners[0].warn("", warning)


def _files(reports: Sequence[DataReport]) -> dict[str, int]:
    return {path: size for report in reports for path, size in report.files.items()}
