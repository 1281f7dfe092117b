"""Images of no dataset."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from kd_retrieval.search.new_images import open_images

CONFIG = Config(
    dict(
        test_dataloader=dict(dataset=dict(transforms=[dict(type="Resize", size=[8, 8])])),
        val_dataloader=dict(dataset=dict(type="BuiltInDigits")),
    )
)


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("b.png", "a/x/2.JPG", "a/x/1.png", "c/3.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20 + number, 30), number).save(tmp_path / name)
    (tmp_path / "c/notes.txt").write_text("no image")
    return tmp_path


def test_images_below_a_folder(folder):
    data = open_images(CONFIG, folder)
    assert data.paths == ["a/x/1.png", "a/x/2.JPG", "b.png", "c/3.png"]
    assert [data.class_of(row) for row in range(4)] == ["a/x", "a/x", "", "c"]
    assert data.ids.tolist() == [-1, -2, -3, -4] and data.labels.dtype == np.int64
    assert data[3]["inputs"].shape == (3, 8, 8) and int(data[3]["inputs"].max()) == 3
    assert '"Resize"' in data.transform_key()


def test_a_data_set_without_transforms(folder):
    assert open_images(CONFIG, folder, "val")[0]["inputs"].shape == (3, 30, 22)


def test_what_cannot_be_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="images .*lost is missing"):
        open_images(CONFIG, tmp_path / "lost")
    with pytest.raises(ValueError, match=r"an image \(.jpg, .* must lie in"):
        open_images(CONFIG, tmp_path)
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    data = open_images(CONFIG, tmp_path)
    with pytest.raises(ValueError, match="bad.jpg cannot be decoded"):
        data[0]
    with pytest.raises(ValueError, match="must have a train_dataloader"):
        open_images(CONFIG, tmp_path, "train")
