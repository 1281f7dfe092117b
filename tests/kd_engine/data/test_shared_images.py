"""Images that two splits share are found by path and by content, and no others are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import kd_engine.data.shared_images as module
from kd_engine.data.file_sizes import file_sizes, sizes_of
from kd_engine.data.shared_images import judge_shared, shared_images


def _write(folder: Path, contents: dict[str, bytes]) -> dict[str, int]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {str(folder / name): len(content) for name, content in contents.items()}


def _noise(count: int, size: int = 5000, seed: int = 0) -> list[bytes]:
    return [row.tobytes() for row in np.random.default_rng(seed).integers(
        0, 256, (count, size), dtype=np.uint8)]  # fmt: skip


def test_sizes_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _write(tmp_path, {"a.jpg": b"123", "b.jpg": b""})
    (tmp_path / "folder").mkdir()
    assert file_sizes([str(tmp_path), str(tmp_path / "gone")]) == files
    monkeypatch.chdir(tmp_path)
    assert file_sizes([""]) == {"a.jpg": 3, "b.jpg": 0}
    assert sizes_of(["a.jpg", "gone.jpg"]) == {"a.jpg": 3}


def test_splits_without_a_common_image(tmp_path: Path) -> None:
    """The same names, the same sizes, and bytes that differ outside of the parts read first."""
    base = bytearray(_noise(1)[0])
    other = bytearray(base)
    other[100] ^= 1
    train = _write(tmp_path / "train", {"1.jpg": bytes(base), "2.jpg": _noise(2)[1]})
    val = _write(tmp_path / "val", {"1.jpg": bytes(other), "3.jpg": b"3"})
    found = shared_images(train, val)
    assert (found.pairs, found.compared, found.total) == ([], 2, 2)
    assert not found.all_shared and judge_shared(found, "val", False) is None


def test_an_image_of_the_same_path_or_content(tmp_path: Path) -> None:
    a, b, c, d = _noise(4)
    train = _write(tmp_path / "train", {"a.jpg": a, "b.jpg": b, "c.jpg": c})
    val = _write(tmp_path / "val", {"x.jpg": b, "d.jpg": d})
    path = str(tmp_path / "train" / ".." / "train" / "c.jpg")  # the same folder, written otherwise
    found = shared_images(train, {**val, path: len(c)})
    train_of = {other: one for one, other in found.pairs}
    assert train_of == {
        path: str(tmp_path / "train/c.jpg"),
        str(tmp_path / "val/x.jpg"): str(tmp_path / "train/b.jpg"),
    }
    warning = judge_shared(found, "val", False)
    assert warning is not None and "2 of the 3 images of the val data" in warning
    assert "x.jpg" in warning


def test_files_that_differ_in_the_middle_are_not_read_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> bytes:
        raise AssertionError(f"{path} was read in full")

    monkeypatch.setattr(module, "_all_of", refuse)
    edge, one, other = _noise(3)
    train = _write(tmp_path / "train", {"a.jpg": edge + one + edge})
    val = _write(tmp_path / "val", {"a.jpg": edge + other + edge})
    assert shared_images(train, val).pairs == []


def test_a_link_to_the_folder_is_the_same_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 1)  # so that no bytes are compared
    train = _write(tmp_path / "train", dict(zip("ab", _noise(2), strict=True)))
    os.symlink(tmp_path / "train", tmp_path / "val")
    found = shared_images(train, file_sizes([str(tmp_path / "val")]))
    assert len(found.pairs) == 2 and found.all_shared


def test_empty_files_are_no_images(tmp_path: Path) -> None:
    train = _write(tmp_path / "train", {"a.jpg": b""})
    assert shared_images(train, _write(tmp_path / "val", {"b.jpg": b""})).pairs == []


def test_blank_images_tell_nothing(tmp_path: Path) -> None:
    a, b = _noise(2)
    val = _write(tmp_path / "val", {"1.jpg": a, "2.jpg": b})
    train = _write(tmp_path / "train", dict.fromkeys("abc", a))
    assert [other[-5:] for _, other in shared_images(train, val).pairs] == ["1.jpg"]
    train = _write(tmp_path / "train", dict.fromkeys("abcd", a))
    assert shared_images(train, val).pairs == []


def test_nothing_but_training_images_needs_the_flag(tmp_path: Path) -> None:
    a, b = _noise(2)
    train = _write(tmp_path / "train", {"a.jpg": a, "b.jpg": b})
    found = shared_images(train, _write(tmp_path / "val", {"c.jpg": a}))
    with pytest.raises(ValueError, match="allow_val_on_train = True") as stop:
        judge_shared(found, "val", False)
    assert "1 of the 1 images of the val data" in str(stop.value)
    warning = judge_shared(found, "val", True)
    assert warning is not None and "1 of the 1" in warning


def test_of_many_images_a_sample_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMPARED", 50)
    contents = _noise(200, 100)
    train = _write(tmp_path / "train", {f"{i}.jpg": one for i, one in enumerate(contents)})
    others = [*contents[:100], *_noise(100, 100, seed=1)]
    val = _write(tmp_path / "val", {f"v{i}.jpg": one for i, one in enumerate(others)})
    found = shared_images(train, val)
    assert (found.compared, found.total) == (50, 200)
    assert 10 < len(found.pairs) < 40  # half of 50, within 4 standard deviations
    assert found == shared_images(train, val)
    warning = judge_shared(found, "val", False)
    assert (
        warning is not None and "50 images of the val data that were compared (of 200)" in warning
    )
    monkeypatch.setattr(module, "MOST", 100)
    assert shared_images(train, val).pairs == []  # too many: paths alone
