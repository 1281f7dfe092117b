"""State of the web server: what all requests share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from kd_face.home import Home
from kd_face.index import GalleryIndex
from kd_face.pictures import Networks
from kd_face.web.counters import Metrics
from kd_face.web.jobs import Jobs
from kd_face.web.options import WebOptions
from kd_face.web.throttle import Slots, Throttle

_QUARTER = 900.0  # seconds


class Web:
    """What all requests share.

    Args:
        home: The installation.
        networks: Detector and embedder.
        options: Of the server.

    Attributes:
        index: Of the gallery.
        recognitions: Whoever uses the networks does it in one of these slots.
        reports: Slots of measurements of the whole gallery.
        sign_ins: Slots of password hashes, 64 MiB each.
        metrics: Counts and latencies.
        keys: Throttle of each API key.
        accounts: Throttle of sign-ins by account, from anywhere.
        addresses: Throttle of sign-ins by address.
        pairs: Throttle of sign-ins by account and address, the tightest.
        jobs: Long work in the background.
    """

    def __init__(self, home: Home, networks: Networks, options: WebOptions):
        self.home, self.networks, self.options = home, networks, options
        self.index = GalleryIndex(home)
        self.recognitions = Slots(options.recognitions, options.waiting)
        self.reports = Slots(1, 4)
        self.sign_ins = Slots(2, 8)
        self.metrics = Metrics()
        self.keys = Throttle(options.key_rate, 60.0)
        self.accounts = Throttle(50, _QUARTER)
        self.addresses = Throttle(50, _QUARTER)
        self.pairs = Throttle(10, _QUARTER)
        self.jobs = Jobs()


def web_of(request: Request) -> Web:
    """Return the state of the server that a request has come to."""
    found = request.app.state.web
    assert isinstance(found, Web)
    return found


Shared = Annotated[Web, Depends(web_of)]
