"""Datasets from a local server into their folders, and the words for a missing one."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from kd_core.checkpoint.file_lock import try_lock
from kd_engine.data.download import public as download
from kd_engine.data.download.http import DownloadError, RetryPolicy, Source
from kd_engine.data.download.public import (
    DATASETS,
    Part,
    fetch_dataset,
    missing_data_message,
    require_data,
)

QUICK = RetryPolicy(tries=2, pause=0.0, timeout=5.0)
XML = (
    "<annotation><size><width>9</width><height>9</height></size><object><name>cat</name><bndbox>"
    "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>5</ymax></bndbox></object></annotation>"
)


def _tar(path: Path, contents: dict[str, str]) -> str:
    with tarfile.open(path, "w") as archive:
        for name, text in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_two_archives_fill_one_folder(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    one = _tar(folder / "one.tar", {"kit/V7/Annotations/a.xml": XML, "kit/other.txt": "no"})
    two = _tar(folder / "two.tar", {"kit/V7/Annotations/b.xml": XML})
    sources = (
        Source((f"{url}/one.tar",), md5=one),
        Source((f"{url}/two.tar",), md5=two),
    )
    monkeypatch.setitem(DATASETS, "toy", (Part("kit/V7", sources, "kit/V7"),))
    fetch_dataset("toy", tmp_path / "data", QUICK)
    found = {str(p.relative_to(tmp_path / "data")) for p in (tmp_path / "data").rglob("*.*")}
    assert found == {".downloads", "kit/V7/Annotations/a.xml", "kit/V7/Annotations/b.xml"}
    (folder / "one.tar").unlink()  # a second call must not need it
    fetch_dataset("toy", tmp_path / "data", QUICK)


def test_voc_gets_coco_files_and_no_checksum_is_said_plainly(
    served: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, url = served
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("top/SET/Annotations/a.xml", XML)
        archive.writestr("top/SET/ImageSets/Main/val.txt", "a\n")
        archive.writestr("top/LICENSE", "free")
    digest = hashlib.sha256((folder / "x.zip").read_bytes()).hexdigest()
    extras = {"top/LICENSE": "upstream_LICENSE", "top/absent": "nothing"}
    part = Part("toy_voc", (Source((f"{url}/x.zip",)),), "top/SET", extras, ("cat",))
    monkeypatch.setitem(DATASETS, "toy", (part,))
    monkeypatch.setenv("KD_DATA", str(tmp_path / "elsewhere"))
    fetch_dataset("toy", retry=QUICK, keep_archives=True)
    root = tmp_path / "elsewhere/toy_voc"
    assert (root / "upstream_LICENSE").read_text() == "free"
    assert '"bbox": [0.0, 0.0, 3.0, 4.0]' in (root / "annotations_coco/val.json").read_text()
    assert (tmp_path / "elsewhere/.downloads/x.zip").is_file()
    printed = capsys.readouterr().out
    assert "no published checksum: size and archive integrity checked only" in printed
    assert digest in printed


@pytest.mark.parametrize("fault", ["evil", "other"])
def test_a_bad_archive_leaves_no_folder(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    folder, url = served
    names = {"evil": {"top/a.txt": "x", "../evil.txt": "x"}, "other": {"elsewhere/a.txt": "x"}}
    _tar(folder / "x.tar", names[fault])
    part = Part("toy", (Source((f"{url}/x.tar",)),), "top")
    monkeypatch.setitem(DATASETS, "toy", (part,))
    message = {"evil": "leaves the folder", "other": "must hold the folder top"}[fault]
    with pytest.raises(ValueError, match=message):
        fetch_dataset("toy", tmp_path / "data", QUICK)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".downloads"]


@pytest.fixture
def toy(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """A dataset of one archive with a checksum; its folder to be, and the served archive."""
    folder, url = served
    md5 = _tar(folder / "x.tar", {"top/a.txt": "right"})
    part = Part("sets/toy", (Source((f"{url}/x.tar",), md5=md5),), "top")
    monkeypatch.setitem(DATASETS, "toy", (part,))
    return tmp_path / "data/sets/toy", folder / "x.tar"


def test_an_empty_folder_is_filled(toy: tuple[Path, Path], tmp_path: Path) -> None:
    toy[0].mkdir(parents=True)
    fetch_dataset("toy", tmp_path / "data", QUICK)
    assert (toy[0] / "a.txt").read_text() == "right"


def test_an_archive_that_lies_there_already_is_compared(
    toy: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "data/.downloads/x.tar"
    archive.parent.mkdir(parents=True)
    _tar(archive, {"top/a.txt": "wrong"})
    with pytest.raises(DownloadError, match=r"x\.tar must have the md5 .* Remove it"):
        fetch_dataset("toy", tmp_path / "data", QUICK)
    assert not toy[0].exists() and "the checksum is right" not in capsys.readouterr().out
    archive.write_bytes(toy[1].read_bytes())
    toy[1].unlink()
    fetch_dataset("toy", tmp_path / "data", QUICK)
    assert (toy[0] / "a.txt").read_text() == "right"
    assert "x.tar: the checksum is right" in capsys.readouterr().out


def test_what_killed_runs_left_is_removed_and_named(
    toy: tuple[Path, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    killed, busy = (toy[0].with_name(f".toy.{digit * 16}.tmp") for digit in "ab")
    for place in (killed, busy):
        (place / "content").mkdir(parents=True)
        (place / "lock").touch()
        (place / "content/half.bin").write_bytes(b"x")
    with (busy / "lock").open("r+b") as other:
        assert try_lock(other.fileno())
        fetch_dataset("toy", tmp_path / "data", QUICK)
        assert {path.name for path in toy[0].parent.iterdir()} == {"toy", busy.name}
    assert f"removed {killed}" in caplog.text and str(busy) not in caplog.text
    archive = tmp_path / "data/.downloads/x.tar"
    for name in ("x.tar", "x.tar.part", "x.tar.part.json"):
        archive.with_name(name).write_bytes(b"{}")
    capsys.readouterr()
    fetch_dataset("toy", tmp_path / "data", QUICK)
    assert [path.name for path in archive.parent.iterdir()] == ["x.tar"]
    said = capsys.readouterr().out
    assert f"removed {archive}.part" in said and f"{archive} is no longer needed" in said


def serve_instead(monkeypatch: pytest.MonkeyPatch, name: str, source: Source) -> None:
    """Fetch a known dataset from here, all else being as it is."""
    (part,) = DATASETS[name]
    monkeypatch.setitem(DATASETS, name, (dataclasses.replace(part, sources=(source,)),))


def test_cub_keeps_what_lies_beside_its_folder(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    contents = {"attributes.txt": "1 bill", "CUB_200_2011/images.txt": "1 a.jpg"}
    with tarfile.open(folder / "CUB_200_2011.tgz", "w:gz") as archive:
        for name, text in contents.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    serve_instead(monkeypatch, "cub", Source((f"{url}/CUB_200_2011.tgz",)))
    fetch_dataset("cub", tmp_path / "data", QUICK)
    root = tmp_path / "data/CUB_200_2011"
    assert {path.name for path in root.iterdir()} == {"attributes.txt", "images.txt"}


@pytest.mark.parametrize("top", ["CARS196", "cars196"])
def test_cars_come_whatever_the_capitals_of_their_folder(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: str
) -> None:
    folder, url = served
    with zipfile.ZipFile(folder / "CARS196.zip", "w") as archive:
        archive.writestr(f"{top}/cars_annos.mat", "x")
        archive.writestr(f"{top}/car_ims/000001.jpg", "x")
    serve_instead(monkeypatch, "cars", Source((f"{url}/CARS196.zip",)))
    fetch_dataset("cars", tmp_path / "data", QUICK)
    assert (tmp_path / "data/cars196/car_ims/000001.jpg").is_file()


def test_cars_that_cannot_be_fetched_say_what_to_do_by_hand(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_instead(monkeypatch, "cars", Source((f"{served[1]}/CARS196.zip",)))
    with pytest.raises(DownloadError, match=r"404.*want an account.*kdkit fetch --help. says"):
        fetch_dataset("cars", tmp_path / "data", QUICK)
    assert not (tmp_path / "data/cars196").exists()


def test_sop_is_taken_from_its_second_address_if_the_first_has_another_file(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    with zipfile.ZipFile(folder / "right.zip", "w") as archive:
        archive.writestr("Stanford_Online_Products/Ebay_train.txt", "x")
        archive.writestr("__MACOSX/._x", "x")
    (folder / "wrong.zip").write_text("<html>too many downloads</html>")
    md5 = hashlib.md5((folder / "right.zip").read_bytes(), usedforsecurity=False).hexdigest()
    urls = (f"{url}/wrong.zip", f"{url}/right.zip?confirm=t")
    serve_instead(monkeypatch, "sop", Source(urls, md5=md5))
    fetch_dataset("sop", tmp_path / "data", QUICK)
    assert (tmp_path / "data/Stanford_Online_Products/Ebay_train.txt").is_file()
    assert [path.name for path in (tmp_path / "data").glob("[!.]*")] == ["Stanford_Online_Products"]


def test_a_missing_archive_is_named(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part("toy", (Source((f"{served[1]}/gone.tar",)),), "top")
    monkeypatch.setitem(DATASETS, "toy", (part,))
    with pytest.raises(DownloadError, match=r"gone\.tar could not be fetched.*404"):
        fetch_dataset("toy", tmp_path / "data", QUICK)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bccd.*'cocoa'"):
        fetch_dataset("cocoa", tmp_path)


def test_the_table_is_well_formed() -> None:
    folders = [part.folder for parts in DATASETS.values() for part in parts]
    assert folders == [
        *("coco/annotations", "coco/val2017", "coco/train2017"),
        *("VOCdevkit/VOC2007", "VOCdevkit/VOC2012", "bccd_voc", "chess_coco"),
        *("CUB_200_2011", "cars196", "Stanford_Online_Products"),
        *("cifar-10-batches-bin", "cifar-100-binary", "svhn"),
        *("tiny-imagenet-200", "fashion_mnist", "101_ObjectCategories"),
    ]
    sources = [s for parts in DATASETS.values() for part in parts for s in part.sources]
    assert all(len(source.md5) == 32 for source in sources if source.md5)
    assert all(url.startswith("http") for source in sources for url in source.urls)


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("data/coco/train2017", "kdkit fetch coco"),
        ("data/VOCdevkit/VOC2007/JPEGImages", "kdkit fetch voc"),
        ("data/bccd_voc", "kdkit fetch bccd"),
        ("data/chess_coco/train", "kdkit fetch chess"),
        ("data/CUB_200_2011", "kdkit fetch cub"),
        ("data/cars196/cars_annos.mat", "kdkit fetch cars"),
        ("data/Stanford_Online_Products", "kdkit fetch sop"),
        ("data/omniglot", "'kdkit fetch --help' says how to get it"),
        ("data/cifar-10-batches-bin", "kdkit fetch cifar10"),
        ("data/cifar-100-binary/train.bin", "kdkit fetch cifar100"),
        ("data/svhn", "kdkit fetch svhn"),
        ("data/tiny-imagenet-200/train", "kdkit fetch tiny-imagenet"),
        ("data/fashion_mnist", "kdkit fetch fashion-mnist"),
        ("data/caltech100", "'kdkit fetch --help' says how to get it"),
        ("data/imagenet/train", "'kdkit fetch --help' says how to get it"),
        ("data/digits/annotations", "kdkit make-digits --out data/digits"),
    ],
)
def test_what_is_missing_is_named_with_its_command(
    path: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KD_DATA", raising=False)
    message = missing_data_message(path)
    assert path in message and command in message and "KD_DATA" in message
    monkeypatch.setenv("KD_DATA", "somewhere")
    assert "KD_DATA is somewhere" in missing_data_message(path)


def test_a_missing_folder_of_ones_own_gets_no_command() -> None:
    assert "kdkit " not in missing_data_message("data/mine")


def test_require_data(tmp_path: Path) -> None:
    assert require_data(tmp_path) == tmp_path
    with pytest.raises(FileNotFoundError, match="folder .*coco is missing"):
        require_data(tmp_path / "coco")
    with pytest.raises(FileNotFoundError, match=r"file .*x\.json is missing"):
        require_data(tmp_path / "coco/x.json")


def test_the_data_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_DATA", "somewhere")
    assert download.data_root() == Path("somewhere")
    monkeypatch.setenv("KD_DATA", "")
    assert download.data_root() == Path("data")
