"""Run of a chain: it trains the links that are not finished, in order, and reports on each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from kd_core.checkpoint.atomic import write_whole
from kd_core.table import markdown_table
from kd_engine.chain.plan import Link, plan_chain
from kd_engine.compare.finished import training_seconds
from kd_engine.doctor.summary import last_metrics
from kd_engine.run import child
from kd_engine.run.first_training import FirstTraining
from kd_engine.work_dir.lock import hold_work_dir

_SHOWN = 3  # metrics


def run_chain(
    config: Config,
    root: Path,
    program: Sequence[str],
    seed: int | None = None,
    with_teacher: bool = False,
) -> str:
    """Train a chain's links, each in a process and a folder of its own, and report on them.

    A link that is finished is not trained again, and one that has stopped resumes: the same call
    carries on after an interrupt. The whole chain is planned, and refused if it is out of order,
    before anything is trained.

    Args:
        config: A run's config with ``chain``: see :func:`kd_engine.chain.plan.plan_chain`.
        root: Folder of the links.
        program: Arguments of Python that run ``kdkit``.
        seed: Seed of all links; ``None`` takes the config's.
        with_teacher: Whether a missing teacher is trained first.

    Returns:
        The report, a Markdown table; it is also in ``chain.md`` next to the links.

    Raises:
        ValueError: If the chain is wrong or out of order.
        BlockingIOError: If another process works in the folder.
        SystemExit: If a training fails, with its code.
    """
    with hold_work_dir(root) as lock:
        lock.sign(str(root))
        links = plan_chain(config, root, seed)
        for number, link in enumerate(links, start=1):
            learns = f"{link.name} from {', '.join(link.teachers)}"
            if is_finished(link):
                print(f"{number} of {len(links)}: {learns}: finished already", flush=True)
                continue
            print(f"{number} of {len(links)}: {learns}, in {link.folder}", flush=True)
            options = ["--resume", "--work-dir", str(link.folder)]
            options += ["--with-teacher"] if with_teacher else []
            if code := child.run_child([*program, "train", str(link.file), *options]):
                raise SystemExit(code)
        text = report(links)
        write_whole(links[0].folder.parent / "chain.md", f"{text}\n".encode())
    return text


def is_finished(link: Link) -> bool:
    """Return whether a link's training has come to its end."""
    training = FirstTraining(link.name, str(link.folder), str(link.file))
    return not training.is_missing and not training.unfinished


def report(links: Sequence[Link]) -> str:
    """Return a table of links: teachers, parameters, scores and training time.

    Args:
        links: Links that are trained.
    """
    found = [last_metrics(link.folder) for link in links]
    names = list(found[0][0])[:_SHOWN]
    rows = []
    for link, (metrics, _) in zip(links, found, strict=True):
        seconds = training_seconds(link.folder)
        time = "-" if seconds is None else f"{seconds:.0f}"
        scores = [f"{metrics[name]:.4g}" if name in metrics else "-" for name in names]
        rows.append((link.name, ", ".join(link.teachers), f"{link.parameters:,}", *scores, time))
    head = ("link", "learns from", "parameters", *names, "training, s")
    notes = [note for _, of in found for note in of]
    return "\n".join([*markdown_table(head, rows), *(["", *notes] if notes else [])])
