"""Logs of the server: one JSON object a line, without names, images and addresses.

An error is told by its type and the places it came through; its message is left out, as it may hold
what somebody has sent.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import datetime, timezone
from pathlib import Path

REQUESTS = logging.getLogger("kd_face.web.requests")
_FIELDS = ("method", "route", "status", "ms", "caller")


class JsonFormatter(logging.Formatter):
    """Formatter of a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, timezone.utc).isoformat(
                "T", "milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({one: vars(record)[one] for one in _FIELDS if one in vars(record)})
        if record.exc_info and record.exc_info[1]:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["came_through"] = [
                f"{Path(one.filename).name}:{one.lineno} {one.name}"
                for one in traceback.extract_tb(error.__traceback__)
            ]
        return json.dumps(line)


def log_json() -> None:
    """Write all logs as JSON to the standard error from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


def log_request(method: str, route: str, status: int, seconds: float, caller: str) -> None:
    """Log a request.

    Args:
        method: Of HTTP.
        route: Its template, without the query.
        status: Of the answer.
        seconds: That it took.
        caller: The user's role, ``key:`` and prefix, or empty.
    """
    fields = {"method": method, "route": route, "status": status, "caller": caller}
    REQUESTS.info("request", extra={**fields, "ms": round(seconds * 1000, 1)})
