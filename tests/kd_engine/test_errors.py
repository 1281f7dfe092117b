import os

import pytest
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import MODELS

from kd_engine.errors import clear_errors, explain


def caught(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return explain(error)
    raise AssertionError("no error arose")


def built(**config):
    return caught(MODELS.build, config)


@MODELS.register_module()
class ErrorsProbe:
    def __init__(self, width, depth=1):
        if depth == 0:
            raise AssertionError
        if depth < 0:
            raise RuntimeError("deeper")


class TestExplain:
    def test_a_misspelled_name_of_a_registry(self):
        text = built(type="ErorsProbe")
        assert "type 'ErorsProbe' is not known as a model. Nearest names: ErrorsProbe" in text

    def test_a_misspelled_name_of_a_module(self):
        text = built(type="kd_core.losses.HMTALoss")
        assert text.startswith("type 'kd_core.losses.HMTALoss' is none of kd_core.losses")
        assert "Nearest names: kd_core.losses.HMATLoss" in text

    def test_a_misspelled_module(self):
        text = built(type="kd_core.loses.HMATLoss")
        assert text.startswith("type 'kd_core.loses.HMATLoss' cannot be imported: No module")

    def test_a_misspelled_setting(self):
        text = built(type="ErrorsProbe", widht=3)
        assert text.startswith("ErrorsProbe has no setting 'widht'. Nearest names: width.")

    def test_an_unknown_setting_lists_all(self):
        assert "It has: depth, width." in built(type="ErrorsProbe", color=3)

    def test_a_setting_that_is_missing(self):
        assert built(type="ErrorsProbe").startswith("ErrorsProbe needs 'width', which the config")

    def test_a_part_without_a_type(self):
        assert "must say its 'type'" in built(typ="X")

    def test_a_bare_assertion_shows_its_line(self):
        text = built(type="ErrorsProbe", width=0, depth=0)
        assert text.startswith(
            "AssertionError while ErrorsProbe was made: raise AssertionError (test_"
        )

    def test_another_error_of_a_part(self):
        text = built(type="ErrorsProbe", width=0, depth=-1)
        assert text == "RuntimeError while ErrorsProbe was made: deeper"

    def test_a_key_that_the_config_lacks(self):
        assert caught(getattr, ConfigDict(a=1), "model").startswith("the config must set 'model'")

    def test_a_file_that_is_missing(self, tmp_path):
        text = caught(open, tmp_path / "none")
        assert text == (
            f"{tmp_path / 'none'}: No such file or directory. Correct the path, or its permissions."
        )

    def test_used_up_memory(self):
        assert "Lower the batch size" in explain(RuntimeError("CUDA out of memory. Tried 3 GiB"))

    def test_a_worker_of_a_data_loader(self):
        text = "Caught KeyError in DataLoader worker process 0.\nOriginal Traceback\nKeyError: 'x'"
        assert explain(KeyError(text)) == "KeyError: KeyError: 'x'"

    def test_an_error_without_words(self):
        assert caught(next, iter([])).startswith("StopIteration: call(*arguments) (test_errors.py")


class TestClearErrors:
    @pytest.fixture(autouse=True)
    def plain(self, monkeypatch):
        monkeypatch.delenv("KD_TRACEBACK", raising=False)

    @pytest.mark.parametrize("error", [ValueError, FileNotFoundError, FloatingPointError])
    def test_what_a_user_can_mend_is_one_message(self, error, capsys):
        with pytest.raises(SystemExit) as stop, clear_errors():
            raise error("the rule, the values")
        assert stop.value.code == 1
        assert capsys.readouterr().err == "error: the rule, the values\n"

    def test_a_traceback_can_be_asked_for(self, monkeypatch):
        monkeypatch.setenv("KD_TRACEBACK", "1")
        with pytest.raises(ValueError, match="as it is"), clear_errors():
            raise ValueError("as it is")

    def test_a_mistake_of_ours_is_named_and_its_traceback_kept(self, tmp_path, capsys):
        log = tmp_path / "run.log"
        MMLogger.get_instance(f"errors-{os.getpid()}", log_file=str(log))
        with pytest.raises(SystemExit) as stop, clear_errors():
            _ = 1 / 0
        assert stop.value.code == 1
        text = capsys.readouterr().err
        assert text.startswith("error: ZeroDivisionError: division by zero\nThe traceback is in ")
        assert "run.log; KD_TRACEBACK=1 shows it here." in text
        assert "_ = 1 / 0" in log.read_text()

    def test_an_interrupt(self, capsys):
        with pytest.raises(SystemExit) as stop, clear_errors():
            raise KeyboardInterrupt
        assert (stop.value.code, capsys.readouterr().err) == (130, "\ninterrupted\n")

    def test_without_an_error_nothing_is_said(self, capsys):
        with clear_errors():
            pass
        assert capsys.readouterr().err == ""
