"""Commands of kdkit face about training a student: align faces, and measure embeddings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from kd_core.packages import quick_imports, require_packages


@click.command(name="align")
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG...")
def align(source: Path, configs: tuple[str, ...]) -> None:
    """Align the faces of a folder for training, and store dlib's rows as the teacher.

    SOURCE has a folder for each person. The aligned faces become the data_root of the configs,
    and the rows the files of their teacher_rows. Images without a face are left out.
    """
    with quick_imports():
        require_packages("kdkit face align", ("PIL", "mmengine"))
        from kd_engine.errors import clear_errors
        from kd_engine.terminal import short_terminal
        from kd_face.dlib_networks import DlibDetector, DlibEmbedder
        from kd_face.training_faces import align_folder, data_root_of, write_rows

    with clear_errors(), short_terminal("reading the configs"):
        out, embedder = data_root_of(configs, source), DlibEmbedder()
        require_packages("kdkit face align", ["dlib"])
        rows: dict[str, Any] = {}
        lost, several, began = 0, 0, time.monotonic()
        for one in align_folder(source, out, DlibDetector(), embedder):
            if one.aligned is None:
                lost += 1
                click.echo(f"no face: {one.path}")
            else:
                rows[one.aligned] = one.rows
                several += one.faces > 1
        seconds = time.monotonic() - began
        click.echo(
            f"{out}: {len(rows):,} aligned faces, {lost:,} images without one, {several:,} with "
            f"several (the largest was taken), {seconds:.0f} s"
        )
        for config in configs:
            for file, count in write_rows(config, rows, embedder):
                click.echo(f"{file}: {count:,} rows")


@click.command(name="verify")
@click.argument("embeddings", type=click.Path(exists=True))
@click.option(
    "--far",
    "fars",
    multiple=True,
    type=click.FloatRange(0, 1, max_open=True),
    default=(0.01, 0.001),
    show_default=True,
    help="Share of pairs of two people that may pass; may be given again.",
)
def verify(embeddings: str, fars: tuple[float, ...]) -> None:
    """Measure embeddings that kdkit embed or kdkit face align wrote: TAR at FAR, EER, rank-1."""
    with quick_imports():
        from kd_engine.errors import clear_errors
        from kd_face.verification import verify as measure
        from kd_retrieval.embeddings.stored import read_embeddings

    with clear_errors():
        read = read_embeddings(embeddings)
        found = measure(read.vectors, read.labels, fars)
    click.echo(f"{len(read.class_names):,} people, {len(read):,} pictures")
    for name, value in found.items():
        if f"{name}_low" in found:
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            click.echo(f"{name:16}  {value:7.3f} %  [{low:.3f} %, {high:.3f} %]")
    click.echo(
        f"{found['genuine_pairs']:,.0f} genuine and {found['impostor_pairs']:,.0f} impostor pairs"
    )
