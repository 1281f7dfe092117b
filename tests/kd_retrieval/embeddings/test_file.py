"""Files of embeddings that are damaged, or by another hand."""

import io
import json
import runpy
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_retrieval.embeddings.stored import read_embeddings, read_key, write_embeddings

table = runpy.run_path(str(Path(__file__).parents[1] / "toy_table.py"))["table"]
FUZZ = runpy.run_path(str(Path(__file__).parents[2] / "fuzz.py"))
quick, damaged, read_or_refuse = FUZZ["quick"], FUZZ["damaged"], FUZZ["read_or_refuse"]
META = dict(version=1, class_names=["x"], key=dict(checkpoint="a", dtype="float32"))


def packed(value):
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def replaced(path, **changes):
    """Write some arrays of a file anew; raw bytes become the member as they are."""
    with np.load(path) as found:
        content = dict(found)
    raw = {name: value for name, value in changes.items() if isinstance(value, bytes)}
    np.savez(path, **content | {k: v for k, v in changes.items() if k not in raw})
    if raw:
        members = {}
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in members.items():
                archive.writestr(name, raw.get(name.removesuffix(".npy"), value))


def header(text):
    """An array of 48 bytes under any header."""
    head = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(48)


@pytest.fixture(params=["kept.npz", "kept"])
def kept(request, tmp_path):
    path = tmp_path / request.param
    write_embeddings(path, table(6, 2))
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("meta", packed(value)) for value in ([], 7, None, {}, META | dict(version=2))),
        *(("meta", packed(META | dict(class_names=value))) for value in (7, None, [7], "x", {})),
        *(("meta", packed(META | dict(key=value))) for value in ([], 7, None, {"x": "y"})),
        *(("meta", packed(META | dict(key=dict(dtype=value)))) for value in (7, None, ["a"], {})),
        ("meta", np.frombuffer(b"[" * 100_000, np.uint8)),
        ("meta", np.frombuffer(b"\xff\xfe{}", np.uint8)),
        ("meta", np.array(7.5)),
        ("paths", np.frombuffer(b"\xff" * 11, np.uint8)),
        *((name, np.array(7)) for name in ("labels", "ids", "roles", "paths")),
        *((name, np.zeros((6, 1), np.int64)) for name in ("labels", "ids", "roles")),
        *((name, np.arange(6.0)) for name in ("labels", "ids", "roles")),
        *((name, np.arange(6).astype(">i8")) for name in ("labels", "ids", "roles")),
        ("labels", np.array(["x"] * 6)),
        ("labels", np.zeros(6, [("a", "i8")])),
        ("labels", np.array([None] * 6)),
        ("labels", np.arange(6) - 1),
        ("roles", np.arange(6)),
        ("roles", np.arange(6) - 3),
        ("labels", header("{'descr': '<i8', 'fortran_order': False, 'shape': (6,")),
        ("labels", header("{'descr': '<i8', 'fortran_order': False, 'shape': (-6,), }")),
        ("labels", header("{'descr': '<i8', 'fortran_order': False, 'shape': (%s,), }" % 10**17)),
        ("labels", header("{'descr': '<i8', 'fortran_order': False, 'shape': (%s,), }" % 10**30)),
        ("labels", header("{'descr': '<i8', 'fortran_order': False, 'shape': ('six',), }")),
        ("labels", header("{'descr': 'nothing', 'fortran_order': False, 'shape': (6,), }")),
        ("labels", header("{'descr': [], 'fortran_order': False, 'shape': (6,), }")),
        ("labels", header("(" * 60)),
        ("labels", header("{'descr': '|O', 'fortran_order': False, 'shape': (6,), }")),
        ("labels", b""),
    ],
)
def test_odd_rows_are_named(kept, name, value):
    replaced(kept / "rows.npz" if kept.is_dir() else kept, **{name: value})
    with pytest.raises(ValueError, match=str(kept)):
        read_embeddings(kept)


@pytest.mark.parametrize(
    "value",
    [
        np.array(7.0, np.float32),
        np.zeros(6, np.float32),
        np.zeros((6, 0), np.float32),
        np.zeros((6, 2, 1), np.float32),
        np.zeros((6, 2)),
        np.zeros((6, 2), ">f4"),
        np.zeros((6, 2), np.int32),
        np.array([["x"] * 2] * 6),
        np.array([[None] * 2] * 6),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (6, %s), }" % 10**15),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (6, -2), }"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (6, 2.0), }"),
        header("{'descr': 7, 'fortran_order': False, 'shape': (6, 2), }"),
        header("{1: 2"),
    ],
)
def test_odd_vectors_are_named(kept, value):
    if kept.is_dir():
        stream = io.BytesIO()
        if not isinstance(value, bytes):
            np.save(stream, value)
        (kept / "vectors.npy").write_bytes(stream.getvalue() or value)
    else:
        replaced(kept, vectors=value)
    with pytest.raises(ValueError, match=str(kept)):
        read_embeddings(kept)


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_zip_that_cannot_be_unpacked_is_named(tmp_path, encrypted):
    path = tmp_path / "kept.npz"
    write_embeddings(path, table(6, 2))
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + place + (0 if encrypted else 2)] = 1 if encrypted else 77
            at = content.find(mark, at + 4)
    path.write_bytes(content)
    for read in (read_embeddings, read_key):
        with pytest.raises(ValueError, match=str(path)):
            read(path)


@quick(80)
@given(data=st.data())
def test_damaged_files_end_in_an_error_that_names_them(tmp_path, data):
    in_folder = data.draw(st.booleans())
    path = tmp_path / ("kept" if in_folder else "kept.npz")
    write_embeddings(path, table(6, 2))
    file = path / data.draw(st.sampled_from(("vectors.npy", "rows.npz"))) if in_folder else path
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    for read in (read_embeddings, read_key):
        read_or_refuse(lambda read=read: read(path), path)
