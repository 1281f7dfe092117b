"""Write the embeddings of a data set, or of pictures in a folder, with their ids and classes.

    python tools/embed.py CONFIG CHECKPOINT embeddings.npz
    python tools/embed.py CONFIG CHECKPOINT embeddings               a folder, for large data
    python tools/embed.py CONFIG CHECKPOINT new.npz --pictures FOLDER
    python tools/embed.py CONFIG teacher_train --teacher --split train --transforms-of test

The images are those of the config's test data, or of another split, in order, with the transforms
of that split; or with --pictures all in a folder and below, with the transforms of the test data.
With --teacher it is the teacher that embeds them, with the checkpoint that the config names;
--split train --transforms-of test embeds training images without augmentation, for a teacher of
kd_retrieval.StoredEmbeddings.

The file says which weights, data, transforms and model it was made from. If it is there already
and nothing has changed, nothing is done; if anything has, the tool says what, and replaces the
file only with --overwrite. It appears whole or not at all. Of a folder (a name without a suffix)
only one batch of vectors is in memory at a time, when it is written and when it is read.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_engine.errors import clear_errors
from kd_engine.runs import add_config_arguments, load_run_config
from kd_engine.terminal import short_terminal
from kd_retrieval.embeddings.embed import (
    SPLITS,
    embed,
    key_of,
    open_dataset,
    open_model,
    random_transforms,
    rows_of,
)
from kd_retrieval.embeddings.file import check_target
from kd_retrieval.embeddings.stored import EmbeddingKey, read_key, require_key, write_batches
from kd_retrieval.search.new_images import open_pictures


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_intermixed_args(arguments)
    with clear_errors(), short_terminal("loading the config and its packages"):
        check_target(Path(options.out))
        config = load_run_config(options.config, options.cfg_options)
        data = _data(options, config)
        if names := random_transforms(data):
            print(
                f"warning: the transforms {', '.join(names)} look random, so that embeddings "
                "change from run to run. --transforms-of test takes those of the test data.",
                file=sys.stderr,
            )
        model, model_config = open_model(config, options.checkpoint, options.teacher)
        key = key_of(model, model_config, data, "float16" if options.half else "float32")
        if _is_there(options.out, key, options.overwrite):
            print(f"{options.out}: there already, same key")
            return
        began = time.monotonic()
        batches = embed(model, data, options.batch_size, options.workers)
        write_batches(options.out, rows_of(data, key), batches)
        seconds = time.monotonic() - began
        source = options.pictures or f"the {options.split} data"
        print(
            f"{options.out}: {len(data):,} embeddings of {source} as "
            f"{key.dtype}, {seconds:.1f} s, {len(data) / seconds:.0f} images a second"
        )


def _data(options: argparse.Namespace, config: Config) -> Any:
    if options.pictures:
        return open_pictures(config, options.pictures, options.transforms_of or "test")
    return open_dataset(config, options.split, options.transforms_of)


def _is_there(out: str, key: EmbeddingKey, overwrite: bool) -> bool:
    if not Path(out).exists() or (Path(out).is_dir() and not any(Path(out).iterdir())):
        return False
    try:
        require_key(read_key(out), key, out)
    except ValueError:
        if overwrite:
            return False
        raise
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_arguments(parser)
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="file, URL or work dir; with --teacher the default is the config's",
    )
    parser.add_argument("out", help="file to write, .npz, or a folder (no suffix) for large data")
    images = parser.add_mutually_exclusive_group()
    images.add_argument(
        "--split", choices=SPLITS, default="test", help="data loader of the config (default: test)"
    )
    images.add_argument(
        "--pictures", metavar="FOLDER", help="embed the pictures in a folder instead"
    )
    parser.add_argument(
        "--transforms-of",
        choices=SPLITS,
        help="take the transforms of that split (default: its own; of --pictures test)",
    )
    parser.add_argument("--teacher", action="store_true", help="embed with the teacher instead")
    parser.add_argument("--half", action="store_true", help="store float16, half the size")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace embeddings that were made from others"
    )
    parser.add_argument(
        "--batch-size", type=int, default=64, metavar="N", help="images at once (default: 64)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that read images (default: 0)",
    )
    return parser


if __name__ == "__main__":
    main()
