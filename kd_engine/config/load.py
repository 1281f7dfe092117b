"""What the tools share: reading a config with the command line's changes, data checks."""

from __future__ import annotations

import argparse
import atexit
import importlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.config import Config, DictAction

from kd_engine.config.file import read_config
from kd_engine.config.keys import check_keys, check_options
from kd_engine.data.download.public import require_data
from kd_engine.entry_points import package_of, package_of_scope
from kd_engine.weights.checkpoint import use_safe_checkpoints
from kd_engine.weights.pretrained import use_strict_pretrained
from kd_engine.work_dir.default import default_work_dir

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every tool with a config has."""
    parser.add_argument("config", help="config file, or mmdet::<name> of an installed one")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=_Options,
        metavar="KEY=VALUE",
        help="change settings of the config, e.g. train_dataloader.batch_size=4 "
        "model.teacher.checkpoint=best.pth",
    )


def load_run_config(
    name: str, options: Mapping[str, Any] | None = None, work_dir: str | None = None
) -> Config:
    """Read a config, apply the options, and import the package that serves it.

    Also makes reading and writing of checkpoints safe in this process.

    Args:
        name: Config file or ``mmdet::`` name.
        options: Dotted keys and values from the command line.
        work_dir: Folder of the run; by default that of
            :func:`kd_engine.work_dir.default.default_work_dir`.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If it cannot be read, an option does not fit it, or a key looks misspelled.
    """
    use_safe_checkpoints()
    use_strict_pretrained()
    if "::" in name and (package := package_of_scope(name.split("::")[0])):
        importlib.import_module(package)
    config = read_config(name)
    check_options(config, options or {})
    _merge(config, options or {})
    check_keys(config)
    config.work_dir = work_dir or config.get("work_dir") or str(default_work_dir(name))
    importlib.import_module(package_of(config))
    return config


def dataset_configs(config: Config) -> dict[str, dict[str, Any]]:
    """Return the data sets of a config by the name of their data loader."""
    return {key: config[key].dataset for key in _LOADERS if config.get(key)}


def dataset_parts(dataset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the data sets inside the wrappers of a config's ``dataset``, or this itself."""
    inner = dataset.get("datasets", [dataset["dataset"]] if "dataset" in dataset else [])
    if not inner:
        yield dataset
    for one in inner:
        yield from dataset_parts(one)


def require_datasets(config: Config, loaders: tuple[str, ...] = _LOADERS) -> None:
    """Stop at once where the data of a config is missing.

    Raises:
        FileNotFoundError: Names the missing file or folder and the command that fetches it.
    """
    for name, dataset in dataset_configs(config).items():
        if name not in loaders:
            continue
        for part in dataset_parts(dataset):
            root = part.get("data_root") or ""
            if root:
                require_data(root)
            if part.get("ann_file"):
                require_data(os.path.join(root, part["ann_file"]))


def start_processes(config: Config, launcher: str) -> None:
    """Set the launcher of a distributed run; without a GPU its processes talk through gloo.

    mmengine's own start and its model wrapper ask for a GPU, so on a CPU the process group is
    made here first and the wrapper is told to leave the model where it is.
    """
    config.launcher = launcher
    if launcher == "pytorch" and not torch.cuda.is_available():
        torch.distributed.init_process_group("gloo")
        atexit.register(_end_processes)  # gloo's threads may abort a process that just exits
        config.setdefault(
            "model_wrapper_cfg",
            dict(
                type="MMDistributedDataParallel",
                device_ids=None,
                broadcast_buffers=False,
                find_unused_parameters=config.get("find_unused_parameters", False),
            ),
        )


def share_statistics(config: Config) -> None:
    """Have the processes of a distributed run average their batch norms before they validate.

    Each has statistics of its own else, so that a checkpoint has those of one, and embeddings
    of several processes are not comparable.
    """
    hooks = config.get("custom_hooks") or []
    if config.launcher != "none" and "SyncBuffersHook" not in [hook["type"] for hook in hooks]:
        config.custom_hooks = [*hooks, dict(type="SyncBuffersHook")]


def use_mixed_precision(config: Config) -> None:
    """Train in mixed precision.

    Raises:
        ValueError: If there is no GPU: mmengine's AmpOptimWrapper wants one.
    """
    if not torch.cuda.is_available():
        raise ValueError("--amp needs a GPU, and torch sees none. Leave it out on a CPU.")
    config.optim_wrapper.type = "AmpOptimWrapper"
    config.optim_wrapper.setdefault("loss_scale", "dynamic")


class _Options(DictAction):  # type: ignore[misc]
    """mmengine's KEY=VALUE options, with an error for what has no "="."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        bad = [value for value in values or () if "=" not in value]
        if bad:
            raise argparse.ArgumentError(self, f"it must be KEY=VALUE, but it is {bad[0]!r}")
        super().__call__(parser, namespace, values, option_string)


def _merge(config: Config, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        try:
            config.merge_from_dict({key: value})
        except (TypeError, KeyError, AttributeError, IndexError) as error:
            raise ValueError(
                f"--cfg-options {key}={value} does not fit the config ({error.args[0]}). Name a "
                "key of it; the items of a list are counted from 0."
            ) from error


def _end_processes() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
