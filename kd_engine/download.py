"""The public data sets: where they come from, where they go, and what to do when one is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from kd_engine.transfer import DownloadError, Patience, Source, download_file
from kd_engine.unpack import unpack
from kd_engine.voc_to_coco import write_coco_splits

_BCCD = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"
_CHESS = "246442c35465cdc9c917cdd0aa36698320def063"
_BY_HAND = {
    **dict.fromkeys(("caltech100", "omniglot", "inshop"), "docs/retrieval_data.md"),
    **dict.fromkeys(
        (
            *("cifar-10-batches-bin", "cifar-100-binary", "svhn"),
            *("tiny-imagenet-200", "imagenet", "fashion_mnist"),
        ),
        "docs/classification_data.md",
    ),
}
_STANFORD = "http://ftp.cs.stanford.edu/cs/cvgl"


@dataclass(frozen=True)
class Part:
    """One folder of a data set and the archives that fill it.

    Args:
        folder: Folder below the data folder; it appears whole or not at all.
        sources: Archives, unpacked one after the other into the same place.
        inside: Folder within the archives that becomes ``folder``.
        extras: Files elsewhere in the archives to keep, and their new names.
        voc_classes: Classes in the order of their ids if COCO JSON is to be made from VOC.
        by_hand: What to do when no source answers.
    """

    folder: str
    sources: tuple[Source, ...]
    inside: str
    extras: dict[str, str] = field(default_factory=dict)
    voc_classes: tuple[str, ...] = ()
    by_hand: str = ""


def _coco(name: str, md5: str) -> tuple[Source, ...]:
    folder = "annotations" if name.startswith("annotations") else "zips"
    return (Source((f"http://images.cocodataset.org/{folder}/{name}",), md5=md5),)


def _voc(year: int, name: str, md5: str) -> Source:
    official = f"http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/{name}"
    return Source((official, f"https://pjreddie.com/media/files/{name}"), md5=md5)


def _github(repository: str, commit: str) -> tuple[Source, ...]:
    return (Source((f"https://github.com/{repository}/archive/{commit}.zip",)),)


DATASETS: dict[str, tuple[Part, ...]] = {
    "coco": (
        Part(
            "coco/annotations",
            _coco("annotations_trainval2017.zip", "f4bbac642086de4f52a3fdda2de5fa2c"),
            "annotations",
        ),
        Part("coco/val2017", _coco("val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80"), "val2017"),
        Part(
            "coco/train2017",
            _coco("train2017.zip", "cced6f7f71b7629ddf16f17bbcfab6b2"),
            "train2017",
        ),
    ),
    "voc": (
        Part(
            "VOCdevkit/VOC2007",
            (
                _voc(2007, "VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
                _voc(2007, "VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
            ),
            "VOCdevkit/VOC2007",
        ),
        Part(
            "VOCdevkit/VOC2012",
            (_voc(2012, "VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"),),
            "VOCdevkit/VOC2012",
        ),
    ),
    "bccd": (
        Part(
            "bccd_voc",
            _github("Shenggan/BCCD_Dataset", _BCCD),
            f"BCCD_Dataset-{_BCCD}/BCCD",
            {
                f"BCCD_Dataset-{_BCCD}/LICENSE": "upstream_LICENSE",
                f"BCCD_Dataset-{_BCCD}/README.md": "upstream_README.md",
            },
            ("RBC", "WBC", "Platelets"),
        ),
    ),
    "chess": (
        Part("chess_coco", _github("jsansao/ChessPiecesv23", _CHESS), f"ChessPiecesv23-{_CHESS}"),
    ),
    "cub": (
        Part(
            "CUB_200_2011",
            (
                Source(
                    ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
                    md5="97eceeb196236b17998738112f37df78",
                ),
            ),
            "CUB_200_2011",
            {"attributes.txt": "attributes.txt"},
        ),
    ),
    "cars": (
        Part(
            "cars196",
            (Source((f"{_STANFORD}/CARS196.zip",)),),
            "CARS196",
            by_hand="The original address of Cars196 is gone; the other sources want an account. "
            "docs/retrieval_data.md names them and says which files go where in cars196/.",
        ),
    ),
    "sop": (
        Part(
            "Stanford_Online_Products",
            (
                Source(
                    (
                        f"{_STANFORD}/Stanford_Online_Products.zip",
                        "https://drive.usercontent.google.com/download"
                        "?id=1TclrpQOF_ullUP99wk_gjGN8pKvtErG8&export=download&confirm=t",
                    ),
                    md5="7f73d41a2f44250d4779881525aea32e",
                ),
            ),
            "Stanford_Online_Products",
        ),
    ),
}


def data_root() -> Path:
    """Return the folder of all data: what KD_DATA names, or ``data``."""
    return Path(os.environ.get("KD_DATA") or "data")


def fetch_dataset(
    name: str,
    root: Path | None = None,
    patience: Patience | None = None,
    keep_archives: bool = False,
) -> None:
    """Fetch and unpack a public data set; folders that are there already are left alone.

    Args:
        name: A key of ``DATASETS``.
        root: Folder of all data; None for ``data_root()``.
        patience: How long to try.
        keep_archives: Keep the archives after unpacking.

    Raises:
        ValueError: If the name is unknown or an archive is damaged or unsafe.
        kd_engine.transfer.DownloadError: If a file cannot be fetched or the disk is too small.
    """
    if name not in DATASETS:
        raise ValueError(
            f"the data set must be one of {', '.join(DATASETS)}, but it is {name!r}. "
            "For the built-in digits run: python tools/make_digits.py"
        )
    root = root or data_root()
    for part in DATASETS[name]:
        target = root / part.folder
        if target.is_dir() and any(target.iterdir()):
            print(f"{target} is there already")
            continue
        archives = _fetch_archives(part, root / ".downloads", patience)
        _install(part, archives, target)
        print(f"{target} is ready")
        for archive in [] if keep_archives else archives:
            archive.unlink()


def require_data(path: str | os.PathLike[str]) -> Path:
    """Return the path if something is there, and stop with a remedy otherwise.

    Args:
        path: A file or folder of a data set.

    Returns:
        The same path.

    Raises:
        FileNotFoundError: If nothing is there.
    """
    if not Path(path).exists():
        raise FileNotFoundError(missing_data_message(path))
    return Path(path)


def missing_data_message(path: str | os.PathLike[str]) -> str:
    """Say what is missing and which command fetches it.

    Args:
        path: A file or folder of a data set.

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
        return f"{text}Make it with: python tools/make_digits.py --out {folder}"
    names = {part.folder.split("/")[0]: name for name in DATASETS for part in DATASETS[name]}
    for parent in reversed(path.parts):
        if parent in names:
            return (
                f"{text}Fetch it with: python tools/download_data.py {names[parent]} "
                f"- or set KD_DATA to the folder that holds {parent}."
            )
    for name, page in _BY_HAND.items():
        if name in path.parts:
            return f"{text}{page} says how to get it. Or set KD_DATA."
    return f"{text}Put the data there, correct the path in the config, or set KD_DATA."


