"""Search stored embeddings and write a page of queries with their neighbors.

    python tools/search.py embeddings.npz --config CONFIG --out page.html
    python tools/search.py embeddings.npz --images DATA_ROOT --worst --out page.html
    python tools/search.py gallery --queries new.npz --query-images FOLDER --config CONFIG ...

Both files are from tools/embed.py. The page shows 20 queries, chosen by chance but always the same
ones, or with --worst those with the fewest right neighbors; every neighbor is marked as right or
wrong, and recall@K of all queries stands at the top. The page is one file, without scripts, of
at most about 8 KiB for each picture.

Queries are the images of the first file, each of which is left out of its own neighbors by its id,
or those of --queries. A query of a class that the gallery does not have, such as a new picture, is
shown with its neighbors unmarked, and does not count for recall. Pictures come from the data set
of the config, as the model sees them, or from the paths below a data root.

recall@K is exact whatever the index: an ivf or hnsw index only finds the neighbors that are
shown, and the tool says what share of the exact ones it finds. --index-file keeps the index; one
that was built over other embeddings is refused. The whole gallery is held in memory.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import DictAction

from kd_engine.errors import clear_errors
from kd_engine.outputs import check_outputs
from kd_engine.runs import load_run_config
from kd_engine.terminal import short_terminal
from kd_engine.weights.checkpoint import AtomicLocalBackend
from kd_retrieval.embeddings.stored import Embeddings, read_embeddings
from kd_retrieval.search.index import KINDS, METRICS, SearchIndex, build_index
from kd_retrieval.search.index_file import load_index, save_index
from kd_retrieval.search.page import render
from kd_retrieval.search.queries import (
    Queries,
    choose,
    exact_recall,
    measured_agreement,
    page_rows,
    queries_of,
)
from kd_retrieval.search.thumbnails import Pictures, pictures_of_config, pictures_of_folder

_LEGEND = (
    "\u2713 and a solid green frame: the query's class. \u2717 and a dashed red frame: another "
    "class. The number is the {measure}."
)
_OPEN = "A gray frame with ?: the query has no class that the gallery has."
_MEASURES = {"cosine": "cosine similarity", "l2": "squared L2 distance", "dot": "dot product"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    with clear_errors(), short_terminal("reading the embeddings"):
        _check_outputs(options)
        gallery = read_embeddings(options.embeddings)
        other = read_embeddings(options.queries) if options.queries else None
        queries = queries_of(gallery, other, options.asymmetric)
        index = _index(options, gallery)
        figures, notes = _figures(options, index, gallery, queries)
        pictured = _pictures(options, gallery)
        asked = _query_pictures(options, queries.table) if options.queries else pictured
        chosen = choose(index, gallery, queries, options.k, options.show, options.worst)
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


def _check_outputs(options: argparse.Namespace) -> None:
    read = (options.embeddings, options.queries, options.config)
    check_outputs([options.out], [*read, options.index_file], options.overwrite)
    if options.index_file:
        check_outputs([options.index_file], read, overwrite=True)  # what is there is read


def _index(options: argparse.Namespace, gallery: Embeddings) -> SearchIndex:
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
    options: argparse.Namespace, index: SearchIndex, gallery: Embeddings, queries: Queries
) -> tuple[list[tuple[str, str]], list[str]]:
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
        ("index", index.kind),
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


def _legend(options: argparse.Namespace, queries: Queries, shown: int) -> list[str]:
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


def _pictures(options: argparse.Namespace, table: Embeddings) -> Pictures | None:
    if options.config:
        return pictures_of_config(load_run_config(options.config, options.cfg_options), table)
    return pictures_of_folder(options.images, table) if options.images else None


def _query_pictures(options: argparse.Namespace, table: Embeddings) -> Pictures | None:
    if options.query_images:
        return pictures_of_folder(options.query_images, table)
    return _pictures(options, table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("embeddings", help="file or folder of tools/embed.py: the gallery")
    parser.add_argument("--out", required=True, metavar="PAGE.html", help="page to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a page that is there")
    parser.add_argument("--queries", metavar="FILE", help="embeddings of other queries")
    parser.add_argument(
        "--asymmetric",
        action="store_true",
        help="accept queries of another network, whose space a term has aligned",
    )
    page = parser.add_argument_group("page")
    page.add_argument("--k", type=int, default=10, help="neighbors to show (default: 10)")
    page.add_argument("--show", type=int, default=20, metavar="N", help="queries (default: 20)")
    page.add_argument("--worst", action="store_true", help="show those that are answered worst")
    source = page.add_mutually_exclusive_group()
    source.add_argument("--config", help="take pictures from the data set of a config")
    source.add_argument("--images", metavar="DATA_ROOT", help="take pictures from this folder")
    page.add_argument(
        "--query-images", metavar="FOLDER", help="take those of --queries from another folder"
    )
    page.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="change settings of --config",
    )
    search = parser.add_argument_group("search")
    search.add_argument(
        "--metric", choices=METRICS, default="cosine", help="what is near (default: cosine)"
    )
    search.add_argument(
        "--index", choices=KINDS, default="flat", help="FAISS index (default: flat, exact)"
    )
    search.add_argument(
        "--index-file", metavar="FILE", help="take the index from there, or keep it there"
    )
    search.add_argument(
        "--probes",
        type=int,
        metavar="N",
        help="lists (ivf) or candidates (hnsw) that a query looks at",
    )
    search.add_argument(
        "--ks", type=int, nargs="+", default=(1, 2, 4, 8), metavar="K", help="K of recall@K"
    )
    search.add_argument("--no-recall", action="store_true", help="do not measure recall@K")
    return parser


if __name__ == "__main__":
    main()
