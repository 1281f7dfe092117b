"""Search stored embeddings and write a page of queries with their neighbours.

    python tools/search.py embeddings.npz --config CONFIG --out page.html
    python tools/search.py embeddings.npz --images DATA_ROOT --worst --out page.html
    python tools/search.py gallery --queries queries.npz --index hnsw --out page.html

The page shows 20 queries, chosen by chance but always the same ones, or with --worst those with the
fewest right neighbours; every neighbour is marked as right or wrong, and recall@K stands at the
top. Pictures come from the data set of the config, or from the paths below a data root. The page
is one file, without scripts. Images are found by id, so no query finds itself.

recall@K is exact whatever the index: an ivf or hnsw index only finds the neighbours that are
shown, and the tool says what share of the exact ones it finds. --index-file keeps the index; one
that was built over other embeddings is refused.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import DictAction

from kd_engine.checkpoint import AtomicLocalBackend
from kd_engine.runs import clear_errors, load_run_config
from kd_retrieval.embeddings import Embeddings, read_embeddings
from kd_retrieval.index import (
    KINDS,
    METRICS,
    SearchIndex,
    build_index,
    load_index,
    save_index,
)
from kd_retrieval.page import render
from kd_retrieval.pictures import Pictures, pictures_of_config, pictures_of_folder
from kd_retrieval.search import (
    Queries,
    choose,
    exact_recall,
    measured_agreement,
    page_rows,
    queries_of,
)

_LEGEND = (
    "\u2713 and a solid green frame: the query's class. \u2717 and a dashed red frame: another "
    "class. The number is the {measure}."
)
_MEASURES = {"cosine": "cosine similarity", "l2": "squared L2 distance", "dot": "dot product"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    with clear_errors():
        gallery = read_embeddings(options.embeddings)
        other = read_embeddings(options.queries) if options.queries else None
        queries = queries_of(gallery, other, options.asymmetric)
        index = _index(options, gallery)
        figures, notes = _figures(options, index, gallery, queries)
        pictured = _pictures(options, gallery)
        asked = _pictures(options, queries.table) if options.queries else pictured
        chosen = choose(index, gallery, queries, options.k, options.show, options.worst)
        rows = page_rows(index, (gallery, pictured), (queries, asked), chosen, options.k)
        title = f"{Path(options.queries or options.embeddings).name}: queries and their neighbours"
        AtomicLocalBackend().put_text(render(title, figures, notes, rows), options.out)
        for name, value in figures:
            print(f"{name:12}  {value}")
        for note in notes[1:]:
            print(note)
        size = Path(options.out).stat().st_size / 2**20
        print(f"{options.out}: {len(rows)} queries, {size:.1f} MiB")


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
    figures = []
    if not options.no_recall:
        result = exact_recall(gallery, queries, options.ks, options.metric)
        figures += [(f"recall@{k}", f"{share:.2%}") for k, share in result.recall.items()]
    able = int(queries.answerable.sum())
    figures += [
        ("queries", f"{len(queries.rows):,}"),
        ("gallery", f"{len(index.rows):,}"),
        ("classes", f"{len(set(gallery.labels[index.rows].tolist())):,}"),
        ("index", index.kind),
    ]
    which = "The queries with the fewest right neighbours." if options.worst else "A fixed sample."
    notes = [f"{which} {_LEGEND.format(measure=_MEASURES[options.metric])}"]
    if able < len(queries.rows):
        notes.append(
            f"{len(queries.rows) - able:,} queries have no other image of their class in the "
            "gallery; recall leaves them out."
        )
    if index.kind != "flat":
        share = measured_agreement(index, gallery, queries, options.k)
        notes.append(
            f"The {index.kind} index finds {share:.1%} of the exact {options.k} neighbours of a "
            "sample; recall@K is exact and does not use it."
        )
    return figures, notes


def _pictures(options: argparse.Namespace, table: Embeddings) -> Pictures | None:
    if options.config:
        return pictures_of_config(load_run_config(options.config, options.cfg_options), table)
    return pictures_of_folder(options.images, table) if options.images else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("embeddings", help="what tools/embed.py wrote: the gallery")
    parser.add_argument("--queries", metavar="FILE", help="embeddings of the queries, if others")
    parser.add_argument(
        "--asymmetric", action="store_true", help="accept queries of another network"
    )
    parser.add_argument("--index", choices=KINDS, default="flat", help="default: flat, exact")
    parser.add_argument("--index-file", metavar="FILE", help="keep the index there, or take it")
    parser.add_argument(
        "--probes", type=int, help="lists (ivf) or candidates (hnsw) that a query looks at"
    )
    parser.add_argument("--metric", choices=METRICS, default="cosine", help="default: cosine")
    parser.add_argument("--k", type=int, default=10, help="neighbours to show (default: 10)")
    parser.add_argument("--ks", type=int, nargs="+", default=(1, 2, 4, 8), help="K of recall@K")
    parser.add_argument("--no-recall", action="store_true", help="do not measure recall@K")
    parser.add_argument("--show", type=int, default=20, help="queries to show (default: 20)")
    parser.add_argument("--worst", action="store_true", help="show the worst queries")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", help="config whose data set gives the pictures")
    source.add_argument("--images", metavar="DATA_ROOT", help="folder that the paths lie in")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE", help="for --config"
    )
    parser.add_argument("--out", required=True, metavar="PAGE.html", help="page to write")
    return parser


if __name__ == "__main__":
    main()
