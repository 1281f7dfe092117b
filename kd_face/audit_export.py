"""Export of the audit log as CSV, without cells that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from kd_face import audit
from kd_face.database.models import AuditEntry
from kd_face.home import Home

COLUMNS = ("id", "at", "actor", "action", "details", "previous", "hash")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_lines(home: Home, actor: str = "", action: str = "") -> Iterator[str]:
    """Yield the lines of the log, the oldest entry first.

    Args:
        home: The installation.
        actor: Whose entries; empty for all.
        action: Of which kind; empty for all.
    """
    chosen = audit.chosen(actor, action).order_by(AuditEntry.id)
    yield _line(COLUMNS)
    with home.read() as session:
        for entry in session.scalars(chosen.execution_options(yield_per=500)):
            cells = {one: getattr(entry, one) for one in COLUMNS}
            cells["at"] = f"{entry.at.isoformat()}Z"
            yield _line(cells.values())


def disarmed(cell: object) -> str:
    """Return the text of a cell, with a quote before what a spreadsheet takes for a formula."""
    text = str(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: object) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(disarmed(one) for one in cells)  # type: ignore[attr-defined]
    return buffer.getvalue()
