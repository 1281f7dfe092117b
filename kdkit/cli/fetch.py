"""Fetch public data sets into data/, or into the folder that KD_DATA names.

    python tools/download_data.py coco     COCO 2017, about 20 GB: coco/
    python tools/download_data.py voc      Pascal VOC 2007 and 2012, about 3 GB: VOCdevkit/
    python tools/download_data.py bccd     blood cells, VOC and COCO: bccd_voc/
    python tools/download_data.py chess    chess pieces, COCO: chess_coco/

    python tools/download_data.py cub      CUB-200-2011, about 1.2 GB: CUB_200_2011/
    python tools/download_data.py cars     Cars196, about 2 GB: cars196/
    python tools/download_data.py sop      products, 3.1 GB: Stanford_Online_Products/

    python tools/download_data.py cifar10        binary, 162 MB: cifar-10-batches-bin/
    python tools/download_data.py cifar100       binary, 161 MB: cifar-100-binary/
    python tools/download_data.py svhn           cropped digits, 246 MB: svhn/
    python tools/download_data.py tiny-imagenet  248 MB: tiny-imagenet-200/
    python tools/download_data.py fashion-mnist  31 MB: fashion_mnist/
    python tools/download_data.py caltech101     137 MB: 101_ObjectCategories/, to make
                                                 caltech100/ from: see docs/retrieval_data.md

In-Shop is given out after an agreement and is fetched by hand: see docs/retrieval_data.md. So is
ImageNet: see docs/classification_data.md.

A broken download goes on where it stopped when the command is run again. Folders appear only when
they are complete; those that are there already are left alone. An archive that lies in .downloads
already is used if its checksum is right, and an error otherwise. What killed runs have left beside
the folder (.NAME.*.tmp) is removed by the next run that makes it, and named.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kd_engine.data.download.public import DATASETS, data_root, fetch_dataset
from kd_engine.errors import clear_errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    root = options.out or data_root()
    with clear_errors("stopped; run the command again to go on from here"):
        for name in options.name:
            fetch_dataset(name, root, keep_archives=options.keep_archives)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="+", choices=sorted(DATASETS), help="data set to fetch")
    parser.add_argument("--out", type=Path, help="data folder (default: KD_DATA, else data)")
    parser.add_argument("--keep-archives", action="store_true", help="keep the archives as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
