"""Network of the server: it follows the one that the gallery is embedded by."""

from __future__ import annotations

import dataclasses
import logging
import threading

from kd_face import networks, settings, spaces
from kd_face.errors import Conflict
from kd_face.web.state import Web

_EVERY = 5.0  # seconds
_log = logging.getLogger("kd_face.web")


def load_network(web: Web) -> None:
    """Use the embedder that the settings name."""
    with web.home.read() as session:
        student = settings.get(session, networks.STUDENT)
    embedder = networks.embedder_of(student)
    web.networks = dataclasses.replace(web.networks, embedder=embedder)


def keep_following(web: Web, ended: threading.Event, every: float = _EVERY) -> None:
    """Load the network that another process switches the gallery to.

    One that cannot be loaded is logged, and not tried again until another one is in use.

    Args:
        web: State of the server.
        ended: Set when the server ends.
        every: Seconds between two looks.
    """
    tried = None
    while not ended.wait(every):
        try:
            found, before = _other(web), tried
            tried = found
            if found is not None and found != before:
                with web.recognitions.taken(is_patient=True):
                    if _other(web) is not None:  # a page may have loaded it meanwhile
                        load_network(web)
        except Exception:
            _log.exception("the network of the gallery could not be loaded")


def _other(web: Web) -> int | None:
    """Return the space in use, if it is not that of the server's network."""
    with web.home.read() as session:
        active: int | None = settings.get(session, spaces.ACTIVE)
        try:
            spaces.require_active(session, web.networks.embedder)
        except Conflict:
            return active
    return None
