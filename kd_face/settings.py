"""Settings and counters in the database, as JSON."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from kd_face.database.models import Setting

CHANGE = "change"  # number of changes of the gallery, which caches are compared with


def get(session: Session, key: str, default: Any = None) -> Any:
    """Return a setting, or the default where it was never set."""
    found = session.get(Setting, key)
    return default if found is None else json.loads(found.value)


def put(session: Session, key: str, value: Any) -> None:
    """Set a setting.

    Args:
        session: Of a transaction that writes.
        key: At most 64 characters.
        value: What JSON can hold.
    """
    session.merge(Setting(key=key, value=json.dumps(value)))
    session.flush()


def drop_space(session: Session, model_id: int) -> None:
    """Delete the settings of a space, whose keys end with a colon and its id."""
    session.execute(delete(Setting).where(Setting.key.endswith(f":{model_id}", autoescape=True)))


def locked(session: Session, key: str, default: Any = None) -> Any:
    """Return a setting that no other transaction changes until this one ends."""
    chosen = select(Setting).where(Setting.key == key).with_for_update()
    found = session.scalars(chosen.execution_options(populate_existing=True)).one_or_none()
    return default if found is None else json.loads(found.value)


def count_change(session: Session) -> None:
    """Count a change of the gallery, in the transaction that makes it."""
    put(session, CHANGE, locked(session, CHANGE, 0) + 1)
