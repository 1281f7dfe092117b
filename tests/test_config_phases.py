"""Each config finds its teacher where the teacher's own config leaves it."""

from pathlib import Path

import pytest

from kd_engine.config.file import read_config
from kd_engine.run.first_training import FirstTraining
from kd_engine.run.prerequisites import references_of
from kd_engine.work_dir.default import default_work_dir

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "configs").rglob("*.py")
    if "_base_" not in path.parts and "checkpoint=" in path.read_text()
)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_checkpoint_is_one_that_its_training_leaves(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    for key, reference in references_of(read_config(name).model):
        path, source = reference["checkpoint"], reference["config"]
        if not path or "://" in path:
            continue
        training = FirstTraining(key, path, source)
        assert training.plan is not None and not training.problem, training.problem
        assert training.work_dir == default_work_dir(source)
        assert not training.names_folder and "--work-dir" not in training._command()


def test_there_are_such_configs():
    assert len(CONFIGS) > 90
