import os
import subprocess
import sys
from pathlib import Path

import pytest

from kd_engine.environment import check_distributions, installed

ROOT = Path(__file__).parents[2]
ONEDL = {"onedl-mmengine": "0.10.12", "onedl-mmcv": "2.3.6", "onedl-mmdetection": "3.5.1"}
UPSTREAM = {"mmengine": "0.10.7", "mmcv-lite": "2.1.0", "mmdet": "3.3.0"}


@pytest.mark.parametrize("family", [ONEDL, UPSTREAM, {}, {"onedl-mmengine": "0.10.12"}])
def test_one_family_is_accepted_and_reported(family):
    assert check_distributions(family.get) == family


@pytest.mark.parametrize("extra", list(UPSTREAM))
def test_two_families_are_refused_with_the_command_that_mends_it(extra):
    found = ONEDL | {extra: "1.0"}
    with pytest.raises(RuntimeError, match=f"onedl-mmdetection and {extra}") as error:
        check_distributions(found.get)
    assert f"pip uninstall -y {' '.join(ONEDL)} {extra})" in str(error.value)
    assert "pip install 'kdkit[onedl]' or 'kdkit[openmmlab]'" in str(error.value)


def test_two_of_one_family_that_share_files_are_refused():
    found = UPSTREAM | {"mmcv": "2.1.0"}
    with pytest.raises(RuntimeError, match="mmcv and mmcv-lite write the same files"):
        check_distributions(found.get)


def test_what_is_installed():
    assert installed("torch").startswith("2.")
    assert installed("no-such-distribution") is None


def test_this_environment_is_sound():
    assert len(check_distributions()) == 3


def test_importing_kd_engine_beside_two_distributions_stops(tmp_path):
    names = ["onedl-mmdetection", "mmdet"]
    for name in names:
        folder = tmp_path / f"{name.replace('-', '_')}-3.3.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.3.0\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    result = subprocess.run(
        [sys.executable, "-c", "import kd_engine"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    assert "only one distribution of mmengine, mmcv and mmdet may be installed" in result.stderr
    assert all(name in result.stderr for name in names)
