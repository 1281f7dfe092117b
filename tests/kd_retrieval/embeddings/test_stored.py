"""Files of embeddings."""

import dataclasses
import re
import tracemalloc

import numpy as np
import pytest

from kd_retrieval.embeddings.stored import (
    EmbeddingKey,
    Embeddings,
    read_embeddings,
    read_key,
    write_batches,
    write_embeddings,
)

KEY = EmbeddingKey("a" * 64, "b" * 64, '[{"type": "Resize", "size": 32}]', "c" * 64, "float32")


def table(count=5, dim=3, **changes):
    content = dict(
        vectors=np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32),
        labels=np.arange(count, dtype=np.int64) % 2,
        ids=np.arange(count, dtype=np.int64)[::-1] * 10 + 2**40,
        roles=np.zeros(count, np.int64),
        paths=tuple(f"ä b/{i}.jpg" for i in range(count)),
        class_names=("cat & dog", "<b>"),
        key=KEY,
    )
    return Embeddings(**{**content, **changes})


@pytest.fixture(params=["kept.npz", "kept"])
def path(request, tmp_path):
    return tmp_path / "below" / request.param


def test_everything_comes_back(path):
    wanted = table()
    write_embeddings(path, wanted)
    found = read_embeddings(path, KEY)
    for name in ("vectors", "labels", "ids", "roles"):
        assert getattr(found, name).dtype == getattr(wanted, name).dtype
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert found.paths == wanted.paths and found.class_names == wanted.class_names
    assert found.key == KEY == read_key(path)
    assert len(found) == 5 and found.dim == 3
    assert isinstance(found.vectors, np.memmap) == (path.suffix == "")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_half_precision_is_part_of_the_key(path):
    half = table(vectors=np.float16([[1, 2]] * 5))
    write_embeddings(path, half)
    assert read_embeddings(path).vectors.dtype == np.float16
    assert read_key(path).dtype == "float16"
    with pytest.raises(ValueError, match=r"stale.*dtype \(it has 'float16', expected is 'float32'"):
        read_embeddings(path, KEY)


@pytest.mark.parametrize("part", ["checkpoint", "data", "transform", "model"])
def test_a_stale_file_names_the_part(path, part):
    write_embeddings(path, table())
    other = dataclasses.replace(KEY, **{part: "d" * 64})
    with pytest.raises(
        ValueError, match=f"stale.*another {part} .*expected is dddddddddddd"
    ) as error:
        read_embeddings(path, other)
    assert str(error.value).count("another ") == 2  # "another <part>", "another file"
    read_embeddings(path, EmbeddingKey())  # nothing asked for


def test_an_unknown_part_is_not_what_is_expected(path):
    write_embeddings(path, table(key=EmbeddingKey()))
    with pytest.raises(ValueError, match=r"another checkpoint \(it has none"):
        read_embeddings(path, EmbeddingKey(checkpoint="a"))


def test_batches_fill_a_folder_without_being_kept(tmp_path):
    wanted = table(count=7)
    batches = (wanted.vectors[i : i + 3] for i in range(0, 7, 3))
    write_batches(tmp_path / "kept", wanted, batches)
    np.testing.assert_array_equal(read_embeddings(tmp_path / "kept").vectors, wanted.vectors)


def test_a_folder_takes_no_more_memory_than_a_few_batches(tmp_path):
    count, dim, batch = 60_000, 256, 500  # 61 MB, batches of 0.5 MB
    rows = table(count, 1, paths=("x",) * count)

    def batches():
        for start in range(0, count, batch):
            yield np.full((batch, dim), start, np.float32)

    tracemalloc.start()
    write_batches(tmp_path / "kept", rows, batches())
    written = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    found = read_embeddings(tmp_path / "kept")
    read = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert written < 10e6 and read < 15e6  # beside vectors ids, labels, roles and paths: 5 MB
    assert found.vectors[-1, -1] == count - batch and found.vectors[batch, 0] == batch


def test_a_link_stays_a_link(path, tmp_path):
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    for count in (4, 5):
        write_embeddings(path, table(count))
        assert path.is_symlink() and len(read_embeddings(path)) == count


