import importlib
import importlib.util
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

PACKAGES = ("kdkit", "kd_core", "kd_engine", "kd_det", "kd_retrieval", "kd_cls")
LAZY = ("kdkit", "kd_core")
OF_ENGINE = ("compare",)  # names that the base install refuses
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", LAZY)
def test_every_public_name_is_there_and_listed(name):
    package = importlib.import_module(name)
    assert len(set(package.__all__)) == len(package.__all__) >= 4
    for public in package.__all__:
        assert public in dir(package)
        if public in OF_ENGINE and importlib.util.find_spec("mmengine") is None:
            with pytest.raises(ImportError, match=r"pip install 'kdkit\[onedl\]'"):
                getattr(package, public)
        else:
            assert getattr(package, public) is not None
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'Distller'"):
        package.Distller  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    import kdkit

    assert kdkit.__version__ == metadata.version("kdkit")


def test_importing_kdkit_imports_no_torch():
    program = "import sys, kdkit; print('torch' in sys.modules, kdkit.Term, 'torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.stdout == "False <class 'kd_core.term.Term'> True\n", run.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package):
    assert (ROOT / package / "py.typed").is_file()
