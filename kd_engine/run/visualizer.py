"""Visualizer of runs whose config names none: it logs, and imports matplotlib only to draw."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mmengine.visualization import Visualizer

_FIGURE = ("fig_save_canvas", "fig_save", "ax_save", "dpi")


class LogVisualizer(Visualizer):  # type: ignore[misc]
    """Visualizer of mmengine whose figure is made when something is first drawn.

    mmengine's makes it at once, which takes a tenth of the start of a classifier's training.

    Args:
        name: Name of the run.
        vis_backends: Configs of what values are logged to.
        save_dir: Folder of their files.
    """

    def __init__(self, name: str, vis_backends: list[dict[str, Any]], save_dir: str) -> None:
        super().__init__(name=name, vis_backends=vis_backends, save_dir=save_dir)
        for part in _FIGURE:
            delattr(self, part)

    def __getattr__(self, name: str) -> Any:
        """Make the figure when a part of it is asked for."""
        if name not in _FIGURE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        canvas, figure, axes = super()._initialize_fig(self.fig_save_cfg)
        for part, made in zip(_FIGURE, (canvas, figure, axes, figure.get_dpi()), strict=True):
            setattr(self, part, made)
        return getattr(self, name)

    def _initialize_fig(self, fig_cfg: Any) -> tuple[Any, ...]:
        """Make none yet; the constructor asks for its resolution."""
        return None, SimpleNamespace(get_dpi=lambda: None), None
