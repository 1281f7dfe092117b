"""The sets of classification from a local server, in the layout that kd_cls reads."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from kd_engine.data.download.classification_sets import CLASSIFICATION_SETS
from kd_engine.data.download.http import DownloadError, RetryPolicy, Source
from kd_engine.data.download.public import DATASETS, fetch_dataset

QUICK = RetryPolicy(tries=2, pause=0.0, timeout=5.0)
LAYOUTS = {
    "cifar10": ("cifar-10-batches-bin", {"data_batch_1.bin", "test_batch.bin", "batches.meta.txt"}),
    "cifar100": ("cifar-100-binary", {"train.bin", "test.bin", "fine_label_names.txt"}),
    "tiny-imagenet": ("tiny-imagenet-200", {"wnids.txt", "val/val_annotations.txt"}),
}


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def serve_here(
    monkeypatch: pytest.MonkeyPatch, name: str, folder: Path, url: str, right: bool = True
) -> None:
    """Let the files come from the local server, under their own names."""
    (part,) = DATASETS[name]
    sources = []
    for source in part.sources:
        file = source.urls[0].rpartition("/")[2]
        md5 = md5_of(folder / file) if right else source.md5
        sources.append(Source((f"{url}/{file}",), md5=md5))
    monkeypatch.setitem(DATASETS, name, (dataclasses.replace(part, sources=tuple(sources)),))


def tar_of(names: set[str], top: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in sorted(names):
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    return packed.getvalue()


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_archives_become_the_folder_that_the_data_set_reads(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (folder, url), (top, names) = served, LAYOUTS[name]
    file = CLASSIFICATION_SETS[name][0].sources[0].urls[0].rpartition("/")[2]
    if file.endswith(".zip"):
        with zipfile.ZipFile(folder / file, "w") as archive:
            for inner in names:
                archive.writestr(f"{top}/{inner}", "x")
    else:
        (folder / file).write_bytes(tar_of(names, top))
    serve_here(monkeypatch, name, folder, url)
    fetch_dataset(name, tmp_path / "data", QUICK)
    assert files_below(tmp_path / "data") == {f"{top}/{inner}" for inner in names}


@pytest.mark.parametrize(
    ("name", "top", "count"), [("svhn", "svhn", 2), ("fashion-mnist", "fashion_mnist", 4)]
)
def test_files_that_are_no_archives_stay_as_they_are(
    served: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    top: str,
    count: int,
) -> None:
    folder, url = served
    sources = CLASSIFICATION_SETS[name][0].sources
    names = [source.urls[0].rpartition("/")[2] for source in sources]
    for file in names:
        (folder / file).write_bytes(tar_of({file}, "packed"))  # must not be unpacked
    serve_here(monkeypatch, name, folder, url)
    fetch_dataset(name, tmp_path / "data", QUICK)
    assert len(names) == count
    assert files_below(tmp_path / "data") == {f"{top}/{file}" for file in names}
    for file in names:
        assert (tmp_path / "data" / top / file).read_bytes() == (folder / file).read_bytes()
    assert capsys.readouterr().out.count("the checksum is right") == count


def test_a_file_with_another_checksum_leaves_no_folder(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    for file in ("train_32x32.mat", "test_32x32.mat"):
        (folder / file).write_text("<html>not found</html>")
    serve_here(monkeypatch, "svhn", folder, url, right=False)
    with pytest.raises(DownloadError, match="must have the md5 e26dedcc434d2e4c54c9b2d4a06d8373"):
        fetch_dataset("svhn", tmp_path / "data", QUICK)
    assert not (tmp_path / "data/svhn").exists()


@pytest.mark.parametrize("inner", ["101_ObjectCategories.tar.gz", "Annotations.tar"])
def test_caltech_comes_out_of_the_archive_within_the_archive(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str
) -> None:
    folder, url = served
    with zipfile.ZipFile(folder / "caltech-101.zip", "w") as archive:
        images = tar_of({"accordion/image_0001.jpg"}, "101_ObjectCategories")
        archive.writestr(f"caltech-101/{inner}", images)
    serve_here(monkeypatch, "caltech101", folder, url)
    if inner == "Annotations.tar":
        with pytest.raises(ValueError, match=r"the archive .*101_Obj.*but it holds Annotations"):
            fetch_dataset("caltech101", tmp_path / "data", QUICK)
        assert not (tmp_path / "data/101_ObjectCategories").exists()
        return
    fetch_dataset("caltech101", tmp_path / "data", QUICK)
    found = files_below(tmp_path / "data")
    assert found == {"101_ObjectCategories/accordion/image_0001.jpg"}


def test_every_file_has_a_checksum() -> None:
    parts = [part for parts in CLASSIFICATION_SETS.values() for part in parts]
    assert [len(source.md5 or "") for part in parts for source in part.sources] == [32] * 10
