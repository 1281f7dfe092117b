import copy

import pytest
import torch
from torch import nn

from kd_core.layers import FeatureHooks, LayerPath, find_layer


class Pyramid(nn.Module):
    """Returns a tuple of maps, as a neck does."""

    def forward(self, feature):
        return tuple(feature[..., : feature.shape[-1] - cut] for cut in range(4))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.neck = Pyramid()
        self.unused = nn.Identity()

    def forward(self, images):
        return self.neck(self.backbone(images))


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def listen(model, *texts):
    """Run a model with active hooks; return the hooks and the selectors."""
    selectors = [LayerPath.parse(text) for text in texts]
    hooks = FeatureHooks(model, selectors, "student")
    hooks.active = True
    model(IMAGES)
    return hooks, selectors


class Pair(nn.Module):
    """Returns ones and their opposite."""

    def forward(self, images):
        return torch.ones_like(images), -torch.ones_like(images)


class TestSelector:
    @pytest.mark.parametrize(
        "text, path, keys",
        [
            ("neck", "neck", ()),
            (" backbone.layer3.0.conv1 ", "backbone.layer3.0.conv1", ()),
            ("neck[0]", "neck", (0,)),
            ("neck[-1]", "neck", (-1,)),
            ("neck[1:4]", "neck", (slice(1, 4),)),
            ("neck[:2]", "neck", (slice(None, 2),)),
            ("neck[2:]", "neck", (slice(2, None),)),
            ("neck[:]", "neck", (slice(None, None),)),
            ("neck[:-1]", "neck", (slice(None, -1),)),
            ("neck[0][1]", "neck", (0, 1)),
            ("body[feat][1:][out.p-3]", "body", ("feat", slice(1, None), "out.p-3")),
            ("output", "output", ()),
            ("output[0]", "output", (0,)),
            ("", "", ()),
            ("[feat]", "", ("feat",)),
        ],
    )
    def test_forms(self, text, path, keys):
        selector = LayerPath.parse(text)
        assert (selector.module, selector.keys) == (path, keys)

    @pytest.mark.parametrize(
        "text, shown", [("", "output"), ("[0]", "output[0]"), ("a[0]", "a[0]")]
    )
    def test_the_text_names_the_models_own_output(self, text, shown):
        assert LayerPath.parse(text).text == shown

    @pytest.mark.parametrize(
        "text",
        [
            "neck[]",
            "neck[a b]",
            "neck[1",
            "neck[1:2:3]",
            ".neck",
            "neck.",
            "a b",
            "a[0]b",
            "a[0][]",
        ],
    )
    def test_other_forms_are_refused(self, text):
        with pytest.raises(ValueError, match="must read like 'backbone.layer3'"):
            LayerPath.parse(text)

    @pytest.mark.parametrize(
        "text, widths", [("neck[1:3]", [5, 4]), ("neck[:]", [6, 5, 4, 3]), ("neck[:-2]", [6, 5])]
    )
    def test_slices_pick_items_in_order(self, text, widths):
        hooks, selectors = listen(Net(), text)
        assert [item.shape[-1] for item in hooks.read(selectors)] == widths

    @pytest.mark.parametrize("text, width", [("neck[0]", 6), ("neck[3]", 3), ("neck[-1]", 3)])
    def test_an_index_picks_one_tensor(self, text, width):
        hooks, selectors = listen(Net(), text)
        assert hooks.read(selectors).shape[-1] == width

    def test_a_tuple_without_an_index_means_all_of_it(self):
        hooks, selectors = listen(Net(), "neck")
        assert len(hooks.read(selectors)) == 4

    def test_several_selectors_make_one_flat_list(self):
        hooks, selectors = listen(Net(), "backbone", "neck[1:3]", "neck[-1]")
        assert [item.shape[-1] for item in hooks.read(selectors)] == [6, 5, 4, 3]

    @pytest.mark.parametrize(
        "text, message",
        [
            (
                "neck[4]",
                r"asks for \[4\], but 'neck' returns a tuple of 4 items. Select from neck",
            ),
            ("neck[-5]", r"asks for \[-5\]"),
            ("neck[2:5]", r"asks for \[2:5\], but 'neck' returns a tuple of 4 items"),
            ("neck[feat]", r"asks for \[feat\], but 'neck' returns a tuple of 4 items"),
            ("neck[4:]", "must select tensors, but 'neck' returns a tuple of 4"),
            ("neck[3:2]", "must select tensors"),
            (
                "backbone[0]",
                r"'backbone' returns one tensor \(2, 4, 6, 6\)\. Select from backbone",
            ),
        ],
    )
    def test_what_is_not_there_is_named(self, text, message):
        hooks, selectors = listen(Net(), text)
        with pytest.raises(ValueError, match=message):
            hooks.read(selectors)

    def test_an_output_that_is_no_tensor_is_named(self):
        class Named(nn.Module):
            def forward(self, images):
                return {"out": images}

        hooks, selectors = listen(nn.Sequential(Named()), "0")
        message = r"'0' must select tensors, but '0' returns a dict of 1 items. Select from 0"
        with pytest.raises(ValueError, match=message):
            hooks.read(selectors)


