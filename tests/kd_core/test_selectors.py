"""Selectors of dicts, named and nested tuples, and of a model's own output."""

from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
from torch import nn

from kd_core.layers import FeatureHooks, LayerPath, find_layer

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def listen(model, text):
    """Run a model with active hooks; return the hooks and the selector."""
    hooks = FeatureHooks(model, [LayerPath.parse(text)], "student")
    hooks.active = True
    model(IMAGES)
    return hooks, [LayerPath.parse(text)]


class Named(NamedTuple):
    feat: torch.Tensor
    logits: torch.Tensor


class Nested(nn.Module):
    """Returns what the first module makes of images, in some container."""

    def __init__(self, make):
        super().__init__()
        self.body, self.make = nn.Identity(), make

    def forward(self, images):
        return self.make(self.body(images))


class TestContainers:
    @pytest.mark.parametrize(
        "text, make",
        [
            ("output[feat]", lambda one: {"feat": one, "other": None}),
            ("output[0]", lambda one: OrderedDict({"0": one})),  # as torchvision's pyramids
            ("output[0]", lambda one: {0: one}),
            ("output[feat]", lambda one: Named(one, one + 1)),
            ("output[0]", lambda one: Named(one, one + 1)),
            ("output[1][0]", lambda one: (0, [one, None])),
            ("output[-1][res.5][1:][0]", lambda one: [{"res.5": (0, one)}]),
            ("output", lambda one: one),
            ("", lambda one: one),
        ],
    )
    def test_one_tensor_of_it(self, text, make):
        net = Nested(make)
        hooks, selectors = listen(nn.Sequential(net, nn.Identity())[0], text)
        assert hooks.read(selectors) is not None
        torch.testing.assert_close(hooks.read(selectors), IMAGES, rtol=0, atol=0)

    @pytest.mark.parametrize(
        "text, make",
        [
            ("output[1]", lambda one: (0, [one, one + 1])),
            ("output[maps][1:3]", lambda one: {"maps": (0, one, one + 1)}),
            ("output", lambda one: (one, one + 1)),
        ],
    )
    def test_several_of_it(self, text, make):
        hooks, selectors = listen(Nested(make), text)
        torch.testing.assert_close(hooks.read(selectors), [IMAGES, IMAGES + 1], rtol=0, atol=0)

    @pytest.mark.parametrize(
        "text, make, message",
        [
            ("output[fest]", lambda one: {"feat": one, "p": one},
             r"asks for \[fest\], but 'output' returns a dict of 2 items. Select from "
             r"output\[feat\] \(2, 3, 8, 8\), output\[p\] "),
            ("output[0][2]", lambda one: ((one, one), 1),
             r"asks for \[2\], but 'output\[0\]' returns a tuple of 2 items. Select from "
             r"output\[0\]\[0\] \(2, 3, 8, 8\), output\[0\]\[1\] "),
            ("output", lambda one: {"a": [one]},
             "must select tensors, but 'output' returns a dict of 1 items. Select from "
             r"output\[a\]\[0\] "),
            ("output", lambda one: None, "must select tensors, but 'output' returns a NoneType.$"),
            ("output[1:2]", lambda one: {"1": one}, r"asks for \[1:2\], but 'output' returns a d"),
            ("output[19]", lambda one: [one] * 19,
             r"output\[18\] .* or one of 11 more"),
        ],
    )  # fmt: skip
    def test_what_it_lacks_is_named_with_what_it_holds(self, text, make, message):
        hooks, selectors = listen(Nested(make), text)
        with pytest.raises(ValueError, match=message):
            hooks.read(selectors)

    def test_a_child_named_output_is_that_child(self):
        net = nn.Sequential(OrderedDict(output=nn.Flatten(), last=nn.Linear(192, 2)))
        hooks, selectors = listen(net, "output")
        assert hooks.read(selectors).shape == (2, 192)
        assert find_layer(net, LayerPath.parse(""), "student") is net

    def test_a_nested_tensor_changed_in_place_is_seen(self):
        hooks, selectors = listen(Nested(lambda one: {"a": [one.clone()]}), "output[a][0]")
        hooks.read(selectors).add_(1)
        with pytest.raises(ValueError, match="output of layer 'output' of the student was changed"):
            hooks.read(selectors)
