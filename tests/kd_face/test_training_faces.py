"""Aligned faces and the teacher's rows, as a student's training reads them."""

import re

import numpy as np
import pytest
from PIL import Image

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
    out = data_root_of([config])
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
        data_root_of([config, str(other)])
    other.write_text(CONFIG.format(root=tmp_path).replace("teacher_rows", "rows"))
    with pytest.raises(ValueError, match="where the teacher's rows belong"):
        data_root_of([str(other)])


def test_a_run_that_fails_leaves_nothing(source, tmp_path):
    (source / "p3/1.png").write_bytes(stand_ins.png(stand_ins.blocks(3)))
    with pytest.raises(ValueError, match="would be called p3/1.png"):
        align(source, tmp_path / "aligned")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["config.py", "source"]
    (tmp_path / "dark").mkdir()
    (source / "p1/dark.png").rename(tmp_path / "dark/a.png")
    with pytest.raises(ValueError, match="no image of .* has a face"):
        align(tmp_path / "dark", tmp_path / "aligned")
