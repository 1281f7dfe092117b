"""The version of each module's weights, which its conversion of old keys reads, on the way in."""

import pytest
from torch import nn

from kd_core.checkpoint.load import load_weights, state_dict_of


class Versioned(nn.Linear):
    _version = 3

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        self.seen = local_metadata.get("version")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def old_weights(*wrappers):
    """Weights of version 1 in a model that lies inside modules of these names."""
    model = nn.Sequential(Versioned(2, 2))
    model[0]._version = 1
    for name in reversed(wrappers):
        outer = nn.Module()
        outer.add_module(name, model)
        model = outer
    return model.state_dict()


@pytest.mark.parametrize(
    "wrappers",
    [(), ("module",), ("model",), ("module", "model"), ("_orig_mod",), ("module", "_orig_mod")],
)
def test_it_is_the_files(wrappers):
    model = nn.Sequential(Versioned(2, 2))
    load_weights(model, state_dict_of(old_weights(*wrappers)))
    assert model[0].seen == 1


def test_it_follows_a_prefix():
    model = nn.Sequential(Versioned(2, 2))
    whole = old_weights("net")
    whole["other.weight"] = whole["net.0.weight"]
    load_weights(model, state_dict_of(whole, prefix="net"))
    assert model[0].seen == 1


def test_it_follows_where_a_part_alone_was_compiled():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Versioned(2, 2)))
    source = nn.Sequential(nn.Linear(2, 2), nn.Module())
    part = nn.Sequential(Versioned(2, 2))
    part[0]._version = 1
    source[1].add_module("_orig_mod", part)
    load_weights(model, state_dict_of(source.state_dict()))
    assert model[1][0].seen == 1
