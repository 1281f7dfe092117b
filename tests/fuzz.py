"""Damaged files for the tests of readers: whatever they hold, a reader ends in its own error."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_LOUD = [b"\0", b"\xff", b"\n", b"\r", b'"', b",", b" ", b"[", b"{", b"-1", b"\xef\xbb\xbf", b"../"]
_LOUD += [b"9" * 25, b"NaN", b"null", b"\x93NUMPY", b"PK\x03\x04"]


def quick(examples: int = 60) -> settings:
    """The same examples in every run, soon done."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """A good file with up to four places changed, cut out, filled in or cut off; or any bytes."""
    place = st.integers(0, len(content))
    new = st.sampled_from(_LOUD) | st.binary(min_size=1, max_size=4)
    edit = st.tuples(place, st.sampled_from(("change", "cut", "put", "end")), new)
    edited = st.lists(edit, min_size=1, max_size=4).map(lambda edits: _edited(content, edits))
    return edited | edited | edited | st.binary(max_size=100)


def _edited(content: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    for place, kind, new in edits:
        rest = {"change": len(new), "cut": 7, "put": 0, "end": len(content)}[kind]
        middle = b"" if kind in ("cut", "end") else new
        content = content[:place] + middle + content[place + rest :]
    return content


def read_or_refuse(
    read: Callable[[], object], place: Path, errors: tuple[type[Exception], ...] = ()
) -> bool:
    """Return whether it was read; any error must be a documented one that names the place."""
    try:
        read()
    except (ValueError, FileNotFoundError, *errors) as error:
        assert type(error) in (ValueError, FileNotFoundError, *errors), repr(error)
        assert str(place) in str(error), f"{error} does not name {place}"
        return False
    return True
