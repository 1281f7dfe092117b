"""Unpacking of untrusted zip and tar archives: nothing may leave the folder."""

from __future__ import annotations

import errno
import gzip
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from kd_engine.data.download.http import DownloadError, check_space

_BLOCK = 1 << 20
# Errors of the disk for names that no sound archive has: too long, or both a file and a folder.
_OF_NAMES = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL}


class ArchiveError(ValueError):
    """Error of an archive that is damaged or unsafe."""


class _StrictMember(tarfile.TarInfo):
    """A member of a tar archive. tarfile takes a broken header for the end; here it is an error."""

    @classmethod
    def fromtarfile(cls, opened: tarfile.TarFile) -> _StrictMember:
        try:
            return super().fromtarfile(opened)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # a block of zeros: the end
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {opened.offset:,}") from error


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    kind: str  # "file", "folder", or what else it claims to be


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive. All members are checked before the first is written.

    A tar archive is first read to its end, so that the checksum of its compression is compared: a
    damaged one leaves nothing. Those of a zip are compared one by one.

    Args:
        archive: The archive, known by its content and not by its name.
        folder: An existing folder to unpack into.

    Raises:
        ArchiveError: If it is damaged, is neither zip nor tar, or holds a member that is a link,
            a device, or whose path is absolute or contains "..".
        kd_engine.data.download.http.DownloadError: If the disk is too small.
    """
    try:
        if _starts_with(archive, b"PK"):  # not is_zipfile: a tar may end in a zip
            _unpack_zip(archive, folder)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, folder)
        else:
            raise ArchiveError(
                f"{archive} must be a zip or tar archive, but it is neither. "
                "Delete it and fetch it again."
            )
    except (ArchiveError, DownloadError, MemoryError):
        raise
    except Exception as error:  # a damaged archive makes the readers raise nearly anything
        if isinstance(error, OSError) and error.errno not in {None, *_OF_NAMES}:
            raise
        raise ArchiveError(
            f"{archive} is damaged ({error}). Delete it and fetch it again."
        ) from error


def _starts_with(archive: Path, mark: bytes) -> bool:
    with open(archive, "rb") as file:
        return file.read(len(mark)) == mark


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        infos = opened.infolist()
        members = [_Member(i.filename, i.file_size, _zip_kind(i)) for i in infos]
        _judge(archive, folder, members)
        for info, member in zip(infos, members, strict=True):
            if member.kind == "file":
                with opened.open(info) as stream:  # compares the CRC at the end
                    _write(stream, folder / PurePosixPath(member.name), member.size)


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "link" if mode == stat.S_IFLNK else "special file"
    return "folder" if info.is_dir() else "file"


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, tarinfo=_StrictMember) as opened:
        infos = list(_tar_members(opened))
        _read_to_end(opened)
        members = [_Member(i.name, i.size if i.isfile() else 0, _tar_kind(i)) for i in infos]
        _judge(archive, folder, members)
        for info, member in zip(infos, members, strict=True):
            stream = opened.extractfile(info) if member.kind == "file" else None
            if stream is not None:
                with stream:
                    _write(stream, folder / PurePosixPath(member.name), member.size)


def _tar_members(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (info := opened.next()) is not None:
        yield info


def _read_to_end(opened: tarfile.TarFile) -> None:
    """Read what follows the last member: nothing but zeros, and the checksum of a compression."""
    try:
        while opened.fileobj and (block := opened.fileobj.read(_BLOCK)):
            if block.strip(b"\0"):
                raise tarfile.ReadError("there is more behind its end")
    except gzip.BadGzipFile as error:
        if not str(error).startswith("Not a gzipped file"):
            raise
        # The stream ended with the right checksum; gzip itself ignores what follows.


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isfile():
        return "file"
    if info.isdir():
        return "folder"
    return "link" if info.issym() or info.islnk() else "special file"


def _judge(archive: Path, folder: Path, members: Sequence[_Member]) -> None:
    for member in members:
        fault = _fault(member)
        if fault:
            raise ArchiveError(
                f"members of an archive must be plain files inside its folder, but "
                f"{member.name!r} of {archive} {fault}. Nothing was unpacked; do not use it."
            )
    check_space(folder, sum(member.size for member in members), f"unpacking {archive.name}")


def _fault(member: _Member) -> str:
    if member.kind not in ("file", "folder"):
        return f"is a {member.kind}"
    if member.name.startswith("/") or re.match(r"[A-Za-z]:", member.name):
        return "is an absolute path"
    if ".." in member.name.split("/"):
        return "leaves the folder"
    if "\\" in member.name or "\0" in member.name:
        return "has a forbidden character in its path"
    return ""


def _write(stream: IO[bytes], target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as file:
        shutil.copyfileobj(stream, file, _BLOCK)
    if target.stat().st_size != size:
        raise EOFError(f"{target.name} has {target.stat().st_size} bytes instead of {size}")
