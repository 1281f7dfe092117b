"""The classes that are named where a detector's weights do not fit."""

import pytest
from torch import nn

import kd_det  # noqa: F401  names the classes of mmdet's heads
from kd_core.checkpoint.load import CheckpointError, load_weights


def head(**layers):
    return nn.ModuleDict({name: nn.Linear(2, rows) for name, rows in layers.items()})


@pytest.mark.parametrize(
    "there, here, hint",
    [
        (dict(fc_cls=81, fc_reg=320), dict(fc_cls=4, fc_reg=12), "80 classes, the model 3 (fc_reg"),
        (dict(fc_cls=81), dict(fc_cls=4), "80 classes, the model 3 if one row is the background"),
        (
            dict(retina_cls=720, retina_reg=36),
            dict(retina_cls=27, retina_reg=36),
            "80 classes, the model 3 (retina_cls",
        ),
        (dict(conv_cls=80, conv_reg=4), dict(conv_cls=3, conv_reg=4), "80 classes, the model 3 ("),
        (dict(gfl_cls=80, gfl_reg=68), dict(gfl_cls=3, gfl_reg=68), "80 classes, the model 3 ("),
        # The anchors differ as well, or the layer is no head: the count would be a guess.
        (dict(retina_cls=720, retina_reg=36), dict(retina_cls=27, retina_reg=12), None),
        (dict(fc_reg=320), dict(fc_reg=4), None),
        (dict(fc_reg=42), dict(fc_reg=12), None),
        (dict(retina_cls=720, retina_reg=3), dict(retina_cls=27, retina_reg=3), None),
        (dict(retina_cls=720, retina_reg=28), dict(retina_cls=27, retina_reg=28), None),
        (dict(retina_cls=720), dict(retina_cls=27), None),
        (dict(conv1=64), dict(conv1=32), None),
    ],
)
def test_class_counts_are_named_where_the_shapes_settle_them(there, here, hint):
    with pytest.raises(CheckpointError) as caught:
        load_weights(head(**here), head(**there).state_dict())
    assert (hint in str(caught.value)) if hint else ("classes" not in str(caught.value))
