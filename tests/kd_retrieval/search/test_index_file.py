"""Indexes in files: kept, damaged, foreign."""

import dataclasses
import json
import runpy
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_retrieval.search.index import build_index
from kd_retrieval.search.index_file import load_index, save_index

TOY = runpy.run_path(str(Path(__file__).parents[1] / "toy_table.py"))
table, KEY = TOY["table"], TOY["KEY"]
FUZZ = runpy.run_path(str(Path(__file__).parents[2] / "fuzz.py"))
quick, damaged, read_or_refuse = FUZZ["quick"], FUZZ["damaged"], FUZZ["read_or_refuse"]


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_a_kept_index_finds_the_same(kind, tmp_path):
    rows, queries = table(), table(20, seed=1).vectors
    built = build_index(rows, kind, "l2")
    save_index(tmp_path / "below/an.index", built)
    read = load_index(tmp_path / "below/an.index", rows)
    assert (read.kind, read.metric) == (kind, "l2")
    for one, other in zip(built.search(queries, 5).rows, read.search(queries, 5).rows, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["an.index"]
    assert faiss.read_index(str(tmp_path / "below/an.index")).ntotal == 600  # FAISS's own file


def test_an_index_of_another_checkpoint_is_refused(tmp_path):
    save_index(tmp_path / "an.index", build_index(table()))
    other = dataclasses.replace(table(), key=dataclasses.replace(KEY, checkpoint="d" * 64))
    message = (
        r"an.index is stale.*another checkpoint \(it has aaaaaaaaaaaa, expected is dddddddddddd"
        r".*Remove it, so that it is built again"
    )
    with pytest.raises(ValueError, match=message):
        load_index(tmp_path / "an.index", other)
    with pytest.raises(ValueError, match="600 x 8 .* holds 600 x 8|500 x 8 .* holds 600 x 8"):
        load_index(tmp_path / "an.index", table(500))


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "an.index"
    save_index(path, build_index(table()))
    content = path.read_bytes()
    tail = len(content) - content.rindex(b'{"kind')
    for damaged, message in (
        (content[:1000], "its end is missing"),
        (b"nonsense", "its end is missing"),
        (b"", "its end is missing"),
        (content[-tail + 5 :], "is not an index of kdkit search"),
        (content[-40:], "is not an index of kdkit search"),
        (content[-tail + 100 :], "its beginning is missing"),
        (b"abcd" + content[4:], "an.index cannot be read as an index: its content is damaged"),
        (content[:500] + content[-tail:], "its content is damaged"),
        (content[:5000] + b"\xff" + content[5001:], "its content is damaged"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=message):
            load_index(path, table())
    faiss.write_index(faiss.IndexFlatL2(8), str(path))
    with pytest.raises(ValueError, match="an.index is not an index of kdkit search"):
        load_index(path, table())
    with pytest.raises(FileNotFoundError):
        load_index(tmp_path / "lost", table())
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="it is a folder"):
        load_index(tmp_path / "folder", table())


def with_settings(content, settings):
    """Give an index other settings at its end."""
    mark = b"kdkit index 1\n"
    text = json.dumps(settings).encode()
    return content[: content.rindex(b'{"kind')] + text + len(text).to_bytes(8, "little") + mark


GOOD = dict(kind="flat", metric="cosine", key=dataclasses.asdict(KEY))


@pytest.mark.parametrize(
    "settings",
    [
        *(
            [],
            7,
            None,
            "text",
            {},
            dict(kind="flat"),
            GOOD | dict(key=[]),
            GOOD | dict(key={"x": 1}),
        ),
        *(GOOD | dict(kind=kind) for kind in ("tree", 7, None, ["flat"])),
        *(GOOD | dict(metric=metric) for metric in ("hamming", 0, {})),
        GOOD | dict(key=dataclasses.asdict(KEY) | dict(checkpoint=7)),
    ],
)
def test_odd_settings_are_named(tmp_path, settings):
    path = tmp_path / "an.index"
    save_index(path, build_index(table()))
    path.write_bytes(with_settings(path.read_bytes(), settings))
    with pytest.raises(ValueError, match=r"an\.index is not an index of kdkit search, or is damag"):
        load_index(path, table())


@pytest.mark.parametrize("other", [dict(kind="hnsw"), dict(kind="ivf"), dict(metric="l2")])
def test_an_index_of_another_kind_than_it_says_is_refused(tmp_path, other):
    path = tmp_path / "an.index"
    save_index(path, build_index(table()))
    path.write_bytes(with_settings(path.read_bytes(), GOOD | other))
    with pytest.raises(ValueError, match=r"an\.index must hold a Index.* but holds a IndexFlat"):
        load_index(path, table())


def test_a_file_without_a_checksum_is_read_as_before(tmp_path):
    path = tmp_path / "an.index"
    save_index(path, build_index(table()))
    path.write_bytes(with_settings(path.read_bytes(), GOOD))
    assert load_index(path, table()).index.ntotal == 600
    content = path.read_bytes()
    for broken in (b"abcd" + content[4:], content[:500] + content[content.rindex(b'{"kind') :]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"an\.index cannot be read or written as an index"):
            load_index(path, table())


@quick(80)
@given(data=st.data())
def test_a_damaged_file_ends_in_an_error_that_names_it(tmp_path, data):
    path = tmp_path / "an.index"
    save_index(path, build_index(table(12)))
    content = path.read_bytes()
    path.write_bytes(data.draw(damaged(content)))
    assert read_or_refuse(lambda: load_index(path, table(12)), path) == (
        path.read_bytes() == content
    )
