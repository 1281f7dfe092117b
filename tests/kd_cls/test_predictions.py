"""Files of predictions: kept, damaged, foreign."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_cls.predictions import Predictions, check_target, read_predictions, write_predictions

FUZZ = runpy.run_path(str(Path(__file__).parents[1] / "fuzz.py"))
quick, damaged, read_or_refuse = FUZZ["quick"], FUZZ["damaged"], FUZZ["read_or_refuse"]
ROWS = np.arange(4)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "kept.npz"
    write_predictions(str(path), Predictions(ROWS, ROWS % 2, ROWS % 3, ("cat", "döner")))
    return path


def test_everything_comes_back(path):
    found = read_predictions(str(path))
    assert found.class_names == ("cat", "döner") and found.predictions.tolist() == [0, 1, 2, 0]
    assert found.ids.tolist() == [0, 1, 2, 3] and found.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("name", ["ids", "labels", "predictions"])
@pytest.mark.parametrize(
    "value", [np.array(7), np.arange(3), np.arange(4.0), np.array(["x"] * 4), np.array([None] * 4)]
)
def test_odd_rows_are_named(path, name, value):
    with np.load(path) as found:
        content = dict(found)
    np.savez(path, **content | {name: value})
    with pytest.raises(ValueError, match=str(path)):
        read_predictions(str(path))


def test_names_must_be_a_list(path):
    np.savez(path, ids=ROWS, labels=ROWS, predictions=ROWS, class_names=np.array("cat"))
    with pytest.raises(ValueError, match=str(path)):
        read_predictions(str(path))


@quick(80)
@given(data=st.data())
def test_a_damaged_file_ends_in_an_error_that_names_it(path, data):
    content = path.read_bytes()
    path.write_bytes(data.draw(damaged(content)))
    read_or_refuse(lambda: read_predictions(str(path)), path)
    path.write_bytes(content)


def predictions(value):
    return Predictions(np.arange(3), np.arange(3), np.full(3, value), ("a", "b", "c"))


def test_only_predictions_are_replaced(tmp_path):
    path, other = tmp_path / "below/teacher.npz", tmp_path / "mine.npz"
    check_target(str(path))
    write_predictions(str(path), predictions(1))
    check_target(str(path))
    write_predictions(str(path), predictions(2))
    assert read_predictions(str(path)).predictions.tolist() == [2, 2, 2]
    np.savez(other, x=np.zeros(3))
    with pytest.raises(ValueError, match=r"mine\.npz must hold ids"):
        check_target(str(other))


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "teacher.npz"
    write_predictions(str(path), predictions(1))

    def fail(*arguments):
        raise OSError("no space")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_predictions(str(path), predictions(2))
    monkeypatch.undo()
    assert read_predictions(str(path)).predictions.tolist() == [1, 1, 1]
    assert [one.name for one in tmp_path.iterdir()] == ["teacher.npz"]
