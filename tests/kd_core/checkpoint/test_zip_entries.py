"""Archives: which may be mapped, and which would unpack to too much."""

import zipfile

import pytest

from kd_core.checkpoint.zip_entries import ZipEntries, zip_entries

MIB = 2**20


@pytest.mark.parametrize(
    ("packed", "limit"),
    [(1, 256 * MIB), (12 * MIB, 256 * MIB), (13 * MIB, 260 * MIB), (100 * MIB, 2000 * MIB)],
)
def test_an_archive_may_unpack_to_256_mib_or_twenty_times_its_size(packed, limit):
    assert not ZipEntries(True, limit, packed).is_bomb
    assert ZipEntries(True, limit + 1, packed).is_bomb


@pytest.mark.parametrize("second", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_one_compressed_entry_is_enough_not_to_map(tmp_path, second):
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("one", b"abc")
        archive.writestr("two", bytes(1000), compress_type=second)
    found = zip_entries(tmp_path / "a")
    assert found.stored == (second == zipfile.ZIP_STORED)
    assert found.unpacked == 1003 and found.packed == (tmp_path / "a").stat().st_size


def test_what_is_no_archive_has_no_entries(tmp_path):
    (tmp_path / "a").write_bytes(b"PK\x03\x04 and then something else")
    assert zip_entries(tmp_path / "a") is None
