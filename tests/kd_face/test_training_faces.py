"""Aligned faces and the teacher's rows, as a student's training reads them, and their command."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from kdkit.cli.face import command

from . import stand_ins

torch = pytest.importorskip("torch")
pytest.importorskip("mmengine")

CONFIG = """
default_scope = 'mmengine'
custom_imports = dict(imports=['kd_retrieval'])
teacher_rows = dict(train='{root}/train.npz', test='{root}/test.npz')
data = dict(type='kd_retrieval.LabeledFolder', data_root='{root}/aligned', test_classes=1)
train_dataloader = dict(dataset=dict(**data, split='trainval'))
test_dataloader = dict(dataset=dict(**data, split='test'))
"""


class Embedder(stand_ins.BlockEmbedder):
    """Rows of 4 numbers that a mirror image does not share."""

    dim = 4

    def embed(self, crops):
        quarters = [np.asarray(Image.fromarray(one).convert("L").resize((2, 2))) for one in crops]
        return stand_ins.unit_rows(np.array([one.ravel() for one in quarters], float))


@pytest.fixture
def source(tmp_path):
    for person in (1, 2, 3):
        folder = tmp_path / "source" / f"p{person}"
        folder.mkdir(parents=True)
        for variant in (0, 1):
            pixels = stand_ins.blocks(person, variant)
            (folder / f"{variant}.pgm").write_bytes(stand_ins.png(pixels, format="PPM"))
    (tmp_path / "source/p1/dark.png").write_bytes(stand_ins.png(np.zeros((96, 96, 3), np.uint8)))
    (tmp_path / "config.py").write_text(CONFIG.format(root=tmp_path))
    return tmp_path / "source"


def align(source, out):
    from kd_face.training_faces import align_folder

    return list(align_folder(source, out, stand_ins.BlockDetector(), Embedder()))


def test_the_teacher_is_found_by_the_images_of_the_training(source, tmp_path):
    from kd_engine.config.load import load_run_config
    from kd_face.training_faces import data_root_of, write_rows
    from kd_retrieval.cached_teacher import StoredEmbeddings
    from kd_retrieval.embeddings.embed import open_dataset

    config = str(tmp_path / "config.py")
    out = data_root_of([config], source)
    found = align(source, out)
    assert [one.path for one in found if one.aligned is None] == ["p1/dark.png"]
    rows = {one.aligned: one.rows for one in found if one.aligned}
    assert Image.open(out / "p2/0.png").size == (112, 112) and len(rows) == 6

    files = write_rows(config, rows, Embedder())
    assert [count for _, count in files] == [4, 2]
    data = open_dataset(load_run_config(config), "train")
    teacher = StoredEmbeddings(files[0][0])
    teacher.check(data)  # made from these images
    item = data[3]
    assert data.paths[3] == "p2/1.png"
    row = teacher(torch.zeros(1, 3, 8, 8), ids=torch.tensor([item["ids"]])).numpy()[0]
    plain, mirrored = rows["p2/1.png"]
    assert not np.allclose(plain, mirrored)
    assert np.allclose(row, (plain + mirrored) / np.linalg.norm(plain + mirrored), atol=1e-6)
    # Of the test images the application's own rows, to compare a student with.
    own = StoredEmbeddings(files[1][0]).table
    assert own.paths == ("p3/0.png", "p3/1.png") and np.allclose(
        own.vectors[1], rows["p3/1.png"][0]
    )

    data.root.joinpath("p2/1.png").write_bytes(b"another image")
    with pytest.raises(ValueError, match="stale"):
        teacher.check(data)


def test_what_does_not_fit_is_named(source, tmp_path):
    from kd_face.training_faces import data_root_of, write_rows

    config, out = str(tmp_path / "config.py"), tmp_path / "aligned"
    rows = {one.aligned: one.rows for one in align(source, out)}
    with pytest.raises(ValueError, match="is there already"):
        align(source, out)
    del rows["p1/0.png"]
    with pytest.raises(ValueError, match=re.escape("1 have none, first p1/0.png")):
        write_rows(config, rows, Embedder())
    other = tmp_path / "other.py"
    other.write_text(CONFIG.format(root=tmp_path / "elsewhere"))
    with pytest.raises(ValueError, match="one data_root"):
        data_root_of([config, str(other)], source)
    other.write_text(CONFIG.format(root=tmp_path).replace("teacher_rows", "rows"))
    with pytest.raises(ValueError, match="where the teacher's rows belong"):
        data_root_of([str(other)], source)


def test_a_run_that_fails_leaves_nothing(source, tmp_path):
    (source / "p3/1.png").write_bytes(stand_ins.png(stand_ins.blocks(3)))
    with pytest.raises(ValueError, match="would be called p3/1.png"):
        align(source, tmp_path / "aligned")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["config.py", "source"]
    (tmp_path / "dark").mkdir()
    (source / "p1/dark.png").rename(tmp_path / "dark/a.png")
    with pytest.raises(ValueError, match="no image of .* has a face"):
        align(tmp_path / "dark", tmp_path / "aligned")


@pytest.fixture
def call(monkeypatch):
    """Call kdkit face with stand-ins of dlib's networks; return what it prints."""
    monkeypatch.setattr("kd_face.dlib_networks.DlibDetector", stand_ins.BlockDetector)
    monkeypatch.setattr("kd_face.dlib_networks.DlibEmbedder", Embedder)
    monkeypatch.setattr("kdkit.cli.face.students.require_packages", lambda *_: None)

    def run(*words, code=0):
        result = CliRunner().invoke(command, list(map(str, words)))
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_the_command_says_what_it_wrote(source, tmp_path, call):
    (source / "p2/two.png").write_bytes(
        stand_ins.png(np.concatenate([stand_ins.blocks(2, 7), stand_ins.blocks(3, 7)], 1))
    )
    lines = call("align", source, tmp_path / "config.py").splitlines()
    assert "no face: p1/dark.png" in lines
    (said,) = [line for line in lines if line.startswith(f"{tmp_path / 'aligned'}: ")]
    assert "7 aligned faces, 1 images without one, 1 with several" in said
    assert lines[-2:] == [f"{tmp_path}/train.npz: 5 rows", f"{tmp_path}/test.npz: 2 rows"]
    said = call("verify", tmp_path / "train.npz", "--far", "0.5").splitlines()
    assert said[0] == "2 people, 5 pictures" and said[1].startswith("TAR@FAR=0.5 ")
    assert said[-1] == "4 genuine and 6 impostor pairs"
    assert "there are 1 people with 2 pictures. Add" in call(
        "verify", tmp_path / "test.npz", code=1
    )
    assert "is not a file of embeddings" in call("verify", tmp_path / "config.py", code=1)
    assert "holds vectors.npy" in call("verify", tmp_path, code=1)
    assert "does not exist" in call("verify", tmp_path / "nowhere", code=2)


