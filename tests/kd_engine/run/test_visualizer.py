import numpy as np
import pytest
from mmengine.visualization import Visualizer

from kd_engine.run.visualizer import LogVisualizer


@pytest.fixture
def log(tmp_path):
    return LogVisualizer("log", [dict(type="LocalVisBackend")], str(tmp_path))


def test_it_draws_what_mmengines_draws(log):
    image, boxes = np.full((24, 32, 3), 90, np.uint8), np.array([[2, 3, 20, 12]])
    plain = Visualizer()
    for one in (log, plain):
        one.set_image(image)
        one.draw_bboxes(boxes, edge_colors="r")
    np.testing.assert_array_equal(log.get_image(), plain.get_image())
    assert log.dpi == plain.dpi and (log.get_image() != image).any()


def test_the_figure_is_made_when_something_is_drawn(log):
    log.add_scalar("loss", 0.5, step=1)
    assert "fig_save" not in vars(log)
    log.set_image(np.zeros((8, 8, 3), np.uint8))
    assert vars(log)["fig_save"] is log.fig_save is log.fig_save_canvas.figure


def test_another_attribute_is_none_of_its(log):
    with pytest.raises(AttributeError, match="'LogVisualizer' object has no attribute 'figure'"):
        log.figure  # noqa: B018
