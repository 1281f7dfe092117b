"""Trials of many families, each in a process of its own, and the table of what they found."""

from __future__ import annotations

import contextlib
import datetime
import json
import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kd_core.checkpoint.atomic import write_whole
from kd_det.zoo.families import FAMILIES, OUT_OF_SCOPE, SAME_MODEL
from kd_det.zoo.trial import NO, NOT_TRIED, try_family

_LONGEST = 1800.0  # seconds for a family
_PACKAGES = ("onedl-mmdetection", "mmdet", "onedl-mmcv", "mmcv", "mmcv-lite", "torch")
_HEAD = ("family", "config", "trains", "distils", "predicts", "reason where not")
_NOT_RUN = {"trains": "not run", "distils": "", "predicts": "", "reason": ""}
Row = Mapping[str, Any]


def run_zoo(
    names: Sequence[str], out: Path, again: bool, say: Callable[[str], None]
) -> dict[str, Row]:
    """Try families that have no row yet, and write the rows and a table after each.

    Args:
        names: Families to try; none for all.
        out: File of the table, ``.md``; the rows lie beside it in a ``.json``.
        again: Try also families that have a row.
        say: Gets a line about each family.

    Returns:
        Family to row, of all that were ever tried with the same packages.

    Raises:
        ValueError: If there is no such family, or the file's name does not end in .md.
    """
    require_families(names)
    if out.suffix != ".md":
        raise ValueError(f"the table must be written to a .md file, but --out is {out}.")
    rows = _earlier(out.with_suffix(".json"))
    for name in names or FAMILIES:
        if name not in rows or again:
            rows[name] = _tried(name)
            _write(out, rows)
        say(row_line(name, rows[name]))
    return rows


def require_families(names: Sequence[str]) -> None:
    """Require names of families.

    Raises:
        ValueError: If one is not; says why, or names all of them.
    """
    for name in names:
        if name in FAMILIES:
            continue
        if name in OUT_OF_SCOPE:
            raise ValueError(f"{name} is out of scope: it {OUT_OF_SCOPE[name]}.")
        if name in SAME_MODEL:
            raise ValueError(f"{name} has the model of {SAME_MODEL[name]}. Name that.")
        raise ValueError(f"there is no family {name!r}. There are {', '.join(FAMILIES)}.")


def row_line(name: str, row: Row) -> str:
    """Return a row for a terminal."""
    marks = " ".join(f"{key} {row[key]}" for key in ("trains", "distils", "predicts"))
    return f"{name}: {marks}" + (f" ({row['reason']})" if row["reason"] else "")


def table(rows: Mapping[str, Row]) -> str:
    """Return the table as Markdown, with versions and what was left out."""
    tried = [row for name, row in rows.items() if name in FAMILIES]
    counts = {key: sum(row[key] == "yes" for row in tried) for key in ("trains", "distils")}
    dates = sorted({str(row["date"]) for row in tried})
    lines = [
        f"{len(tried)} of {len(FAMILIES)} families were run: {counts['trains']} train in plain "
        f"mmdet, {counts['distils']} of them distil. {_versions()}; "
        f"{dates[0] if dates else ''}{f' to {dates[-1]}' if len(dates) > 1 else ''}.",
        "",
        *_markdown_row(_HEAD),
        "|" + "---|" * len(_HEAD),
    ]
    for name, config in FAMILIES.items():
        row = rows.get(name, _NOT_RUN)
        cells = (name, config.removesuffix(".py").split("/")[1], row["trains"], row["distils"],
                 row["predicts"], row["reason"])  # fmt: skip
        lines += _markdown_row(cells)
    same = ", ".join(f"{name} ({of})" for name, of in SAME_MODEL.items())
    out = "; ".join(f"{name}: {reason}" for name, reason in OUT_OF_SCOPE.items())
    return "\n".join([*lines, "", f"Folders with the model of another family: {same}.", "",
                      f"Out of scope: {out}.", ""])  # fmt: skip


def _markdown_row(cells: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"]


def _tried(name: str) -> Row:
    """Try a family in a process of its own, so that its crash is a row."""
    start = time.monotonic()
    context: Any = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(f"mmdet::{FAMILIES[name]}", theirs))
    process.start()
    theirs.close()
    step, row = "starting", None
    with contextlib.suppress(EOFError):
        while row is None and ours.poll(max(0.0, start + _LONGEST - time.monotonic())):
            kind, content = ours.recv()
            step, row = (content, None) if kind == "step" else (step, content)
    if row is None and process.is_alive() and time.monotonic() - start >= _LONGEST:
        process.kill()
        reason = f"not done after {_LONGEST:.0f} s, in: {step}"
    else:
        reason = ""
    process.join()
    row = row or _broken(step, reason or _ending(process.exitcode, step))
    return {
        "config": FAMILIES[name],
        **row,
        "seconds": round(time.monotonic() - start, 1),
        "date": datetime.date.today().isoformat(),
    }


def _broken(step: str, reason: str) -> dict[str, str]:
    plain = step.startswith(("plain", "starting"))
    row = {"trains": NO if plain else "yes", "distils": NOT_TRIED if plain else NO}
    return {**row, "predicts": NOT_TRIED, "reason": f"mmdet's own: {reason}" if plain else reason}


def _ending(code: int | None, step: str) -> str:
    how = f"code {code}" if code is None or code >= 0 else signal.Signals(-code).name
    return f"the process ended with {how}, in: {step}"


def _work(config: str, pipe: Any) -> None:
    """Try a config and send its row; a crash sends nothing."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        os.dup2(nowhere.fileno(), 2)
        row = try_family(config, lambda step: pipe.send(("step", step)))
    pipe.send(("row", row))
    pipe.close()


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def _earlier(file: Path) -> dict[str, Row]:
    """Read the rows of earlier calls with the same packages."""
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return dict(content["rows"]) if content["versions"] == _versions() else {}


def _write(out: Path, rows: Mapping[str, Row]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"versions": _versions(), "rows": rows}, indent=1) + "\n"
    write_whole(out.with_suffix(".json"), content.encode())
    write_whole(out, table(rows).encode())