def test_the_command_refuses_before_it_looks_at_a_face(source, tmp_path, call, monkeypatch):
    monkeypatch.setattr(stand_ins.BlockDetector, "detect", lambda *_: pytest.fail("too late"))
    config = tmp_path / "config.py"
    assert "does not exist" in call("align", tmp_path / "nowhere", config, code=2)
    assert "there is no config file" in call("align", source, tmp_path / "none.py", code=1)
    (tmp_path / "empty").mkdir()
    assert "has no image" in call("align", tmp_path / "empty", config, code=1)
    (tmp_path / "lone").mkdir()
    (source / "p3/1.pgm").rename(tmp_path / "lone/a.pgm")
    assert "must lie in the folder of its class" in call("align", tmp_path / "lone", config, code=1)
    config.write_text(CONFIG.format(root=tmp_path).replace("test_classes=1", "test_classes=['s9']"))
    assert "with unknown ['s9']" in call("align", source, config, code=1)
    config.write_text(CONFIG.format(root=tmp_path).replace("data_root=", "ann_file="))
    assert re.search(r"no data_root\. Set it", call("align", source, config, code=1))
    (tmp_path / "aligned").mkdir()
    config.write_text(CONFIG.format(root=tmp_path))
    assert "is there already. Remove it" in call("align", source, config, code=1)


def test_images_without_a_face_leave_nothing(source, tmp_path, call):
    for path in source.glob("*/*.p*"):
        path.write_bytes(stand_ins.png(np.zeros((96, 96, 3), np.uint8)))
    said = call("align", source, tmp_path / "config.py", code=1)
    assert "no image of" in said and "upright and frontal" in said
    assert not (tmp_path / "aligned").exists()


def test_dlib_is_asked_for_when_the_configs_are_right(source, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "kd_core.packages.find_spec", lambda name: None if name == "dlib" else find_spec(name)
    )
    result = CliRunner().invoke(command, ["align", str(source), str(tmp_path / "config.py")])
    assert result.exit_code == 1 and "needs dlib" in result.output
    result = CliRunner().invoke(command, ["align", str(source), str(tmp_path / "none.py")])
    assert result.exit_code == 1 and "there is no config file" in result.output


def test_a_copy_of_orls_file_serves_other_people(source, tmp_path, call):
    """As docs/face.md says: a copy with four settings changed, and its name after the plus."""
    from kd_engine.config.builtin import copy_config
    from kd_engine.config.load import load_run_config
    from kd_retrieval.cached_teacher import StoredEmbeddings
    from kd_retrieval.embeddings.embed import open_dataset

    own = copy_config("kdkit::face/data/orl", tmp_path / "own")
    text = own.read_text()
    for old, new in [
        ("people = 20", "people = 2"),
        ("{{$KD_DATA:data}}/orl_aligned", f"{tmp_path}/own/aligned"),
        ('[f"s{number}" for number in range(22, 41)]', '["p3"]'),
    ]:
        assert old in text
        text = text.replace(old, new)
    own.write_text(text)
    config = f"kdkit::face/cosine+{own}"
    call("align", source, config)
    read = load_run_config(config)
    data, teacher = open_dataset(read, "train"), read.model.teacher.config
    assert read.model.student.criterion.loss.num_classes == len(data.class_names) == 2
    assert read.train_dataloader.batch_size == 8
    StoredEmbeddings(teacher.file).check(data)