class TestFindLayer:
    def test_nearest_names_are_shown(self):
        with pytest.raises(ValueError, match=r"the teacher \(Net\) has no layer 'nekc'.*neck"):
            find_layer(Net(), LayerPath.parse("nekc"), "teacher")

    def test_top_layers_are_shown_when_nothing_is_near(self):
        with pytest.raises(ValueError, match="Nearest names: backbone, neck, unused"):
            find_layer(Net(), LayerPath.parse("zzzzzz"), "student")

    def test_a_deep_layer_is_found(self):
        net = Net()
        assert find_layer(net, LayerPath.parse("backbone.1"), "student") is net.backbone[1]


def hook_count(model):
    return sum(len(module._forward_hooks) for module in model.modules())


class TestFeatureHooks:
    def test_a_layer_that_runs_twice_gives_a_list_in_order(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.shared = nn.Conv2d(3, 3, 1)
                self.pair = Pair()

            def forward(self, images):
                first = self.shared(images)
                self.seen = [first, self.shared(first)]
                return self.pair(first)[0] + self.pair(self.seen[1])[1]

        net = Twice()
        hooks, selectors = listen(net, "shared")
        found = hooks.read(selectors)
        assert len(found) == 2 and all(a is b for a, b in zip(found, net.seen, strict=True))
        hooks, selectors = listen(net, "pair[1]", "pair[0]", "shared")
        found = hooks.read(selectors)
        assert [one.mean().sign().item() for one in found[:4]] == [-1, -1, 1, 1]
        assert len(found) == 6

    def test_a_layer_that_did_not_run_is_named(self):
        hooks, selectors = listen(Net(), "unused")
        with pytest.raises(ValueError, match="layer 'unused' of the student did not run"):
            hooks.read(selectors)

    @pytest.mark.parametrize("grad", [True, False])
    def test_an_output_changed_in_place_is_refused(self, grad):
        net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True))
        with torch.set_grad_enabled(grad):
            hooks, selectors = listen(net, "0")
        with pytest.raises(ValueError, match="layer '0' of the student was changed in place"):
            hooks.read(selectors)

    def test_the_layer_that_changes_in_place_can_be_read(self):
        net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True))
        hooks, selectors = listen(net, "1")
        assert hooks.read(selectors).min() == 0

    def test_idle_taps_keep_nothing(self):
        hooks, selectors = listen(Net(), "backbone")
        hooks.clear()
        hooks.active = False
        hooks._layers["backbone"](IMAGES)
        with pytest.raises(ValueError, match="did not run"):
            hooks.read(selectors)

    def test_taps_follow_a_layer_that_a_conversion_replaces(self):
        net = Net()
        before = net.backbone[1]
        hooks = FeatureHooks(net, selectors := [LayerPath.parse("backbone.1")], "student")
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        assert net.backbone[1] is not before
        hooks.register(net)
        hooks.register(net)
        hooks.active = True
        net.eval()(IMAGES)
        assert hooks.read(selectors).shape == (2, 4, 6, 6)
        assert hook_count(net) == 1
        assert not before._forward_hooks

    def test_remove_takes_every_hook(self):
        net = Net()
        hooks, _ = listen(net, "backbone", "neck[0]", "neck[1]")
        assert hook_count(net) == 2
        hooks.remove()
        assert hook_count(net) == 0

    def test_a_wrong_second_name_leaves_no_hook(self):
        net = Net()
        with pytest.raises(ValueError, match="no layer"):
            FeatureHooks(net, [LayerPath.parse("neck"), LayerPath.parse("nothing")], "student")
        assert hook_count(net) == 0

    def test_a_copy_listens_to_the_copy(self):
        net = Net()
        net.hooks = (FeatureHooks(net, [LayerPath.parse("neck[0]")], "student"),)
        twin = copy.deepcopy(net)
        twin.hooks[0].active = True
        net(IMAGES)
        with pytest.raises(ValueError, match="did not run"):
            twin.hooks[0].read([LayerPath.parse("neck[0]")])
        twin(IMAGES)
        assert twin.hooks[0].read([LayerPath.parse("neck[0]")]).shape[-1] == 6
        twin.hooks[0].remove()
        assert (hook_count(net), hook_count(twin)) == (1, 0)


class Masked(nn.Module):
    """Is called with more than a map."""

    def __init__(self):
        super().__init__()
        self.head = Weighted()

    def forward(self, images):
        return self.head(images, images > 0, factor=3)


class Weighted(nn.Module):
    def forward(self, images, mask, factor=1):
        return images * mask * factor


class TestInput:
    def test_is_what_the_layer_is_called_with(self):
        hooks, selectors = listen(Masked(), "head.input[1]", "head.input[factor]", "head")
        mask, factor, output = (hooks.read([one]) for one in selectors)
        assert torch.equal(mask, IMAGES > 0) and factor == 3
        assert torch.equal(output, IMAGES * mask * 3)

    def test_a_child_of_that_name_comes_first(self):
        model = nn.ModuleDict({"input": nn.Identity()})
        model.forward = lambda images: model["input"](images) + 1
        net = nn.Sequential()
        net.add_module("head", model)
        hooks, selectors = listen(net, "head.input")
        assert torch.equal(hooks.read(selectors), IMAGES)

    def test_what_is_missing_is_named(self):
        with pytest.raises(ValueError, match=r"asks for \[7\].*head.input\[1\]"):
            hooks, selectors = listen(Masked(), "head.input[7]")
            hooks.read(selectors)
        with pytest.raises(ValueError, match="has no layer 'hed.input'"):
            listen(Masked(), "hed.input[0]")
