"""Archives: good ones, damaged ones and evil ones."""

from __future__ import annotations

import io
import random
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from kd_engine.data.download.http import DownloadError
from kd_engine.data.download.unpack import ArchiveError, unpack


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "box/inside"
    folder.mkdir(parents=True)
    return folder


def _zip(path: Path, names: list[str], mode: int | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            if mode is not None and name == names[-1]:
                info.create_system = 3
                info.external_attr = mode << 16
            archive.writestr(info, "/etc/passwd" if mode else f"content of {name}" * 50)
    return path


def _tar(path: Path, members: list[tuple[str, bytes]], link: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        for name, kind in members:
            info = tarfile.TarInfo(name)
            content = f"content of {name}".encode() if kind == tarfile.REGTYPE else b""
            info.type, info.size, info.linkname = kind, len(content), link
            archive.addfile(info, io.BytesIO(content))
    return path


def _files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def test_a_zip_is_unpacked(tmp_path: Path, inside: Path) -> None:
    unpack(_zip(tmp_path / "a.zip", ["one.txt", "sub/", "sub/two.txt"]), inside)
    assert _files(inside) == {"one.txt", "sub/two.txt"}
    assert (inside / "sub/two.txt").read_text() == "content of sub/two.txt" * 50


@pytest.mark.parametrize("last", ["b.txt", "last.zip"])
def test_a_tar_is_unpacked(tmp_path: Path, inside: Path, last: str) -> None:
    members = [("sub", tarfile.DIRTYPE), ("sub/a.txt", tarfile.REGTYPE), (last, tarfile.REGTYPE)]
    unpack(_tar(tmp_path / "a.tar", members), inside)
    assert _files(inside) == {"sub/a.txt", last}
    assert (inside / "sub/a.txt").read_text() == "content of sub/a.txt"


def test_a_tar_that_ends_in_a_zip_is_still_a_tar(tmp_path: Path, inside: Path) -> None:
    inner = _zip(tmp_path / "inner.zip", ["x.txt"])
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(inner, "inner.zip")
    unpack(tmp_path / "a.tar", inside)
    assert _files(inside) == {"inner.zip"}


@pytest.mark.parametrize(
    "name",
    ["/etc/evil", "../evil", "a/../../evil", "..", "C:/evil", "C:evil", "a\\..\\..\\evil"],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_that_leave_the_folder_are_refused(
    tmp_path: Path, inside: Path, name: str, kind: str
) -> None:
    path = tmp_path / f"evil.{kind}"
    if kind == "zip":
        _zip(path, ["good.txt", name])
    else:
        _tar(path, [("good.txt", tarfile.REGTYPE), (name, tarfile.REGTYPE)])
    with pytest.raises(ArchiveError, match="Nothing was unpacked"):
        unpack(path, inside)
    assert _files(tmp_path) == {f"evil.{kind}"}


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is a special file"),
        (tarfile.BLKTYPE, "is a special file"),
        (tarfile.FIFOTYPE, "is a special file"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(
    tmp_path: Path, inside: Path, kind: bytes, what: str
) -> None:
    members = [("good.txt", tarfile.REGTYPE), ("evil", kind)]
    with pytest.raises(ArchiveError, match=f"'evil' of .* {what}"):
        unpack(_tar(tmp_path / "evil.tar", members, link="../../outside"), inside)
    assert _files(tmp_path) == {"evil.tar"}


@pytest.mark.parametrize(
    ("mode", "what"), [(stat.S_IFLNK | 0o777, "link"), (stat.S_IFIFO | 0o666, "special file")]
)
def test_links_and_pipes_in_a_zip_are_refused(
    tmp_path: Path, inside: Path, mode: int, what: str
) -> None:
    with pytest.raises(ArchiveError, match=f"'evil' of .* is a {what}"):
        unpack(_zip(tmp_path / "evil.zip", ["good.txt", "evil"], mode), inside)
    assert _files(tmp_path) == {"evil.zip"}


def test_a_truncated_zip_is_named(tmp_path: Path, inside: Path) -> None:
    path = _zip(tmp_path / "a.zip", ["one.txt", "two.txt"])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ArchiveError, match=r"a\.zip is damaged .* fetch it again"):
        unpack(path, inside)


def test_a_flipped_byte_in_a_zip_is_noticed(tmp_path: Path, inside: Path) -> None:
    path = _zip(tmp_path / "a.zip", ["one.txt"])
    content = bytearray(path.read_bytes())
    content[45] ^= 0xFF  # behind the 30 bytes of the header and the 7 of the name
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(path, inside)


def test_a_truncated_tar_is_named(tmp_path: Path, inside: Path) -> None:
    path = _tar(tmp_path / "a.tar", [("one.txt", tarfile.REGTYPE)])
    path.write_bytes(path.read_bytes()[:520])
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(path, inside)


def test_something_else_is_named(tmp_path: Path, inside: Path) -> None:
    (tmp_path / "page.zip").write_text("<html>sorry</html>" * 100)
    with pytest.raises(ArchiveError, match="neither"):
        unpack(tmp_path / "page.zip", inside)


def _pack(path: Path, mode: str, count: int = 3) -> Path:
    """Pack some files of 60 kB that hardly compress."""
    with tarfile.open(path, mode) as archive:
        for number in range(count):
            info = tarfile.TarInfo(f"{number}.bin")
            content = random.Random(number).randbytes(60_000)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_compression_is_unpacked(tmp_path: Path, inside: Path, mode: str) -> None:
    unpack(_pack(tmp_path / "a.tar", mode), inside)
    assert (inside / "2.bin").read_bytes() == random.Random(2).randbytes(60_000)


@pytest.mark.parametrize("trailer", ["checksum", "length", "cut"])
def test_the_trailer_of_a_gzip_is_compared(tmp_path: Path, inside: Path, trailer: str) -> None:
    """tarfile stops reading before it; a content that is wrong, but decompresses, went through."""
    path = _pack(tmp_path / "a.tar.gz", "w:gz")
    content = bytearray(path.read_bytes())
    if trailer == "cut":
        content = content[:-4]
    else:
        content[-8 if trailer == "checksum" else -4] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"a\.tar\.gz is damaged .* fetch it again"):
        unpack(path, inside)
    assert _files(inside) == set()


def test_what_follows_a_whole_gzip_is_ignored(tmp_path: Path, inside: Path) -> None:
    path = _pack(tmp_path / "a.tar.gz", "w:gz")
    path.write_bytes(path.read_bytes() + b"\0" * 20 + b"a signature")
    unpack(path, inside)
    assert _files(inside) == {"0.bin", "1.bin", "2.bin"}


def test_data_behind_the_end_of_a_tar_is_named(tmp_path: Path, inside: Path) -> None:
    path = _pack(tmp_path / "a.tar", "w")
    path.write_bytes(path.read_bytes() + path.read_bytes())
    with pytest.raises(ArchiveError, match="there is more behind its end"):
        unpack(path, inside)
    assert _files(inside) == set()


def test_a_flipped_bit_in_a_gzip_is_noticed(tmp_path: Path, inside: Path) -> None:
    """Noise is stored as it is, so that the bit changes the content and nothing else."""
    path = _pack(tmp_path / "a.tar.gz", "w:gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(path, inside)
    assert _files(inside) == set()


@pytest.mark.parametrize("fault", ["header", "zeros", "no end", "in the header"])
def test_members_behind_a_damaged_place_are_not_lost_in_silence(
    tmp_path: Path, inside: Path, fault: str
) -> None:
    path = _pack(tmp_path / "a.tar", "w")
    content = bytearray(path.read_bytes())
    second = 512 + 60_416  # its header; content is filled up to whole blocks of 512
    if fault == "header":
        content[second] ^= 0xFF
    elif fault == "zeros":
        content[second : second + 512] = bytes(512)
    else:
        del content[second + (100 if fault == "in the header" else 0) :]
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(path, inside)
    assert _files(inside) == set()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_full_disk_is_noticed_before_anything_is_written(
    tmp_path: Path, inside: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "zip":
        path = _zip(tmp_path / "a.zip", ["one.txt", "sub/two.txt"])
    else:
        path = _pack(tmp_path / "a.tar", "w")
    wanted = {"zip": 50 * len("content of one.txtcontent of sub/two.txt"), "tar": 180_000}[kind]
    usage = shutil.disk_usage(tmp_path)
    for free, fits in ((wanted - 1, False), (wanted, True)):
        free += 64 << 20  # what must stay free
        monkeypatch.setattr(shutil, "disk_usage", lambda _, n=free: usage._replace(free=n))
        if fits:
            unpack(path, inside)
            assert _files(inside)
        else:
            with pytest.raises(DownloadError, match=rf"unpacking a\.{kind} needs .* has only"):
                unpack(path, inside)
            assert _files(inside) == set()


def test_a_name_that_is_file_and_folder_is_named(tmp_path: Path, inside: Path) -> None:
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(_zip(tmp_path / "a.zip", ["one", "one/two"]), inside)
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(_zip(tmp_path / "b.zip", ["x" * 300]), inside)
