"""Fetch public datasets and pretrained weights.

    kdkit fetch coco     COCO 2017, about 20 GB: coco/
    kdkit fetch voc      Pascal VOC 2007 and 2012, about 3 GB: VOCdevkit/
    kdkit fetch bccd     blood cells, VOC and COCO: bccd_voc/
    kdkit fetch chess    chess pieces, COCO: chess_coco/

    kdkit fetch cub      CUB-200-2011, about 1.2 GB: CUB_200_2011/
    kdkit fetch cars     Cars196, about 2 GB: cars196/
    kdkit fetch sop      products, 3.1 GB: Stanford_Online_Products/

    kdkit fetch cifar10        binary, 162 MB: cifar-10-batches-bin/
    kdkit fetch cifar100       binary, 161 MB: cifar-100-binary/
    kdkit fetch svhn           cropped digits, 246 MB: svhn/
    kdkit fetch tiny-imagenet  248 MB: tiny-imagenet-200/
    kdkit fetch fashion-mnist  31 MB: fashion_mnist/
    kdkit fetch caltech101     137 MB: 101_ObjectCategories/, for kdkit make-retrieval-sets

    kdkit fetch efficientnet-lite  ImageNet weights of Lite0 and Lite2 for timm, 40 MB: weights/
    kdkit fetch mobilenet-v2       ImageNet weights for torchvision, 14 MB: weights/

They go to data/, or to the folder that KD_DATA names. By hand:

    caltech100/  kdkit make-retrieval-sets makes it from what caltech101 fetches
    omniglot/    kdkit make-retrieval-sets makes it; its --help says from what
    inshop/      Eval/list_eval_partition.txt and Img/img/ (or img/ and the list at the top); after
                 an agreement, https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html
    imagenet/    train/<class>/*.JPEG and val/<class>/*.JPEG; after an agreement
    cars196/     if its address is gone: cars_annos.mat and car_ims/; or cars_train/,
                 cars_test/, devkit/cars_meta.mat, devkit/cars_train_annos.mat and
                 cars_test_annos_withlabels.mat

The pages on data, in docs/ of kdkit's repository, say more of each.

A broken download resumes where it stopped when the command is run again. Folders appear only when
they are complete; those that are there already are left alone. An archive that lies in .downloads
already is used if its checksum is right, and an error otherwise. What killed runs have left next
to the folder (.NAME.*.tmp) is removed by the next run that makes it, and named.
"""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.command import subcommand

NAMES = (
    "bccd",
    "caltech101",
    "cars",
    "chess",
    "cifar10",
    "cifar100",
    "coco",
    "cub",
    "efficientnet-lite",
    "fashion-mnist",
    "mobilenet-v2",
    "sop",
    "svhn",
    "tiny-imagenet",
    "voc",
)


@subcommand(__doc__, {"NAME...": f"What to fetch: {', '.join(NAMES)}."})
@click.argument("name", nargs=-1, required=True, type=click.Choice(NAMES), metavar="NAME...")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Data folder (default: KD_DATA, else data)."
)
@click.option("--keep-archives", is_flag=True, help="Keep the archives as well.")
def command(name: tuple[str, ...], out: Path | None, keep_archives: bool) -> None:
    """Fetch."""
    from kd_engine.data.download.public import data_root, fetch_dataset
    from kd_engine.data.download.weight_sets import WEIGHT_SETS
    from kd_engine.data.download.weights import fetch_weights
    from kd_engine.errors import clear_errors

    root = out or data_root()
    with clear_errors("stopped; run the command again to resume"):
        for one in name:
            fetch = fetch_weights if one in WEIGHT_SETS else fetch_dataset
            fetch(one, root, keep_archives=keep_archives)
