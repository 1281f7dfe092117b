"""Build of the package: pyproject.toml holds its settings; the configs are copied here.

``configs`` lies at the top of the repository, where users read it, and in the package once
installed (``kd_engine.config.builtin`` looks in both). An editable install reads the repository's.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copy the packages, and the folder ``configs`` into ``kdkit``."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "kdkit", "configs")
            shutil.rmtree(target, ignore_errors=True)  # of an earlier build
            shutil.copytree("configs", target, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithConfigs})
