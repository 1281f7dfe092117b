"""Public datasets: fetching them, their folders, and the message about a missing one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kd_core.checkpoint.atomic import put_in_place, temporary_folder
from kd_engine.data.download.classification_sets import CLASSIFICATION_SETS
from kd_engine.data.download.detection_sets import PUBLIC_SETS, Part
from kd_engine.data.download.http import (
    DownloadError,
    RetryPolicy,
    Source,
    check_space,
    download_file,
)
from kd_engine.data.download.partial_file import discard_part
from kd_engine.data.download.unpack import unpack
from kd_engine.data.download.weight_sets import FETCHED_WEIGHTS
from kd_engine.data.voc_to_coco import write_coco_splits

DATASETS: dict[str, tuple[Part, ...]] = {**PUBLIC_SETS, **CLASSIFICATION_SETS}
_BY_HAND = ("caltech100", "omniglot", "inshop", "imagenet")


def data_root() -> Path:
    """Return the folder of all data: what KD_DATA names, or ``data``."""
    return Path(os.environ.get("KD_DATA") or "data")


def fetch_dataset(
    name: str,
    root: Path | None = None,
    retry: RetryPolicy | None = None,
    keep_archives: bool = False,
) -> None:
    """Fetch and unpack a public dataset; folders that are there already are left alone.

    Leftovers of a killed run are removed before a folder is made anew; a broken download is resumed
    by the next run, and removed if the folder is there already. Archives in ``.downloads`` are used
    if their checksum is right.

    Args:
        name: A key of ``DATASETS``.
        root: Folder of all data; None for ``data_root()``.
        retry: How long to try.
        keep_archives: Keep the archives after unpacking.

    Raises:
        ValueError: If the name is unknown or an archive is damaged or unsafe.
        kd_engine.data.download.http.DownloadError: If a file cannot be fetched or the disk is too
            small.
    """
    if name not in DATASETS:
        raise ValueError(
            f"the dataset must be one of {', '.join(DATASETS)}, but it is {name!r}. "
            "For the built-in digits run: kdkit make-digits"
        )
    root = root or data_root()
    for part in DATASETS[name]:
        target = root / part.folder
        if target.is_dir() and any(target.iterdir()):
            print(f"{target} is there already")
            _tidy(part, root / ".downloads")
            continue
        archives = _fetch_archives(part, root / ".downloads", retry)
        _install(part, archives, target)
        print(f"{target} is ready")
        for archive in [] if keep_archives else archives:
            archive.unlink()


def fetch_archive(source: Source, folder: Path, retry: RetryPolicy | None = None) -> Path:
    """Fetch one file, and print how it was verified.

    Args:
        source: Addresses and checksums.
        folder: Where it goes, under the name of its first address.
        retry: How long to try.

    Returns:
        The file.

    Raises:
        kd_engine.data.download.http.DownloadError: If it cannot be fetched or the disk is too
            small.
    """
    archive = folder / _name(source)
    checked = "archive" if archive.is_file() else "size and archive"
    sha256 = download_file(source, archive, retry)
    if source.md5 is None and source.sha256 is None:
        print(
            f"{archive.name}: no published checksum: {checked} integrity checked only; "
            f"sha256 {sha256}"
        )
    else:
        print(f"{archive.name}: the checksum is right; sha256 {sha256}")
    return archive


def require_data(path: str | os.PathLike[str]) -> Path:
    """Return the path if something is there, and stop with a remedy otherwise.

    Args:
        path: A file or folder of a dataset.

    Returns:
        The same path.

    Raises:
        FileNotFoundError: If nothing is there.
    """
    if not Path(path).exists():
        raise FileNotFoundError(missing_data_message(path))
    return Path(path)


def missing_data_message(path: str | os.PathLike[str]) -> str:
    """Return a message that names what is missing and the command that fetches it.

    Args:
        path: A file or folder of a dataset.

    Returns:
        Two or three sentences.
    """
    path = Path(path)
    kind = "file" if path.suffix else "folder"
    setting = os.environ.get("KD_DATA")
    place = f"KD_DATA is {setting}" if setting else "KD_DATA is not set, so data is sought in data"
    text = f"the data {kind} {path} is missing ({place}). "
    if "digits" in path.parts:
        folder = Path(*path.parts[: path.parts.index("digits") + 1])
        return f"{text}Make it with: kdkit make-digits --out {folder}"
    if aligned := [part for part in path.parts if part.startswith("orl_aligned")]:
        faces = Path(*path.parts[: path.parts.index(aligned[0])], "orl_faces")
        return f"{text}Make it with: kdkit face align {faces} kdkit::face/cosine+orl"
    tops = [(part.folder.split("/")[0], name) for name in DATASETS for part in DATASETS[name]]
    known = {top: (name, top) for top, name in tops}
    known |= {file: (name, "weights") for file, name in FETCHED_WEIGHTS.items()}
    for part in reversed(path.parts):
        if part in known:
            name, top = known[part]
            return (
                f"{text}Fetch it with: kdkit fetch {name} "
                f"- or set KD_DATA to the folder that holds {top}."
            )
    if set(_BY_HAND) & set(path.parts):
        return f"{text}'kdkit fetch --help' says how to get it. Or set KD_DATA."
    return f"{text}Put the data there, correct the path in the config, or set KD_DATA."


def _tidy(part: Part, folder: Path) -> None:
    """Remove parts of archives that are no longer needed; print what else may be deleted."""
    for source in part.sources:
        archive = folder / _name(source)
        if discard_part(archive):
            print(f"removed {archive}.part: a broken download had left it")
        if archive.is_file():
            print(f"{archive} is no longer needed and may be deleted")


def _fetch_archives(part: Part, folder: Path, retry: RetryPolicy | None) -> list[Path]:
    try:
        return [fetch_archive(source, folder, retry) for source in part.sources]
    except DownloadError as error:
        raise DownloadError(f"{error} {part.by_hand}".strip()) from error


def _name(source: Source) -> str:
    return source.urls[0].rpartition("/")[2]


def _install(part: Part, archives: list[Path], target: Path) -> None:
    """Unpack next to the target and rename, so that a half-filled folder is never seen."""
    with temporary_folder(target) as workplace:
        inner = _fill(part, archives, workplace)
        for name, new_name in part.extras.items():
            if (workplace / name).is_file():
                (workplace / name).rename(inner / new_name)
        if part.voc_classes:
            write_coco_splits(inner, part.voc_classes)
        put_in_place(inner, target)


def _fill(part: Part, archives: list[Path], workplace: Path) -> Path:
    """Unpack or copy what was fetched, and return the folder that becomes the part's."""
    if not part.inside:
        files = workplace / "files"
        files.mkdir()
        for file in archives:
            check_space(files, file.stat().st_size, f"a copy of {file.name}")
            shutil.copyfile(file, files / file.name)
        return files
    for archive in archives:
        unpack(archive, workplace)
    for name in part.nested:
        if not (workplace / name).is_file():
            raise _other_contents(f"the archive {name}", (workplace / name).parent)
        unpack(workplace / name, workplace)
    inner = _any_case(workplace, part.inside)
    if not inner.is_dir():
        raise _other_contents(f"the folder {part.inside}", workplace)
    return inner


def _other_contents(wanted: str, folder: Path) -> ValueError:
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return ValueError(
        f"the archive must hold {wanted}, but it holds {', '.join(found) or 'nothing'}. "
        "The source has changed; fetch the data by hand."
    )


def _any_case(folder: Path, inside: str) -> Path:
    """Find a folder, whether or not its name has the expected capitals."""
    for found in folder.iterdir():
        if found.name.lower() == inside.lower():
            return found
    return folder / inside
