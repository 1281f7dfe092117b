"""Write the embeddings of a dataset, or of the images in a folder.

    kdkit embed CONFIG CHECKPOINT embeddings.npz
    kdkit embed CONFIG CHECKPOINT embeddings               a folder, for large data
    kdkit embed CONFIG CHECKPOINT new.npz --image-folder FOLDER
    kdkit embed CONFIG teacher_train --teacher --split train --transforms-of test

The images are those of the config's test data, or of another split, in order, with the transforms
of that split; or with --image-folder all images in a folder and below, with the transforms of the
test data. Ids and classes are written with them. With --teacher the teacher embeds them, with the
checkpoint that the config names; --split train --transforms-of test embeds training images without
augmentation, for a teacher of kd_retrieval.StoredEmbeddings.

The file says which weights, data, transforms and model it was made from. If it is there already
and nothing has changed, nothing is done; if anything has, the command says what, and replaces the
file only with --overwrite. It appears whole or not at all. Of a folder (a name without a suffix)
only one batch of vectors is in memory at a time, when it is written and when it is read.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import (
    CHECKPOINT,
    CONFIG,
    checkpoint_argument,
    config_argument,
    exclusive,
    overwrite_option,
    subcommand,
)

if TYPE_CHECKING:
    from kd_retrieval.embeddings.stored import EmbeddingKey

_SPLITS = click.Choice(["train", "val", "test"])


@subcommand(
    __doc__,
    {
        **CONFIG,
        **CHECKPOINT,
        "OUT": "File to write, .npz, or a folder (no suffix) for large data.",
    },
)
@config_argument
@checkpoint_argument
@click.argument("out", type=click.Path())
@click.option("--split", type=_SPLITS, help="Data loader of the config (default: test).")
@click.option(
    "--image-folder",
    type=click.Path(),
    metavar="FOLDER",
    help="Embed the images in a folder instead.",
)
@click.option(
    "--transforms-of",
    type=_SPLITS,
    help="Take the transforms of that split (default: its own; of --image-folder test).",
)
@click.option("--teacher", is_flag=True, help="Embed with the teacher instead.")
@click.option("--half", is_flag=True, help="Store float16, half the size.")
@overwrite_option("embeddings that were made from others")
@click.option("--batch-size", default=64, show_default=True, metavar="N", help="Images at once.")
@click.option(
    "--workers", default=0, show_default=True, metavar="N", help="Processes that read images."
)
def command(
    config: str,
    cfg_options: tuple[str, ...],
    checkpoint: str | None,
    out: str,
    split: str | None,
    image_folder: str | None,
    transforms_of: str | None,
    teacher: bool,
    half: bool,
    overwrite: bool,
    batch_size: int,
    workers: int,
) -> None:
    """Embed."""
    exclusive({"--split": split, "--image-folder": image_folder})

    with quick_imports():
        from kd_engine.config.load import load_run_config, parse_options
        from kd_engine.errors import clear_errors
        from kd_engine.terminal import short_terminal
        from kd_retrieval.embeddings.embed import (
            embed,
            key_of,
            open_dataset,
            open_model,
            random_transforms,
            rows_of,
        )
        from kd_retrieval.embeddings.file import check_target
        from kd_retrieval.embeddings.stored import write_batches
        from kd_retrieval.search.new_images import open_images

    with clear_errors(), short_terminal("loading the config and its packages"):
        check_target(Path(out))
        read = load_run_config(config, parse_options(cfg_options))
        split = split or "test"
        if image_folder:
            data = open_images(read, image_folder, transforms_of or "test")
        else:
            data = open_dataset(read, split, transforms_of)
        _warn_of(random_transforms(data))
        model, model_config = open_model(read, checkpoint, teacher)
        key = key_of(model, model_config, data, "float16" if half else "float32")
        if _is_there(out, key, overwrite):
            print(f"{out}: there already, same key")
            return
        began = time.monotonic()
        write_batches(out, rows_of(data, key), embed(model, data, batch_size, workers))
        seconds = time.monotonic() - began
        print(
            f"{out}: {len(data):,} embeddings of {image_folder or f'the {split} data'} as "
            f"{key.dtype}, {seconds:.1f} s, {len(data) / seconds:.0f} images a second"
        )


def _warn_of(transforms: list[str]) -> None:
    if transforms:
        print(
            f"warning: the transforms {', '.join(transforms)} look random, so that embeddings "
            "change from run to run. --transforms-of test takes those of the test data.",
            file=sys.stderr,
        )


def _is_there(out: str, key: EmbeddingKey, overwrite: bool) -> bool:
    from kd_retrieval.embeddings.stored import read_key, require_key

    if not Path(out).exists() or (Path(out).is_dir() and not any(Path(out).iterdir())):
        return False
    try:
        require_key(read_key(out), key, out)
    except ValueError:
        if overwrite:
            return False
        raise
    return True
