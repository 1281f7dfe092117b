"""A trained embedder as the network of the gallery."""

import numpy as np
import pytest

from . import stand_ins

torch = pytest.importorskip("torch")
pytest.importorskip("mmengine")
pytest.importorskip("timm")

CONFIG = """
default_scope = 'kd_retrieval'
custom_imports = dict(imports=['kd_retrieval'])
model = dict(type='kd_retrieval.Embedder', dim=8,
    trunk=dict(type='kd_retrieval.TorchvisionTrunk', name='resnet18'))
test_dataloader = dict(dataset=dict(type='x', transforms=[
    dict(type='Resize', size=[64, 64]), dict(type='PILToTensor')]))
"""


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    from kd_face.student import StudentEmbedder
    from kd_retrieval.embedder import Embedder

    folder = tmp_path_factory.mktemp("student")
    (folder / "config.py").write_text(CONFIG)
    torch.manual_seed(0)
    model = Embedder(dict(type="kd_retrieval.TorchvisionTrunk", name="resnet18"), dim=8)
    paths = [str(folder / "config.py"), str(folder / "a.pth")]
    torch.save(dict(state_dict=model.state_dict()), paths[1])
    return StudentEmbedder(*paths), paths, model.eval()


def test_rows_are_those_of_the_model(student):
    embedder, _, model = student
    face = stand_ins.BlockDetector().detect(stand_ins.blocks(1))[0]
    crops = [embedder.crop(stand_ins.blocks(one), face) for one in (1, 2)]
    assert crops[0].shape == (112, 112, 3)
    rows = embedder.embed(crops)
    assert rows.shape == (2, 8) == (2, embedder.dim)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(rows[1:], embedder.embed(crops[1:]), atol=1e-5)
    assert embedder.embed([]).shape == (0, 8)


def test_other_weights_are_another_version(student):
    from kd_face.student import StudentEmbedder

    embedder, (config, checkpoint), model = student
    assert StudentEmbedder(config, checkpoint).version == embedder.version
    with torch.no_grad():
        model.projection.bias[0] += 1
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    assert StudentEmbedder(config, checkpoint).version != embedder.version
