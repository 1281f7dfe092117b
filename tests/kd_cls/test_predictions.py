"""Predictions in a file."""

import numpy as np
import pytest

from kd_cls.predictions import Predictions, check_target, read_predictions, write_predictions


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
