"""Server process of the load benchmark: its arguments are folder, port and networks."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from kd_face.home import open_home
from kd_face.pictures import Networks

ROOT = Path(__file__).parents[2]
DLIB, STAND_INS = "dlib", "stand-ins"


def networks_named(name: str) -> Networks:
    """Return dlib's networks, or the stand-ins of the tests, which need no time."""
    if name == STAND_INS:
        found: Networks = stand_ins().make_networks()
        return found
    from kd_face.dlib_networks import DlibDetector, DlibEmbedder

    return Networks(DlibDetector(), DlibEmbedder())


def stand_ins() -> Any:
    """Import the stand-ins of the tests, which are no package."""
    folder = str(ROOT / "tests" / "kd_face")
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module("stand_ins")


if __name__ == "__main__":
    from kd_face.web.listen import Listen
    from kd_face.web.options import WebOptions
    from kd_face.web.serve import serve

    _, place, port, networks = sys.argv
    home = open_home(Path(place))
    serve(home, networks_named(networks), Listen("127.0.0.1", int(port)), WebOptions())
