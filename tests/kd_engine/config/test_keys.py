import pytest

from kd_engine.config.keys import check_keys, check_options


class TestCheckKeys:
    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("optim_wraper", "optim_wrapper"),
            ("optim_wrappre", "optim_wrapper"),
            ("train_dataloder", "train_dataloader"),
            ("val_evalutor", "val_evaluator"),
            ("load_form", "load_from"),
            ("custom_hook", "custom_hooks"),
            ("modle", "model"),
            ("resum", "resume"),
        ],
    )
    def test_a_typing_error_is_refused(self, key, meant):
        with pytest.raises(ValueError, match=rf"but {key} is set \(is it {meant}\?\)"):
            check_keys({"model": {}, key: 1})

    def test_in_parts_whose_keys_are_known(self):
        with pytest.raises(ValueError, match=r"default_hooks\.checkpiont .*default_hooks\.checkpo"):
            check_keys({"default_hooks": {"checkpiont": {}}})
        with pytest.raises(ValueError, match=r"env_cfg\.cudnn_benchmak"):
            check_keys({"env_cfg": {"cudnn_benchmak": True}})

    @pytest.mark.parametrize(
        "key", ["data_root", "classes", "train", "dataset", "teacher", "img_scale", "_resum"]
    )
    def test_names_of_ones_own_are_legal(self, key):
        check_keys({"model": {}, key: 1})
        with pytest.raises(ValueError, match=r"but modle is set \(is it model\?\)\. "):
            check_keys({"modle": {}, key: 1})  # which alone is named

    def test_what_mmengine_reads_is_legal(self):
        known = {"train_cfg": {}, "test_cfg": {}, "val_cfg": {}}
        check_keys({**known, "default_hooks": {"logger": {}}})
        with pytest.raises(ValueError, match=r"but default_hooks\.checkpiont is set"):
            check_keys({**known, "default_hooks": {"checkpiont": {}}})


class TestCheckOptions:
    def test_a_name_that_nothing_reads(self):
        with pytest.raises(ValueError, match=r"--cfg-options modle\.x begins with.*names: model"):
            check_options({"model": {}}, {"modle.x": 1})
        with pytest.raises(ValueError, match=r"begins with 'foo', which the config does not have"):
            check_options({"model": {}}, {"foo": 1})

    @pytest.mark.parametrize("name", ["data_root", "train_pipeline", "backend_args"])
    def test_a_variable_is_used_already(self, name):
        with pytest.warns(UserWarning, match=f"{name} changes a variable"):
            check_options({name: "a"}, {name: "b"})

    def test_settings_may_be_new(self, recwarn):
        check_options({"model": {}}, {"randomness.seed": 1, "model.a.b": 2})
        assert not recwarn
