"""Search stored embeddings; write a page of queries and their neighbors.

    kdkit search embeddings.npz --config CONFIG --out page.html
    kdkit search embeddings.npz --images DATA_ROOT --worst --out page.html
    kdkit search gallery --queries new.npz --query-images FOLDER --config CONFIG ...

Both files are from kdkit embed. The page shows 20 queries, chosen by chance but always the same
ones, or with --worst those with the fewest right neighbors; every neighbor is marked as right or
wrong, and recall@K of all queries stands at the top. The page is one file, without scripts, of
at most about 8 KiB for each image.

Queries are the images of the first file, each left out of its own neighbors by its id,
or those of --queries. A query of a class that the gallery does not have, such as a new image, is
shown with its neighbors unmarked, and does not count for recall. Images come from the dataset
of the config, as the model sees them, or from the paths below a data root.

recall@K is exact whatever the index: an ivf or hnsw index only finds the neighbors that are shown,
and the command says what share of the exact ones it finds. --device cuda searches on a GPU, where
FAISS is built for one; what --index-file keeps is the same. --index-file keeps the index; one that
was built over other embeddings is refused. The whole gallery is held in memory.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import (
    ConfigName,
    ManyOption,
    cfg_options,
    exclusive,
    overwrite_option,
    subcommand,
)

if TYPE_CHECKING:
    import torch

    from kd_retrieval.embeddings.stored import Embeddings
    from kd_retrieval.search.index import SearchIndex
    from kd_retrieval.search.queries import Queries
    from kd_retrieval.search.thumbnails import ImageOfRow

_LEGEND = (
    "\u2713 and a solid green frame: the query's class. \u2717 and a dashed red frame: another "
    "class. The number is the {measure}."
)
_OPEN = "A gray frame with ?: the query has no class that the gallery has."
_MEASURES = {"cosine": "cosine similarity", "l2": "squared L2 distance", "dot": "dot product"}


@subcommand(__doc__, {"EMBEDDINGS": "File or folder of kdkit embed: the gallery."})
@click.argument("embeddings", type=click.Path())
@click.option("--out", required=True, type=click.Path(), metavar="PAGE.html", help="Page to write.")
@overwrite_option("a page that is there")
@click.option("--queries", type=click.Path(), metavar="FILE", help="Embeddings of other queries.")
@click.option(
    "--asymmetric",
    is_flag=True,
    help="Accept queries of another network, whose space a term has aligned.",
)
@click.option("--k", default=10, show_default=True, help="Neighbors to show.")
@click.option("--show", default=20, show_default=True, metavar="N", help="Queries to show.")
@click.option("--worst", is_flag=True, help="Show those that are answered worst.")
@click.option("--config", type=ConfigName(), help="Take images from the dataset of a config.")
@click.option(
    "--images", type=click.Path(), metavar="DATA_ROOT", help="Take images from this folder."
)
@click.option(
    "--query-images",
    type=click.Path(),
    metavar="FOLDER",
    help="Take those of --queries from another folder.",
)
@cfg_options("Change settings of --config.")
@click.option(
    "--metric",
    type=click.Choice(list(_MEASURES)),
    default="cosine",
    show_default=True,
    help="What is near.",
)
@click.option(
    "--index",
    type=click.Choice(["flat", "ivf", "hnsw"]),
    default="flat",
    help="FAISS index (default: flat, exact).",
)
@click.option(
    "--index-file",
    type=click.Path(),
    metavar="FILE",
    help="Take the index from there, or keep it there.",
)
@click.option(
    "--probes",
    type=int,
    metavar="N",
    help="Lists (ivf) or candidates (hnsw) that a query looks at.",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="NAME",
    help="Search there: cuda or cuda:N for a flat or ivf index, with a GPU build of FAISS.",
)
@click.option(
    "--ks",
    cls=ManyOption,
    multiple=True,
    type=int,
    default=(1, 2, 4, 8),
    metavar="K...",
    help="K of recall@K (default: 1 2 4 8).",
)
@click.option("--no-recall", is_flag=True, help="Do not measure recall@K.")
def command(**given: Any) -> None:
    """Search."""
    options = SimpleNamespace(**given)
    exclusive({"--config": options.config, "--images": options.images})

    with quick_imports():
        from kd_engine.errors import clear_errors
        from kd_engine.terminal import short_terminal
        from kd_engine.weights.checkpoint import AtomicLocalBackend
        from kd_retrieval.embeddings.stored import read_embeddings
        from kd_retrieval.search.gpu_index import on_device
        from kd_retrieval.search.page import render
        from kd_retrieval.search.queries import choose_queries, page_rows, queries_of

    with clear_errors(), short_terminal("reading the embeddings"):
        device = _device(options)
        _check_outputs(options)
        gallery = read_embeddings(options.embeddings)
        other = read_embeddings(options.queries) if options.queries else None
        queries = queries_of(gallery, other, options.asymmetric)
        index = on_device(_index(options, gallery), device)
        figures, notes = _figures(options, index, gallery, queries)
        pictured = _shown_images(options, gallery)
        asked = _query_images(options, queries.table) if options.queries else pictured
        chosen = choose_queries(index, gallery, queries, options.k, options.show, options.worst)
        rows = page_rows(index, (gallery, pictured), (queries, asked), chosen, options.k)
        legend = _legend(options, queries, len(rows))
        names = [Path(one).name for one in (options.queries, options.embeddings) if one]
        title = f"{' in '.join(names)}: queries and their neighbors"
        AtomicLocalBackend().put_text(render(title, figures, [*legend, *notes], rows), options.out)
        for name, value in figures:
            print(f"{name:12}  {value}")
        for note in notes:
            print(note)
        size = Path(options.out).stat().st_size / 2**20
        print(f"{options.out}: {len(rows)} queries, {size:.1f} MiB")


def _device(options: SimpleNamespace) -> torch.device:
    from kd_engine.devices import named_device
    from kd_retrieval.search.gpu_index import require_gpu_index

    device = named_device(options.device)
    require_gpu_index(options.index, device, options.k)
    return device


def _check_outputs(options: SimpleNamespace) -> None:
    from kd_engine.outputs import check_outputs

    read = (options.embeddings, options.queries, options.config)
    check_outputs([options.out], [*read, options.index_file], options.overwrite)
    if options.index_file:
        check_outputs([options.index_file], read, overwrite=True)  # what is there is read


def _index(options: SimpleNamespace, gallery: Embeddings) -> SearchIndex:
    from kd_retrieval.search.index import build_index
    from kd_retrieval.search.index_file import load_index, save_index

    if options.index_file and Path(options.index_file).exists():
        index = load_index(options.index_file, gallery, options.probes)
        if (index.kind, index.metric) != (options.index, options.metric):
            raise ValueError(
                f"{options.index_file} must be a {options.index} index with {options.metric}, but "
                f"it is a {index.kind} one with {index.metric}. Name another file."
            )
        return index
    index = build_index(gallery, options.index, options.metric, options.probes)
    if options.index_file:
        save_index(options.index_file, index)
    return index


def _figures(
    options: SimpleNamespace, index: SearchIndex, gallery: Embeddings, queries: Queries
) -> tuple[list[tuple[str, str]], list[str]]:
    from kd_retrieval.search.queries import exact_recall, measured_agreement

    figures, notes = [], []
    able = int(queries.answerable.sum())
    if able and not options.no_recall:
        result = exact_recall(gallery, queries, options.ks, options.metric)
        figures += [(f"recall@{k}", f"{share:.2%}") for k, share in result.recall.items()]
        notes += [f"{note}." for note in result.notes]
    figures += [
        ("queries", f"{len(queries.rows):,}"),
        ("gallery", f"{len(index.rows):,}"),
        ("classes", f"{len(set(gallery.labels[index.rows].tolist())):,}"),
        ("index", index.kind if options.device == "cpu" else f"{index.kind} on {options.device}"),
    ]
    if not able:
        notes.append("No query has another image of its class in the gallery: no recall.")
    if index.kind != "flat":
        share = measured_agreement(index, gallery, queries, options.k)
        notes.append(
            f"The {index.kind} index finds {share:.1%} of the exact {options.k} neighbors of a "
            "sample; recall@K is exact and does not use it."
        )
    return figures, notes


def _legend(options: SimpleNamespace, queries: Queries, shown: int) -> list[str]:
    total, key = len(queries.rows), queries.table.key
    which = f"{shown:,} of {total:,} queries, chosen by chance."
    if options.worst:
        which = f"The {shown:,} queries with the fewest right neighbors."
    elif shown == total:
        which = f"All {total:,} queries."
    legend = f"{which} {_LEGEND.format(measure=_MEASURES[options.metric])}"
    if (queries.labels < 0).any() and not options.worst:
        legend = f"{legend} {_OPEN}"
    weights = f"Embeddings of {queries.table.dim} numbers, by the weights {key.checkpoint[:12]}."
    return [legend, weights]


def _shown_images(options: SimpleNamespace, table: Embeddings) -> ImageOfRow | None:
    from kd_engine.config.load import load_run_config, parse_options
    from kd_retrieval.search.thumbnails import images_of_config, images_of_folder

    if options.config:
        changes = parse_options(options.cfg_options)
        return images_of_config(load_run_config(options.config, changes), table)
    return images_of_folder(options.images, table) if options.images else None


def _query_images(options: SimpleNamespace, table: Embeddings) -> ImageOfRow | None:
    from kd_retrieval.search.thumbnails import images_of_folder

    if options.query_images:
        return images_of_folder(options.query_images, table)
    return _shown_images(options, table)
