import pytest
from mmengine.config import Config

from kd_engine.data.required import dataset_configs, require_datasets


def loader(**dataset):
    return {"batch_size": 1, "dataset": {"type": "Any", **dataset}}


class TestRequireDatasets:
    def test_data_that_is_there_passes(self, tmp_path):
        (tmp_path / "a.json").write_text("{}")
        config = Config({"train_dataloader": loader(data_root=str(tmp_path), ann_file="a.json")})
        require_datasets(config)
        assert list(dataset_configs(config)) == ["train_dataloader"]

    def test_a_missing_folder_is_named(self, tmp_path):
        config = Config({"val_dataloader": loader(data_root=str(tmp_path / "none"))})
        with pytest.raises(FileNotFoundError, match="the data folder .*none is missing"):
            require_datasets(config)

    def test_a_missing_annotation_file_is_named(self, tmp_path):
        config = Config({"val_dataloader": loader(data_root=str(tmp_path), ann_file="b.json")})
        with pytest.raises(FileNotFoundError, match=r"the data file .*b\.json is missing"):
            require_datasets(config)

    def test_an_annotation_file_without_a_root(self, tmp_path):
        config = Config({"val_dataloader": loader(ann_file=str(tmp_path / "c.json"))})
        with pytest.raises(FileNotFoundError, match=r"c\.json is missing"):
            require_datasets(config)

    @pytest.mark.parametrize("wrapper", ["ConcatDataset", "RepeatDataset"])
    def test_datasets_in_a_wrapper_are_checked(self, tmp_path, wrapper):
        inner = {"type": "Any", "data_root": str(tmp_path / "none")}
        many = {"datasets": [inner]} if wrapper == "ConcatDataset" else {"dataset": inner}
        config = Config({"train_dataloader": {"dataset": {"type": wrapper, **many}}})
        with pytest.raises(FileNotFoundError, match="none is missing"):
            require_datasets(config)

    def test_only_the_loaders_asked_for(self, tmp_path):
        config = Config({"train_dataloader": loader(data_root=str(tmp_path / "none"))})
        require_datasets(config, loaders=("val_dataloader",))
        with pytest.raises(FileNotFoundError, match="none is missing"):
            require_datasets(config, loaders=("train_dataloader",))
