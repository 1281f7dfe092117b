"""Options of the web server."""

from __future__ import annotations

from dataclasses import dataclass

LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class WebOptions:
    """Options of the web server.

    Args:
        tls: Whether browsers come over HTTPS, through a proxy. The session cookie then has the
            prefix ``__Host-`` and ``Secure``; without it the server only listens on loopback.
        hosts: Names under which browsers may ask for the server; others are refused, so that a
            foreign name that leads to this machine (DNS rebinding) is of no use.
        recognitions: Images that are recognized at the same time.
        waiting: Recognitions that may wait for their turn; a further one is answered 429.
        key_rate: Requests a minute of one API key.
        max_import: Bytes of an uploaded ZIP.
    """

    tls: bool = False
    hosts: tuple[str, ...] = LOCAL
    recognitions: int = 1
    waiting: int = 16
    key_rate: int = 600
    max_import: int = 2**30

    @property
    def cookie(self) -> str:
        """Return the name of the session cookie.

        Not every browser accepts ``Secure``, which ``__Host-`` demands, over plain HTTP on
        loopback; so there the cookie has another name, and neither.
        """
        return "__Host-kd_face" if self.tls else "kd_face_local"
