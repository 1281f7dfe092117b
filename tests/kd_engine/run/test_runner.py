"""The runner's config: what is written, and how often it is formatted."""

import pytest
import yapf.yapflib.yapf_api as yapf
from mmengine.config import Config
from mmengine.model import BaseModel

from kd_engine.run.runner import Runner


class Plain(BaseModel):
    def forward(self, inputs, mode="loss"):
        return {}


@pytest.fixture
def formatted(monkeypatch):
    """The texts that were formatted."""
    texts, original = [], yapf.FormatCode
    monkeypatch.setattr(
        yapf, "FormatCode", lambda text, **style: texts.append(text) or original(text, **style)
    )
    return texts


@pytest.fixture
def runner(formatted, tmp_path):
    config = Config(dict(answer=42, work_dir=str(tmp_path)))
    return Runner(model=Plain(), work_dir=str(tmp_path), cfg=config, log_level="WARNING")


def test_the_config_is_formatted_once_for_log_dump_and_checkpoints(runner, formatted, tmp_path):
    runner.dump_config()
    before = len(formatted)
    assert before == 1
    written = (tmp_path / f"{runner.timestamp}.py").read_text(encoding="utf-8")
    assert "answer = 42" in written and written == runner.cfg.pretty_text
    assert len(formatted) == before


def test_a_changed_config_is_formatted_anew(runner):
    runner.cfg.answer = 43
    assert "answer = 43" in runner.cfg.pretty_text
    assert "answer = 42" in Config(dict(answer=42)).pretty_text


def test_the_config_that_was_given_stays_as_it_is(formatted, tmp_path):
    config = Config(dict(answer=42))
    runner = Runner(model=Plain(), work_dir=str(tmp_path), cfg=config, log_level="WARNING")
    runner.cfg.answer = 43
    assert type(config) is Config and config.answer == 42
