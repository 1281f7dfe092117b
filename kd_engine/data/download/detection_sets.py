"""Sources of the public detection and retrieval datasets."""

from __future__ import annotations

from dataclasses import dataclass, field

from kd_engine.data.download.http import Source

_BCCD = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"
_CHESS = "246442c35465cdc9c917cdd0aa36698320def063"
_STANFORD = "http://ftp.cs.stanford.edu/cs/cvgl"


@dataclass(frozen=True)
class Part:
    """One folder of a dataset and the archives that fill it.

    Args:
        folder: Folder below the data folder; it appears whole or not at all.
        sources: Archives, unpacked one after the other into the same place.
        inside: Folder within the archives that becomes ``folder``; "" where the sources are not
            archives but the files that ``folder`` is to hold.
        extras: Files elsewhere in the archives to keep, and their new names.
        voc_classes: Classes in the order of their ids if COCO JSON is to be made from VOC.
        by_hand: What to do when no source answers.
        nested: Archives within the archives, unpacked after them.
    """

    folder: str
    sources: tuple[Source, ...]
    inside: str
    extras: dict[str, str] = field(default_factory=dict)
    voc_classes: tuple[str, ...] = ()
    by_hand: str = ""
    nested: tuple[str, ...] = ()


def _coco(name: str, md5: str) -> tuple[Source, ...]:
    folder = "annotations" if name.startswith("annotations") else "zips"
    return (Source((f"http://images.cocodataset.org/{folder}/{name}",), md5=md5),)


def _voc(year: int, name: str, md5: str) -> Source:
    official = f"http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/{name}"
    return Source((official, f"https://pjreddie.com/media/files/{name}"), md5=md5)


def _github(repository: str, commit: str) -> tuple[Source, ...]:
    return (Source((f"https://github.com/{repository}/archive/{commit}.zip",)),)


PUBLIC_SETS: dict[str, tuple[Part, ...]] = {
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
            "'kdkit fetch --help' says which files go where in cars196/.",
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
