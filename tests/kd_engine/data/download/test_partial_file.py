"""State of a file while it is fetched, and the process that may write it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_core.checkpoint.file_lock import hold_lock
from kd_engine.data.download.partial_file import (
    DownloadError,
    discard_part,
    length_of,
    locked,
    part_of,
    read_state,
    write_state,
)

URL = "http://somewhere/file.bin"
GOOD = dict(url=URL, validator='"one"', total=9)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    part = part_of(tmp_path / "file.bin")
    write_state(part, URL, {"ETag": '"one"'}, 9)
    part.write_bytes(b"old bytes")
    return part


def test_a_state_is_read_back_for_its_own_address_alone(part: Path) -> None:
    assert part.name == "file.bin.part" and length_of(part) == 9
    assert read_state(part, URL) == GOOD
    assert read_state(part, URL + "?other") is None
    part.unlink()
    assert read_state(part, URL) is None and length_of(part) == 0


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"two"', "Last-Modified": "Monday"}, '"two"'),
        ({"ETag": 'W/"two"', "Last-Modified": "Monday"}, "Monday"),
        ({"Last-Modified": "Monday"}, "Monday"),
    ],
)
def test_a_new_state_has_no_old_bytes(part: Path, headers: dict[str, str], validator: str) -> None:
    write_state(part, URL, headers, None)
    assert not part.exists()
    part.touch()
    assert read_state(part, URL) == dict(url=URL, validator=validator, total=None)


def test_without_a_validator_there_is_nothing_to_go_on_from(part: Path) -> None:
    write_state(part, URL, {"ETag": 'W/"weak"'}, 9)
    part.touch()
    assert read_state(part, URL) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "null", "7", "[" * 100_000, '{"url": 1}', "\ufeff{}"),
        json.dumps(GOOD | dict(validator=7)),
        json.dumps(GOOD | dict(total="9")),
        json.dumps(GOOD | dict(total=2)),
        json.dumps(dict(list(GOOD.items())[:2])),
    ],
)
def test_a_damaged_state_is_as_good_as_none(part: Path, text: str) -> None:
    part.with_name("file.bin.part.json").write_text(text, "utf-8")
    assert read_state(part, URL) is None


def test_two_processes_do_not_write_the_same_part(part: Path, tmp_path: Path) -> None:
    with hold_lock(part.with_name("file.bin.part.lock")):
        with pytest.raises(DownloadError, match=r"part is being fetched by another process"):
            with locked(part):
                raise AssertionError("it was not locked")
        assert not discard_part(tmp_path / "file.bin")
    assert part.is_file()
    with locked(part):
        write_state(part, URL, {"ETag": '"one"'}, 9)
        with pytest.raises(DownloadError, match="another process"), locked(part):
            raise AssertionError("writing the state took the lock away")
    assert list(tmp_path.iterdir()) == []  # a state without a part goes


def test_what_a_broken_download_left_can_be_discarded(part: Path, tmp_path: Path) -> None:
    assert discard_part(tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []
    assert not discard_part(tmp_path / "file.bin")
