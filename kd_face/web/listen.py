"""Where the server may listen: on loopback, or behind a proxy with TLS."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from kd_face.errors import FaceError
from kd_face.web.options import WebOptions


@dataclass(frozen=True)
class Listen:
    """Where the server listens.

    Args:
        host: Address.
        port: Number.
        proxy: Address of the proxy with TLS that alone may connect; None without one.
    """

    host: str
    port: int
    proxy: str | None = None


def require_safe(listen: Listen, options: WebOptions) -> None:
    """Require that nobody can send a password unencrypted over a network.

    Raises:
        FaceError: If the address is not one of loopback and no proxy with TLS is named, or one is
            named without the name under which browsers ask it.
    """
    if listen.proxy is None and not _is_loopback(listen.host):
        raise FaceError(
            f"the server must listen on loopback, but it is told {listen.host}. Passwords and "
            "images would cross the network unencrypted: put a proxy with TLS before it, and name "
            "the proxy's address by --behind-tls-proxy."
        )
    if listen.proxy is not None:
        _address(listen.proxy)
        if not options.tls or not options.hosts:
            raise FaceError(
                "behind a proxy, name what browsers ask for by --name, such as faces.example."
            )


def _is_loopback(host: str) -> bool:
    return host == "localhost" or _address(host).is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise FaceError(f"an address is needed, such as 127.0.0.1, but it is {text!r}.") from None
