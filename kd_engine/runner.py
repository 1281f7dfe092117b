"""mmengine's Runner with the hooks that every run of ours has."""

from __future__ import annotations

from typing import Any

import mmengine.runner

from kd_engine.found_nothing import FoundNothingHook


class Runner(mmengine.runner.Runner):  # type: ignore[misc]
    """mmengine's Runner; a model that finds nothing is scored with 0."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.register_hook(FoundNothingHook(), priority="HIGHEST")
