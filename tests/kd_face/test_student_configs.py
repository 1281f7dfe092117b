"""A student of configs/face in the application, and the commands around its training."""

import numpy as np
import pytest
from click.testing import CliRunner

from kdkit.cli.face import command

from . import stand_ins

torch = pytest.importorskip("torch")
pytest.importorskip("mmengine")
pytest.importorskip("pytorch_metric_learning")

CONFIG = "kdkit::face/rkd_cosine+orl"  # a distilled one: the student alone is loaded


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from mmengine.registry import MODELS

    from kd_engine.build import student_config, without_initial_weights
    from kd_engine.config.load import load_run_config

    torch.manual_seed(0)
    model = MODELS.build(without_initial_weights(student_config(load_run_config(CONFIG).model)))
    assert sum(one.numel() for one in model.parameters()) < 1e6
    path = tmp_path_factory.mktemp("run") / "epoch_1.pth"
    weights = model.state_dict() | {"distiller.connectors.weight": torch.zeros(1)}
    torch.save(dict(state_dict=weights), path)
    return str(path)


def test_the_application_uses_it(home, checkpoint, networks):
    from kd_face import spaces
    from kd_face.gallery_report import gallery_rows
    from kd_face.networks import networks_of, switch

    stand_ins.enrol(home, networks, 1, [0, 1])
    stand_ins.enrol(home, networks, 2, [0])
    assert list(switch(home, (CONFIG, checkpoint), "test")) == [(3, 3)]
    embedder = networks_of(home).embedder
    assert (embedder.name, embedder.dim) == ("student epoch_1", 128)
    with home.read() as session:
        rows, people, total = gallery_rows(session, spaces.require_active(session, embedder))
    assert rows.shape == (3, 128) and total == 3 and len(set(people)) == 2
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_stored_embeddings_are_measured(tmp_path):
    from kd_face.verification import verify
    from kd_retrieval.embeddings.stored import EmbeddingKey, Embeddings, write_embeddings

    from .test_calibration import gallery

    rows, people = gallery(6, 3, 0.9)
    numbers = np.arange(len(rows))
    names = tuple(map(str, range(len(rows))))
    write_embeddings(
        tmp_path / "rows.npz",
        Embeddings(vectors=rows, labels=people, ids=numbers, roles=0 * numbers, paths=names,
                   class_names=names[:6], key=EmbeddingKey()),
    )  # fmt: skip
    result = CliRunner().invoke(command, ["verify", str(tmp_path / "rows.npz"), "--far", "0.05"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "6 people, 18 pictures"
    wanted = verify(rows, people, (0.05,))["TAR@FAR=0.05"]
    assert lines[1].split()[:2] == ["TAR@FAR=0.05", f"{wanted:.3f}"]
    assert lines[-1] == "18 genuine and 135 impostor pairs" and len(lines) == 5
