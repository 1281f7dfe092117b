"""Download of one large file over HTTP: resumed after a break, checked, never half there."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_engine.data.download.partial_file import (
    DownloadError,
    length_of,
    locked,
    part_of,
    read_state,
    write_state,
)
from kd_engine.data.download.progress import DownloadProgress, readable_size

__all__ = ["DownloadError", "RetryPolicy", "Source", "check_space", "download_file"]

_BLOCK = 1 << 20
_SPARE = 64 << 20  # bytes that must stay free on the disk
_GONE = {400, 401, 403, 404, 405, 410, 451}  # retrying will not help


@dataclass(frozen=True)
class Source:
    """Addresses of a file, and the checksums by which it is verified.

    Args:
        urls: Addresses of the same file, tried in turn.
        md5: Published MD5 in hexadecimal digits, or None if there is none.
        sha256: Published SHA-256 in hexadecimal digits, or its first ones where no more are
            published, or None if there is none.
    """

    urls: tuple[str, ...]
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """Limits on attempts and waiting.

    Args:
        tries: Attempts in a row without a new byte before an address is given up.
        pause: Seconds before the second attempt; doubles with each, up to 30.
        timeout: Seconds without an answer after which a connection counts as broken.
    """

    tries: int = 5
    pause: float = 1.0
    timeout: float = 30.0


def download_file(source: Source, target: Path, retry: RetryPolicy | None = None) -> str:
    """Fetch a file, unless it is there already; its checksum is compared in any case.

    Bytes go to ``<target>.part``; a later call resumes there if the server says that the
    file is still the same (ETag or Last-Modified), and starts afresh otherwise. The final name
    appears only after the checksum has been compared. A process that fetches holds a lock on
    ``<target>.part.lock``.

    Args:
        source: Addresses and checksums.
        target: Final name of the file.
        retry: Number of attempts and time limits.

    Returns:
        The SHA-256 of the file in hexadecimal digits.

    Raises:
        DownloadError: If no address gives the file, another process fetches it, the disk is too
            small, or an existing file has another checksum.
    """
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(part_of(target)):
            if not target.is_file():  # else another process has just finished
                return _from_any(source, target, retry or RetryPolicy())
    found = _digests(target)
    if wrong := _mismatch(found, source):
        raise DownloadError(
            f"{target} must have the {wrong[0]} {wrong[1]}, but the file that was there already "
            f"has {wrong[2]}. Remove it, and run the command again to fetch it."
        )
    return found["sha256"]


def check_space(folder: Path, wanted: int, purpose: str) -> None:
    """Stop before a disk overflows.

    Args:
        folder: A folder on the disk in question.
        wanted: Bytes that are about to be written.
        purpose: What they are for, used in the message.

    Raises:
        DownloadError: If they do not fit.
    """
    free = shutil.disk_usage(folder).free
    if wanted + _SPARE > free:
        raise DownloadError(
            f"{purpose} needs {readable_size(wanted)}, but the disk of {folder} has only "
            f"{readable_size(free)} free. Free some space, or set KD_DATA to a folder on another "
            "disk."
        )


def _from_any(source: Source, target: Path, retry: RetryPolicy) -> str:
    part = part_of(target)
    reasons: list[str] = []
    for url in source.urls:
        try:
            _persist(url, part, retry)
            sha256 = _verified(part, source, url)
        except DownloadError as error:
            reasons.append(str(error))
            continue
        os.replace(part, target)
        return sha256
    raise DownloadError(f"{target.name} could not be fetched. " + " ".join(reasons))


def _persist(url: str, part: Path, retry: RetryPolicy) -> None:
    """Retry until the file is complete or several attempts in a row bring nothing new."""
    failures, furthest = 0, length_of(part)
    while True:
        try:
            _attempt(url, part, retry.timeout)
            return
        except urllib.error.HTTPError as error:
            reason = f"{url} answers {error.code} {error.reason}."
            if error.code in _GONE:
                raise DownloadError(reason) from error
        except (OSError, http.client.HTTPException) as error:
            reason = f"{url} broke off at {readable_size(length_of(part))} ({error})."
        failures = 1 if length_of(part) > furthest else failures + 1
        furthest = max(furthest, length_of(part))
        if failures >= retry.tries:
            raise DownloadError(
                f"{reason} Gave up after {failures} attempts without progress; "
                "run the command again to resume there."
            )
        wait = min(30.0, retry.pause * 2 ** (failures - 1))
        print(f"{reason} Trying again in {wait:.0f} s.", file=sys.stderr)
        time.sleep(wait)


def _attempt(url: str, part: Path, timeout: float) -> None:
    """Make one request and append what it brings."""
    state = read_state(part, url)
    start = length_of(part) if state else 0
    if state and state["total"] == start:
        return
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    if state and start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", state["validator"])
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        part.unlink(missing_ok=True)  # our part is longer than the file: the file has changed
        raise ConnectionError("the file on the server has changed, starting afresh") from error
    with answer:
        start, total = _extent(answer, start)
        if start == 0:
            write_state(part, url, answer.headers, total)
        if total is not None:
            check_space(part.parent, total - start, f"the download of {url}")
        _append(answer, part, start, total)


def _extent(answer: Any, start: int) -> tuple[int, int | None]:
    """Return where the answer's bytes begin, and the size of the whole file if it is known."""
    length = answer.headers.get("Content-Length")
    if answer.status != 206:  # the server ignores Range, or the file has changed
        return 0, int(length) if length and length.isdecimal() else None
    unit, _, extent = answer.headers.get("Content-Range", "").partition(" ")
    first, total = extent.partition("-")[0], extent.rpartition("/")[2]
    if unit != "bytes" or first != str(start):
        raise ConnectionError(f"the server sent '{unit} {extent}' when asked from byte {start}")
    return start, int(total) if total.isdecimal() else None


def _append(answer: Any, part: Path, start: int, total: int | None) -> None:
    name = part.name.removesuffix(".part")
    with (
        open(part, "r+b" if start else "wb") as file,
        DownloadProgress(name, start, total) as progress,
    ):
        file.truncate(start)
        file.seek(start)
        position = start
        while block := answer.read(_BLOCK):
            file.write(block)
            position += len(block)
            progress.show(position)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and position != total:
        raise ConnectionError(f"{position} of {total} bytes came")


def _verified(part: Path, source: Source, url: str) -> str:
    """Compare the checksums, and return the SHA-256."""
    found = _digests(part)
    if wrong := _mismatch(found, source):
        part.unlink()
        raise DownloadError(
            f"{url} must have the {wrong[0]} {wrong[1]}, but what came has {wrong[2]}. It was "
            "deleted; run the command again, and if that does not help the source has changed."
        )
    return found["sha256"]


def _mismatch(found: Mapping[str, str], source: Source) -> tuple[str, str, str] | None:
    """Return the checksum that differs from the published one, with both values."""
    for kind, wanted in (("md5", source.md5), ("sha256", source.sha256)):
        if wanted is not None and not found[kind].startswith(wanted.lower()):
            return kind, wanted, found[kind]
    return None


def _digests(file: Path) -> dict[str, str]:
    sums = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with open(file, "rb") as stream:
        while block := stream.read(_BLOCK):
            for one in sums.values():
                one.update(block)
    return {kind: one.hexdigest() for kind, one in sums.items()}
