"""Load of the face server: many clients at once on a real server of its own, on loopback."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import func, select

from benchmarks.face import clients
from benchmarks.face.clients import Client
from benchmarks.face.people import Cast, cast_of, gallery_of
from benchmarks.face.server import DLIB, ROOT, STAND_INS, networks_named
from kd_face import audit, keys, users
from kd_face.database.models import Person, Picture
from kd_face.demo import gallery
from kd_face.errors import FaceError
from kd_face.home import Home, init_home

_ACTOR = "benchmark"
_START = 120  # seconds until the server has to answer
_SIGNED_IN = (clients.browse, clients.operate, clients.review)
_MIX = (
    clients.identify,
    clients.browse,
    clients.identify,
    clients.operate,
    clients.identify,
    clients.browse,
    clients.review,
    clients.watch,
)


@dataclass(frozen=True)
class LoadSettings:
    """Settings of a measurement.

    Args:
        clients: Number of clients: of eight, three identify, two browse, one creates, renames and
            deletes people, one sends strangers and reviews, and one looks at health and metrics.
        seconds: For how long they begin new work, once all of them have signed in.
        networks: ``dlib`` or ``stand-ins``; None for dlib where it is installed.
        orl: Folder of ORL's faces; None for drawn ones.
    """

    clients: int = 32
    seconds: float = 60.0
    networks: str | None = None
    orl: Path | None = None


def measure_load(settings: LoadSettings) -> dict[str, Any]:
    """Put a load on a server of its own.

    Returns:
        A dict that JSON can hold: for each route requests, statuses and milliseconds; answers of
        recognition; peak memory of the server; and the problems, which should be none.
    """
    networks = settings.networks or (DLIB if find_spec("dlib") else STAND_INS)
    with tempfile.TemporaryDirectory(prefix="kd_face_load_") as place:
        folder = Path(place)
        home = init_home(folder / "home")
        cast, accounts, made_keys, password = _prepared(home, settings, networks)
        with _served(home, networks) as (address, process):
            crowd = [Client(address) for _ in range(settings.clients)]

            def enter(number: int) -> None:
                if _work(number) in _SIGNED_IN:
                    crowd[number].sign_in(accounts[number // len(_MIX)], password)
                else:
                    crowd[number].use_key(made_keys[number])

            def work(number: int) -> None:
                crowd[number].until = begin + settings.seconds
                _work(number)(crowd[number], cast, number)
                crowd[number].close()

            with ThreadPoolExecutor(settings.clients) as pool:
                list(pool.map(enter, range(settings.clients)))
                begin = time.monotonic()
                list(pool.map(work, range(settings.clients)))
            seconds = time.monotonic() - begin
            memory = _peak_bytes(process.pid)
        log = [one for client in crowd for one in client.log]
        named = {
            word: sum(client.named[word] for client in crowd)
            for word in ("right", "nobody", "wrong")
        }
        problems = _problems(home, crowd)
        home.engine.dispose()
    return {
        "networks": networks, "gallery": "ORL" if settings.orl else "drawn",
        "clients": settings.clients, "seconds": seconds, "requests": len(log),
        "routes": _routes(log), "named": named, "server_peak_bytes": memory, "problems": problems,
    }  # fmt: skip


def describe(report: dict[str, Any]) -> str:
    """Return the report as the table that the command prints."""
    lines = [
        f"{report['clients']} clients for {report['seconds']:.0f} s, {report['networks']}, "
        f"{report['gallery']} faces; {os.cpu_count()} cores, Python {sys.version.split()[0]}",
        f"{report['requests']:,} requests, {report['requests'] / report['seconds']:.1f} a second",
        f"{'':34}{'requests':>9}{'429':>7}{'median ms':>11}{'95 % ms':>11}{'99 % ms':>11}",
    ]
    for route, one in report["routes"].items():
        refused = one["statuses"].get("429", 0)
        times = "".join(f"{one[name]:11.1f}" for name in ("median_ms", "p95_ms", "p99_ms"))
        lines.append(f"{route:34}{one['requests']:9}{refused:7}{times}")
    named = ", ".join(f"{count} {word}" for word, count in report["named"].items())
    lines.append(f"known faces: {named}")
    if report["server_peak_bytes"] is not None:
        lines.append(f"peak memory of the server: {report['server_peak_bytes'] / 1e6:.0f} MB")
    return "\n".join(lines + [f"PROBLEM: {one}" for one in report["problems"]])


def _work(number: int) -> Callable[[Client, Cast, int], None]:
    """Return what a client does."""
    return _MIX[number % len(_MIX)]


def _prepared(
    home: Home, settings: LoadSettings, networks: str
) -> tuple[Cast, list[str], list[str], str]:
    """Fill an installation; return what is sent, accounts, keys and the password of all."""
    gallery.require_empty(home)
    loaded, names = networks_named(networks), dict[str, None]()

    def noted() -> Iterator[gallery.Example]:
        for one in gallery_of(networks, settings.orl):
            names[one.person] = None
            yield one

    for _ in gallery.fill(home, loaded, noted(), _ACTOR):
        pass
    password = secrets.token_urlsafe(12)
    accounts = [f"operator{number}" for number in range(-(-settings.clients // len(_MIX)))]
    with home.write() as session:
        for name in accounts:
            users.add(session, name, password, "operator", _ACTOR)
        made = [
            keys.create(session, f"client {number}", ["identify", "metrics"], _ACTOR)
            for number in range(settings.clients)
        ]
    return cast_of(networks, settings.orl, list(names), loaded), accounts, made, password


@contextlib.contextmanager
def _served(home: Home, networks: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start the server in a process; stop it at the end, and wait for it."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port = tried.getsockname()[1]
    address, path = f"http://127.0.0.1:{port}", home.folder / "server.log"
    words = [str(home.folder.resolve()), str(port), networks]
    command = [sys.executable, "-m", "benchmarks.face.server", *words]
    with path.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        until = time.monotonic() + _START
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server does not start:\n{path.read_text()[-2000:]}")
            time.sleep(0.1)
        yield address, process
    finally:
        process.terminate()
        process.wait(60)


def _answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/health/ready", timeout=10).status_code == 200
    except httpx2.HTTPError:
        return False


def _routes(log: Sequence[tuple[str, int, float]]) -> dict[str, Any]:
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for route, status, seconds in log:
        found[route].append((status, seconds))
    return {route: _figures(found[route]) for route in sorted(found)}


def _figures(answers: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """Return requests, statuses, and milliseconds of what was not refused by 429."""
    statuses: dict[str, int] = defaultdict(int)
    for status, _ in answers:
        statuses[str(status)] += 1
    times = [1000 * seconds for status, seconds in answers if status != 429] or [float("nan")]
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    return {
        "requests": len(answers), "statuses": dict(statuses),
        "median_ms": cuts[49], "p95_ms": cuts[94], "p99_ms": cuts[98],
    }  # fmt: skip


def _problems(home: Home, crowd: Sequence[Client]) -> list[str]:
    """Name what went wrong: errors, wrong names, what is not stored, a broken audit log."""
    found: dict[str, int] = defaultdict(int)
    for client in crowd:
        for route, status, _ in client.log:
            if status == clients.NO_ANSWER or (status >= 400 and status != 429):
                found[f"{route} was answered {status or 'not at all'}"] += 1
        if client.named["wrong"]:
            found["a known person had another name"] += client.named["wrong"]
    problems = [f"{text} ({count} times)" for text, count in found.items()]
    problems += [
        line
        for line in (home.folder / "server.log").read_text().splitlines()
        if '"level": "error"' in line
    ][:3]
    return problems + _not_stored(home, crowd)


def _not_stored(home: Home, crowd: Sequence[Client]) -> list[str]:
    problems = []
    expected = {one: row for client in crowd for one, row in client.stored.items()}
    with home.read() as session:
        for person, row in expected.items():
            found = session.get(Person, person)
            own = select(func.count()).where(Picture.person_id == person)
            stored = (found.name, session.scalar(own)) if found else None
            if stored != row:
                problems.append(f"person {person} must be {row}, but is {stored}")
        try:
            audit.verify(session)
        except FaceError as error:
            problems.append(str(error))
    return problems


def _peak_bytes(pid: int) -> int | None:
    """Return the most memory that a process has held; None where the system does not say."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
