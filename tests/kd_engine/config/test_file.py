import os
import pickle

import mmengine
import pytest
from mmengine.config import Config

from kd_engine.config.file import ConfigError, read_config, use_safe_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


class TestReadConfig:
    def test_a_file(self, folder):
        write(folder, a="model = dict(type='X')\n")
        assert read_config("a.py").model == {"type": "X"}

    def test_a_missing_file_is_named_with_its_neighbors(self, folder):
        write(folder, student="a = 1\n")
        with pytest.raises(
            FileNotFoundError, match=r"no config file studnet\.py.*mmdet::.*student\.py"
        ):
            read_config("studnet.py")

    def test_another_suffix(self, folder):
        (folder / "student.pth").write_bytes(b"PK")
        with pytest.raises(ConfigError, match=r"must end in \.py.*student\.pth"):
            read_config("student.pth")

    def test_a_package_that_is_not_installed_is_not_fetched(self):
        with pytest.raises(ConfigError, match="'mmnothing', which is not installed"):
            read_config("mmnothing::a.py")


class TestPlaces:
    def test_a_syntax_error(self, folder):
        write(folder, a="model = dict(\n    type='X'\n    depth=18,\n)\n")
        with pytest.raises(ConfigError, match=r"^config a\.py, line [23]: the syntax is wrong"):
            read_config("a.py")

    def test_a_syntax_error_in_an_inherited_file_names_that_file(self, folder):
        write(folder, a="_base_ = 'b.py'\n", b="x = 1\ny = = 2\n")
        with pytest.raises(ConfigError, match=r"^config b\.py, line 2: the syntax.*'y = = 2'"):
            read_config("a.py")

    def test_a_name_that_is_not_defined(self, folder):
        write(folder, a="x = 1\n\nclasses = names\n")
        with pytest.raises(ConfigError, match=r"^config a\.py, line 3: NameError: name 'names'"):
            read_config("a.py")

    def test_an_inherited_file_that_is_missing(self, folder):
        write(folder, a="_base_ = 'none.py'\n")
        with pytest.raises(ConfigError, match=r"^config .*none\.py.*'_base_' is relative"):
            read_config("a.py")

    def test_a_base_variable_that_is_missing(self, folder):
        write(folder, a="_base_ = 'b.py'\nmodel = {{_base_.modle}}\n", b="model = dict(a=1)\n")
        with pytest.raises(ConfigError, match=r"^config a\.py: 'modle' is not there"):
            read_config("a.py")

    def test_another_encoding(self, folder):
        (folder / "a.py").write_bytes("name = 'Käfer'\n".encode("latin-1"))
        with pytest.raises(ConfigError, match=r"^config a\.py: it must be UTF-8"):
            read_config("a.py")

    def test_an_import_that_fails(self, folder):
        write(folder, a="custom_imports = dict(imports=['no_such_package'])\n")
        with pytest.raises(ImportError, match=r"^config a\.py: an import failed .*no_such_package"):
            read_config("a.py")


class TestYaml:
    def test_plain_values(self, folder):
        (folder / "a.yaml").write_text("model:\n  type: X\n  sizes: [1, 2]\n")
        assert read_config("a.yaml").model == {"type": "X", "sizes": [1, 2]}

    @pytest.mark.parametrize("ending", ["yaml", "yml"])
    def test_a_tag_builds_no_object(self, folder, ending):
        tag = "model: !!python/object/apply:os.mkdir [made]\n"
        (folder / f"a.{ending}").write_text(tag)
        with pytest.raises(ConfigError, match=r"config a\.ya?ml: it must be plain YAML.*os\.mkdir"):
            read_config(f"a.{ending}")
        assert not (folder / "made").exists()

    def test_nor_in_an_inherited_file(self, folder):
        (folder / "b.yaml").write_text("size: !!python/object/apply:os.mkdir [made]\n")
        write(folder, a="_base_ = 'b.yaml'\n")
        with pytest.raises(ConfigError, match=r"config b\.yaml"):
            read_config("a.py")
        assert not (folder / "made").exists()

    def test_mmengine_itself_reads_safely_afterwards(self, folder):
        use_safe_files()
        (folder / "a.yaml").write_text("size: !!python/name:os.mkdir\n")
        with pytest.raises(Exception, match=r"python/name:os\.mkdir"):
            Config.fromfile("a.yaml")


class TestPickle:
    """Annotations and proposals of mmdet may be pickles: reading one runs what it names."""

    class Run:
        def __reduce__(self):
            return os.mkdir, ("made",)

    @pytest.mark.parametrize("ending", ["pkl", "pickle"])
    def test_it_is_not_read(self, folder, ending):
        (folder / f"a.{ending}").write_bytes(pickle.dumps(self.Run()))
        use_safe_files()
        with pytest.raises(ValueError, match=r"must not be a pickle.*Save.*JSON"):
            mmengine.load(f"a.{ending}")
        assert not (folder / "made").exists()

    def test_it_is_written(self, folder):
        use_safe_files()
        mmengine.dump({"boxes": [1, 2]}, "a.pkl")
        assert pickle.loads((folder / "a.pkl").read_bytes()) == {"boxes": [1, 2]}
