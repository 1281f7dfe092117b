"""A data preprocessor at the top level of a config."""

import copy

from mmengine.config import Config

from kd_engine.config.load import load_run_config
from kd_engine.config.preprocessor import preprocessed_model
from kd_engine.evaluate import referred_model

OWN, SHARED = dict(type="Own"), dict(type="ImgDataPreprocessor", mean=[1.0])


def test_a_plain_model_gets_it_unless_it_has_one():
    config = Config(dict(model=dict(type="A"), data_preprocessor=SHARED))
    assert preprocessed_model(config).data_preprocessor == SHARED
    assert "data_preprocessor" not in config
    config = Config(dict(model=dict(type="A", data_preprocessor=OWN), data_preprocessor=SHARED))
    assert preprocessed_model(config).data_preprocessor == OWN
    assert preprocessed_model(Config(dict(model=dict(type="A")))) == dict(type="A")


def test_the_student_and_the_teachers_of_the_same_file_get_it():
    of_file = dict(config="teacher.py", checkpoint=None)
    model = dict(
        type="B", student=dict(type="A"), teacher=dict(config=dict(type="T"), checkpoint=None),
        teachers=dict(x=dict(config=dict(type="X", data_preprocessor=OWN), checkpoint=None)),
        peers=[dict(config=dict(type="P"), checkpoint=None), of_file],
        terms=dict(at=dict(loss=dict(type="L"), layers="neck")),
    )  # fmt: skip
    before = copy.deepcopy(model)
    found = preprocessed_model(Config(dict(model=model, data_preprocessor=SHARED)))
    assert found.student.data_preprocessor == SHARED and "data_preprocessor" not in found
    assert found.teacher.config.data_preprocessor == SHARED
    assert found.teachers.x.config.data_preprocessor == OWN
    assert found.peers[0].config.data_preprocessor == SHARED and found.peers[1] == of_file
    assert found.terms == before["terms"]


def test_a_run_and_a_teacher_in_a_file_of_its_own(tmp_path):
    (tmp_path / "teacher.py").write_text(
        "default_scope = 'mmengine'\nmodel = dict(type='T')\n"
        "data_preprocessor = dict(type='ImgDataPreprocessor', mean=[1.0])\n"
    )
    reference = dict(config=str(tmp_path / "teacher.py"), checkpoint=None)
    assert referred_model(reference)["data_preprocessor"] == SHARED
    (tmp_path / "run.py").write_text(
        f"_base_ = 'teacher.py'\ncustom_imports = dict(imports=['kd_cls'])\n"
        f"model = dict(_delete_=True, type='D', student=dict(type='S'), teacher={reference})\n"
    )
    config = load_run_config(
        str(tmp_path / "run.py"), {"data_preprocessor.mean": [2.0]}, work_dir=str(tmp_path)
    )
    assert config.model.student.data_preprocessor.mean == [2.0]
    assert "data_preprocessor" not in config and "data_preprocessor" not in config.model