@pytest.mark.parametrize("count", [4, 6])
def test_a_wrong_number_of_vectors_leaves_nothing(path, count):
    with pytest.raises(ValueError, match=r"(5, 3)|4 vectors and 5 ids"):
        write_batches(path, table(), [np.zeros((count, 3), np.float32)])
    assert list(path.parent.iterdir()) == []


def test_a_failure_keeps_the_old_file(path):
    write_embeddings(path, table())

    def broken():
        yield np.zeros((2, 3), np.float32)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        write_batches(path, table(), broken())
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    np.testing.assert_array_equal(read_embeddings(path).vectors, table().vectors)


def test_a_file_is_replaced_whole(path):
    write_embeddings(path, table())
    write_embeddings(path, table(count=9))
    assert len(read_embeddings(path)) == 9
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_row_is_named(path, value):
    vectors = table().vectors
    vectors[3, 1] = value
    wanted = rf"in 1 rows, first in row 3 \(id {2**40 + 10}, ä b/3.jpg\)"
    with pytest.raises(ValueError, match=wanted):
        write_embeddings(path, table(vectors=vectors))
    write_embeddings(path, table())
    if path.suffix:
        with np.load(path) as content:
            damaged = dict(content)
        np.savez(path, **{**damaged, "vectors": vectors})
    else:
        np.save(path / "vectors.npy", vectors)
    with pytest.raises(ValueError, match=wanted):
        read_embeddings(path)


def test_a_value_beyond_half_precision_is_named(path):
    rows = table(key=dataclasses.replace(KEY, dtype="float16"))
    with pytest.raises(ValueError, match="first in row 0"):
        write_batches(path, rows, [np.full((5, 3), 1e6, np.float32)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(labels=np.zeros(4, np.int64)), "5 ids, 4 labels, 5 roles, 5 paths"),
        (dict(labels=np.array([0, 1, 0, 2, 0])), r"in 0..1, but that of row 3 .* is 2"),
        (dict(ids=np.array([1, 2, 3, 2, 4])), "must differ, but 2 is there more than once"),
        (dict(labels=np.zeros(5, np.float32)), "int64 .* float32"),
        (dict(vectors=np.zeros((4, 3), np.float32)), "4 vectors and 5 ids"),
        (dict(vectors=np.zeros(5, np.float32)), r"\(n, D\), but they are \(5,\)"),
        (dict(vectors=np.zeros((5, 3))), "float32 or float16, but the dtype is 'float64'"),
    ],
)
def test_bad_tables_are_refused(path, changes, message):
    with pytest.raises(ValueError, match=message):
        write_embeddings(path, table(**changes))
    assert not path.exists()


def test_counts_that_differ_in_a_file_are_named(tmp_path):
    path = tmp_path / "kept"
    write_embeddings(path, table())
    np.save(path / "vectors.npy", np.zeros((4, 3), np.float32))
    with pytest.raises(
        ValueError, match=re.escape("(5, D), one for each id, but they are float32 (4")
    ):
        read_embeddings(path)


def test_damaged_and_foreign_files_are_named(tmp_path):
    whole = tmp_path / "whole.npz"
    write_embeddings(whole, table())
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole.read_bytes()[:-200])
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, images=np.zeros(3))
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, meta=np.array([{"version": 1}], dtype=object))
    text = tmp_path / "text.npz"
    text.write_text("hello")
    for path in (cut, foreign, pickled, text):
        with pytest.raises(ValueError, match=f"{path.name} is not a file of embeddings or is"):
            read_embeddings(path)
    single = tmp_path / "single.npz"
    with single.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="one array"):
        read_embeddings(single)
    with pytest.raises(FileNotFoundError, match="kdkit embed"):
        read_embeddings(tmp_path / "nowhere")


def test_other_things_are_not_replaced(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match="photos exists and holds no embeddings"):
        write_embeddings(folder, table())
    assert (folder / "a.jpg").exists()
    with pytest.raises(ValueError, match="photos lacks it"):
        read_embeddings(folder)
    with pytest.raises(ValueError, match=r"\.npz or to a folder"):
        write_embeddings(tmp_path / "kept.csv", table())
