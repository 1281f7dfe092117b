"""Clients of the load benchmark: each does one kind of work until time is over."""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2

from benchmarks.face.people import Cast

API = "/api/v1"
NO_ANSWER = 0  # as a status
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')
_IMAGES = re.compile(r'src="(/(?:pictures|review)/\d+/\w+)"')
_TIMEOUT = 120  # seconds
_PAUSE = 0.5  # seconds of a watcher between two looks


@dataclass
class Client:
    """A client, and what became of its requests.

    Args:
        address: Of the server.
        until: Time after which it begins nothing more, of the monotonic clock.
        log: Route, status and seconds of each request.
        named: Answers that named the right person, nobody and another person.
        stored: Id of each person whose creation was acknowledged, to its last acknowledged name
            and number of pictures; None once the deletion was.
    """

    address: str
    until: float = 0.0
    log: list[tuple[str, int, float]] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=lambda: {"right": 0, "nobody": 0, "wrong": 0})
    stored: dict[int, tuple[str, int] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._http = httpx2.Client(base_url=self.address, timeout=_TIMEOUT, verify=False)

    def ask(self, method: str, path: str, **sent: Any) -> httpx2.Response | None:
        """Send a request, and again after the pause that a 429 asks for, for two minutes at most.

        Args:
            method: Of HTTP.
            path: Numbers in it are left out of the log.
            **sent: Arguments of httpx2.

        Returns:
            The answer; None if it is an error, or always 429.
        """
        route = f"{method} {re.sub('[0-9]+', 'N', path.removeprefix(API))}"
        until = time.monotonic() + _TIMEOUT
        while time.monotonic() < until:
            begin, answer = time.perf_counter(), None
            try:
                answer = self._http.request(method, path, **sent)
            except httpx2.HTTPError:
                pass
            status = NO_ANSWER if answer is None else answer.status_code
            self.log.append((route, status, time.perf_counter() - begin))
            if answer is None or status != 429:
                return answer if status and status < 400 else None
            time.sleep(float(answer.headers["Retry-After"]))
        return None

    def use_key(self, key: str) -> None:
        """Send a key from now on."""
        self._http.headers["Authorization"] = f"Bearer {key}"

    def sign_in(self, name: str, password: str) -> None:
        """Sign in, and send the session's CSRF token from now on."""
        self.ask("POST", "/login", data={"name": name, "password": password})
        page = self.ask("GET", "/account")
        if page is not None and (token := _CSRF.search(page.text)):
            self._http.headers["X-CSRF-Token"] = token.group(1)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def identify(client: Client, cast: Cast, number: int) -> None:
    """Ask who known people are."""
    for one in _in_turn(client, cast.known, number):
        answer = client.ask("POST", f"{API}/identify", files=_file(one.content))
        if answer is not None:
            (face, *_) = answer.json()["faces"]
            name = face["person"] and face["person"]["name"]
            verdict = "nobody" if name is None else "right" if name == one.person else "wrong"
            client.named[verdict] += 1


def browse(client: Client, cast: Cast, number: int) -> None:
    """Look at the pages that everybody sees, with the faces on them."""
    for person in _in_turn(client, range(1, len(cast.known) + 1), number):
        for path in ("/", "/people", "/recognize", f"{API}/people", f"/people/{person}"):
            page = client.ask("GET", path)
        for image in _IMAGES.findall(page.text if page is not None else "")[:4]:
            client.ask("GET", image)


def operate(client: Client, cast: Cast, number: int) -> None:
    """Create people with a picture and rename them; every second one is deleted."""
    for count, content in enumerate(_in_turn(client, cast.newcomers, number)):
        name = f"client {number} person {count}"
        made = client.ask("POST", f"{API}/people", json={"name": name})
        if made is None:
            continue
        person = made.json()["id"]
        place = f"{API}/people/{person}"
        client.stored[person] = (name, 0)
        if client.ask("POST", f"{place}/pictures", files=_file(content)) is not None:
            client.stored[person] = (name, 1)
        if (renamed := client.ask("PATCH", place, json={"name": f"{name} renamed"})) is not None:
            client.stored[person] = (renamed.json()["name"], renamed.json()["pictures"])
        if count % 2 and client.ask("DELETE", place) is not None:
            client.stored[person] = None


def review(client: Client, cast: Cast, number: int) -> None:
    """Send strangers, and look at the faces that wait."""
    for content in _in_turn(client, cast.strangers, number):
        client.ask("POST", "/recognize", files=_file(content))
        page = client.ask("GET", "/review")
        for image in _IMAGES.findall(page.text if page is not None else "")[:2]:
            client.ask("GET", image)


def watch(client: Client, cast: Cast, number: int) -> None:
    """Look at health and metrics."""
    for path in _in_turn(client, ("/metrics", "/health", "/health/ready"), number):
        client.ask("GET", path)
        time.sleep(_PAUSE)


def _in_turn(client: Client, items: Any, first: int) -> Any:
    """Yield items one after another, from one of them on, at least one, until time is over."""
    for one in itertools.islice(itertools.cycle(items), first, None):
        yield one
        if time.monotonic() >= client.until:
            return


def _file(content: bytes) -> dict[str, tuple[str, bytes, str]]:
    return {"file": ("image", content, "application/octet-stream")}