def _fetch_archives(part: Part, folder: Path, patience: Patience | None) -> list[Path]:
    try:
        return [_fetch_archive(source, folder, patience) for source in part.sources]
    except DownloadError as error:
        raise DownloadError(f"{error} {part.by_hand}".strip()) from error


def _fetch_archive(source: Source, folder: Path, patience: Patience | None) -> Path:
    archive = folder / source.urls[0].rpartition("/")[2]
    sha256 = download_file(source, archive, patience)
    if source.md5 is None and source.sha256 is None:
        print(
            f"{archive.name}: no published checksum: size and archive integrity checked only; "
            f"sha256 {sha256}"
        )
    else:
        print(f"{archive.name}: the checksum is right; sha256 {sha256}")
    return archive


def _install(part: Part, archives: list[Path], target: Path) -> None:
    """Unpack beside the target and rename, so that a half-filled folder is never seen."""
    target.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for archive in archives:
            unpack(archive, workplace)
        inner = _any_case(workplace, part.inside)
        if not inner.is_dir():
            names = ", ".join(sorted(path.name for path in workplace.iterdir())) or "nothing"
            raise ValueError(
                f"the archive must hold the folder {part.inside}, but it holds {names}. "
                "The source has changed; fetch the data by hand."
            )
        for name, new_name in part.extras.items():
            if (workplace / name).is_file():
                (workplace / name).rename(inner / new_name)
        if part.voc_classes:
            write_coco_splits(inner, part.voc_classes)
        inner.rename(target)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _any_case(folder: Path, inside: str) -> Path:
    """Find a folder, whether or not its name has the expected capitals."""
    for found in folder.iterdir():
        if found.name.lower() == inside.lower():
            return found
    return folder / inside
