"""dlib's networks: only two files are opened, and only as they are known."""

import builtins

import numpy as np
import pytest

from kd_face import dlib_networks
from kd_face.dlib_networks import LANDMARKS, RESNET, DlibDetector, DlibEmbedder, model_file

from .stand_ins import blocks

pytest.importorskip("dlib", reason="needs dlib and its networks: pip install 'kdkit[face]'")


def test_only_the_two_networks_have_a_path():
    assert {model_file(one).name for one in (LANDMARKS, RESNET)} == {LANDMARKS, RESNET}
    for name in ("shape_predictor_68_face_landmarks.dat", "mmod_human_face_detector.dat"):
        with pytest.raises(KeyError):
            model_file(name)


def test_another_content_is_refused(monkeypatch):
    monkeypatch.setitem(dlib_networks.SHA256, LANDMARKS, "0" * 64)
    with pytest.raises(ValueError, match="must have the SHA-256 000"):
        model_file(LANDMARKS)


def test_the_package_is_not_imported(monkeypatch):
    imported = builtins.__import__

    def watch(name, *rest):
        assert not name.startswith(("face_recognition_models", "pkg_resources"))
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", watch)
    model_file(LANDMARKS)


def test_no_face_and_no_crop():
    assert DlibDetector().detect(blocks(1) * 0) == []
    assert DlibEmbedder().embed([]).shape == (0, 128)


def test_rows_have_unit_length():
    rows = DlibEmbedder().embed([np.full((150, 150, 3), 90, np.uint8)])
    assert rows.shape == (1, 128) and rows.dtype == np.float32
    assert np.linalg.norm(rows) == pytest.approx(1, abs=1e-6)
