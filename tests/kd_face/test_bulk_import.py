"""Bulk import: folders and ZIPs, limits, no path out of them, a report per file."""

import io
import zipfile

import pytest
from sqlalchemy import func, select

from kd_face import people, pictures
from kd_face.bulk_import import ImportLimits, import_people
from kd_face.database.models import Person, Picture
from kd_face.errors import FaceError

from .stand_ins import blocks, png


def run(home, networks, source, **limits):
    found = import_people(home, networks, source, "test", ImportLimits(**limits))
    return {one.name: (one.outcome, one.reason) for one in found}


def pictures_of(home):
    with home.read() as session:
        chosen = select(Person.name, func.count()).join(Picture).group_by(Person.name)
        return dict(session.execute(chosen).all())


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "faces"
    for name, content in {
        "Ann/1.png": png(blocks(1)),
        "Ann/2.png": png(blocks(1, 1)),
        "deep/Bob/1.png": png(blocks(2)),
        "Bob/none.png": png(blocks(2) * 0),
        "Bob/notes.txt": b"no image",
        "README.md": b"text",
        ".hidden/x.png": png(blocks(3)),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def pack(folder, path, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(folder.rglob("*")):
            if one.is_file() and ".hidden" not in one.parts:
                archive.write(one, one.relative_to(folder))
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_every_file_has_a_report(home, networks, folder, tmp_path, packed):
    source = pack(folder, tmp_path / "faces.zip") if packed else folder
    found = run(home, networks, source)
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "Ann/1.png": "added",
        "Ann/2.png": "added",
        "deep/Bob/1.png": "added",
        "Bob/none.png": "refused",
        "Bob/notes.txt": "refused",
        "README.md": "refused",
    }
    assert "no face" in found["Bob/none.png"][1] and "must be a JPEG" in found["Bob/notes.txt"][1]
    assert "not in the folder of a person" in found["README.md"][1]
    assert pictures_of(home) == {"Ann": 2, "Bob": 1}
    again = run(home, networks, source)
    assert [outcome for outcome, _ in again.values()].count("known") == 3
    assert pictures_of(home) == {"Ann": 2, "Bob": 1}


def test_an_import_that_stops_keeps_what_it_reported(home, networks, folder):
    reports = import_people(home, networks, folder, "test")
    assert next(reports).outcome == "added"
    reports.close()
    assert pictures_of(home) == {"Ann": 1}
    run(home, networks, folder)
    assert pictures_of(home) == {"Ann": 2, "Bob": 1}


def test_links_are_not_followed(home, networks, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.png").write_bytes(png(blocks(7)))
    (folder / "Eve").symlink_to(outside)
    (folder / "Ann" / "3.png").symlink_to(outside / "1.png")
    found = run(home, networks, folder)
    assert not [name for name in found if "Eve" in name or "3.png" in name]


def make_zip(tmp_path, entries):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../a/1.png", "/etc/1.png", "a/../../1.png", "a\\..\\1.png"])
def test_paths_that_lead_out_are_refused(home, networks, tmp_path, name):
    path = make_zip(tmp_path, {"a/1.png": png(blocks(1)), name.replace("\\", "#"): b"x"})
    path.write_bytes(path.read_bytes().replace(name.replace("\\", "#").encode(), name.encode()))
    with pytest.raises(FaceError, match="leads out"):
        run(home, networks, path)
    assert pictures_of(home) == {}


def test_limits_hold_before_anything_is_stored(home, networks, folder, tmp_path):
    with pytest.raises(FaceError, match="at most 2 files .* these are 6 files"):
        run(home, networks, folder, max_files=2)
    with pytest.raises(FaceError, match="at most 100 bytes .* unpacked"):
        run(home, networks, folder, max_bytes=100)
    bomb = make_zip(tmp_path, {"a/1.png": bytes(2**21), "a/2.png": png(blocks(1))})
    with pytest.raises(FaceError, match="unpacks to .* times its size"):
        run(home, networks, bomb)
    with pytest.raises(FaceError, match="neither"):
        run(home, networks, folder / "README.md")
    assert pictures_of(home) == {}


def test_a_broken_and_an_encrypted_entry_are_refused_alone(home, networks, tmp_path):
    path = make_zip(tmp_path, {"a/1.png": png(blocks(1)), "a/2.png": png(blocks(1, 1))})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        place = archive.getinfo("a/2.png").header_offset + 60
    content[place : place + 20] = b"x" * 20
    path.write_bytes(content)
    found = run(home, networks, path)
    assert [outcome for outcome, _ in found.values()] == ["added", "refused"]
    assert "broken" in found["a/2.png"][1]


def test_a_file_larger_than_its_entry_says(home, networks, tmp_path):
    path = make_zip(tmp_path, {"a/1.png": png(blocks(1)) + bytes(16 * 2**20)})
    found = run(home, networks, path, max_ratio=1e9)
    assert found["a/1.png"][0] == "refused" and "more than" in found["a/1.png"][1]


def test_a_person_comes_with_the_first_picture(home, networks, folder, monkeypatch):
    refused = pictures.PictureRefused("no")
    monkeypatch.setattr(pictures, "_insert", lambda *_: (_ for _ in ()).throw(refused))
    found = run(home, networks, folder)
    assert {outcome for outcome, _ in found.values()} == {"refused"}
    with home.read() as session:
        assert people.counts(session) == (0, 0) and not list(home.blobs)


@pytest.mark.parametrize("said", [10, 2**31])
def test_a_size_that_is_a_lie_is_refused_alone(home, networks, tmp_path, said):
    """The list of the ZIP says another size than the data have."""
    path = make_zip(tmp_path, {"a/1.png": png(blocks(1)), "a/2.png": png(blocks(1, 1))})
    with zipfile.ZipFile(path) as archive:
        true = archive.getinfo("a/1.png").file_size
    head, mark, listed = path.read_bytes().partition(b"PK\x01\x02")  # of the first file
    listed = listed.replace(true.to_bytes(4, "little"), said.to_bytes(4, "little"), 1)
    path.write_bytes(head + mark + listed)
    found = run(home, networks, path, max_ratio=1e9)
    assert found["a/1.png"][0] == "refused"
    assert found["a/2.png"][0] == "added"


def test_a_long_list_is_refused_before_it_is_read(home, networks, tmp_path, monkeypatch):
    names = [f"a/{number}.png" for number in range(100)]
    path = make_zip(tmp_path, dict.fromkeys(names, b""))
    monkeypatch.setattr(zipfile, "ZipInfo", lambda *_: pytest.fail("the list was read"))
    with pytest.raises(FaceError, match="list of files in the ZIP may have at most 2,048 bytes"):
        run(home, networks, path, max_files=2)


def test_an_open_file_is_imported_as_well(home, networks, tmp_path):
    path = make_zip(tmp_path, {"a/1.png": png(blocks(1))})
    with path.open("rb") as file:
        assert [one for one, _ in run(home, networks, file).values()] == ["added"]
    with (tmp_path / "no.zip").open("w+b") as file:
        with pytest.raises(FaceError, match="the file must be a folder or a ZIP"):
            run(home, networks, file)
    with pytest.raises(FaceError, match="nothing.zip must be a folder or a ZIP"):
        run(home, networks, tmp_path / "nothing.zip")
