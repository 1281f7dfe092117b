"""Make the retrieval sets caltech100 and omniglot from their archives.

    kdkit make-retrieval-sets caltech100 101_ObjectCategories
    kdkit make-retrieval-sets omniglot images_background_small1 images_background_small2

101_ObjectCategories is what kdkit fetch caltech101 leaves. The other two are archives in the folder
python/ of https://github.com/brendenlake/omniglot, unpacked. docs/retrieval_data.md of kdkit's
repository says what cannot be reproduced bit for bit. The folder appears when it is complete and
its counts are right; what a killed run left next to it (.NAME.*.tmp) is removed by the next one,
and named.
"""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.command import subcommand


@subcommand(
    __doc__,
    {"NAME": "caltech100 or omniglot.", "SOURCE...": "Unpacked folders, as shown above."},
)
@click.argument("name", type=click.Choice(["caltech100", "omniglot"]), metavar="NAME")
@click.argument(
    "source", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE..."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="New folder (default: below KD_DATA, else data).",
)
def command(name: str, source: tuple[Path, ...], out: Path | None) -> None:
    """Make a set."""
    from kd_engine.data.download.public import data_root
    from kd_engine.errors import clear_errors

    with clear_errors():
        from kd_retrieval.datasets.make import make_retrieval_set

        out = out or data_root() / name
        for split, (images, classes) in make_retrieval_set(name, source, out).items():
            print(f"{out}, {split}: {images:,} images of {classes} classes")
