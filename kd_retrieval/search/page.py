"""HTML page of queries and their neighbors: one file, without scripts or other files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Card:
    """One image on the page.

    Attributes:
        name: Class of the image; empty if it is not known.
        path: Where it lies.
        image: A ``data:`` URI, or empty if there is no image.
        note: Text next to the mark, such as the similarity.
        kind: ``query``; of a neighbor ``right``, ``wrong``, or ``open`` if that is unknown.
    """

    name: str
    path: str
    image: str = ""
    note: str = ""
    kind: str = "query"


@dataclass(frozen=True)
class Row:
    """A query and its neighbors, the nearest first."""

    query: Card
    neighbors: Sequence[Card]


def render(
    title: str, figures: Sequence[tuple[str, str]], notes: Sequence[str], rows: Sequence[Row]
) -> str:
    """Write the page.

    Args:
        title: Heading.
        figures: Name and value of each figure at the top, such as recall.
        notes: Sentences below them.
        rows: Queries.

    Returns:
        HTML.
    """
    tiles = "".join(
        f"<div class=figure><b>{escape(value)}</b><span>{escape(name)}</span></div>"
        for name, value in figures
    )
    sentences = "".join(f"<p>{escape(note)}</p>" for note in notes)
    sections = "\n".join(_section(number, row) for number, row in enumerate(rows, start=1))
    return _PAGE.format(
        title=escape(title), style=_STYLE, figures=tiles, notes=sentences, sections=sections
    )


def _section(number: int, row: Row) -> str:
    kinds = [card.kind for card in row.neighbors]
    score = f"{kinds.count('right')} of {len(kinds)} right"
    if "open" in kinds:
        score = "not marked: the gallery has no such class"
    cards = "".join(_card(card, f"neighbor {i}") for i, card in enumerate(row.neighbors, start=1))
    heading = [escape(row.query.name)] if row.query.name else []
    return (
        f"<section><h2>{'. '.join([str(number), *heading])}"
        f"<small>{score} &middot; {escape(row.query.path)}</small>"
        f"</h2><div class=row>{_card(row.query, 'query')}<div class=found>{cards}</div></div>"
        "</section>"
    )


def _card(card: Card, what: str) -> str:
    alt = f"{what}: {card.name or card.path}"
    image = (
        f'<img src="{escape(card.image)}" alt="{escape(alt)}">'
        if card.image
        else f"<div class=none>{escape(card.path)}</div>"
    )
    spoken = f"<span class=spoken>{card.kind}</span>" if card.kind in ("right", "wrong") else ""
    return (
        f'<figure class={card.kind} title="{escape(card.path)}">{image}<figcaption>'
        f"<span class=sign><i>{_SIGNS[card.kind]}</i>{spoken}<span>{escape(card.note)}</span>"
        f"</span><span class=name>{_breakable(card.name)}</span></figcaption></figure>"
    )


def _breakable(name: str) -> str:
    """Escape a name, and let it wrap to the next line after a slash or an underscore."""
    return escape(name).replace("/", "/<wbr>").replace("_", "_<wbr>")


_SIGNS = {"query": "query", "right": "&#10003;", "wrong": "&#10007;", "open": "?"}
_STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #5f6b7a; --line: #dde2e8;
  --right: #18794e; --wrong: #c0362c; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1400px; padding: 24px; background: #f6f7f9; color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 24px; margin: 0 0 16px; }
h2 { font-size: 16px; margin: 0 0 10px; overflow-wrap: anywhere; }
h2 small { margin-left: 12px; font-weight: normal; font-size: 13px; color: var(--soft); }
header p { margin: 4px 0; color: var(--soft); font-size: 14px; }
.figures { display: flex; flex-wrap: wrap; gap: 10px; margin-bottom: 12px; }
.figure { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 8px 16px; }
.figure b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; }
.figure span { color: var(--soft); font-size: 13px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 14px;
  margin-top: 14px; break-inside: avoid; }
.row { display: flex; gap: 14px; align-items: flex-start; }
.row > figure { flex: 0 0 124px; }
.found { flex: 1; display: grid; gap: 8px;
  grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)); }
figure { margin: 0; border: 3px solid var(--line); border-radius: 8px; overflow: hidden;
  background: #fff; max-width: 160px; }
figure.query { border-color: #8593a5; }
figure.right { border-color: var(--right); }
figure.wrong { border-color: var(--wrong); border-style: dashed; }
img, .none { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  background: #eceff2; }
img[src^="data:image/png"] { image-rendering: pixelated; }
.none { aspect-ratio: auto; padding: 6px; overflow-wrap: anywhere; color: var(--soft);
  font-size: 12px; }
figcaption { padding: 4px 6px 6px; font-size: 13px; }
.sign { display: flex; gap: 6px; align-items: baseline; font-variant-numeric: tabular-nums; }
.sign i { font-style: normal; font-weight: bold; border-radius: 4px; padding: 0 5px; color: #fff;
  background: #66758a; }
.right .sign i { background: var(--right); }
.wrong .sign i { background: var(--wrong); }
.name { display: block; color: var(--soft); overflow-wrap: anywhere; line-height: 1.25; }
.spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 640px) {
  body { padding: 12px; }
  .row { flex-direction: column; align-items: stretch; }
  .row > figure { flex: none; width: 124px; }
}
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<div class="figures">{figures}</div>
{notes}
</header>
{sections}
</body>
</html>
"""
