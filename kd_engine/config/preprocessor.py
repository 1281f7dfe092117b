"""Data preprocessor at the top level of a config: the default of its models, as in mmengine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from mmengine.config import Config

_KEY = "data_preprocessor"


def preprocessed_model(config: Config) -> Any:
    """Return a config's model, whose ``data_preprocessor`` is the config's where it has none.

    mmengine's Runner does this for a plain model. Here it is also the default of a student, and of
    every teacher that the config describes itself; a teacher from another file has its own.

    Args:
        config: A config with a model; its ``data_preprocessor`` goes into the model, in place.
    """
    default = config.get(_KEY)
    if default and isinstance(config.get("model"), MutableMapping):
        for model in _plain_models(config.model):
            model.setdefault(_KEY, default)
        config.pop(_KEY)
    return config.model


def _plain_models(model: Any) -> Iterator[MutableMapping[str, Any]]:
    """Yield the models in a model config: itself, or its student and the teachers beside it."""
    if "student" not in model:
        yield model
        return
    found = [model["student"]]
    for value in model.values():
        several = isinstance(value, list | tuple)
        references = value if several else [value]
        if isinstance(value, Mapping) and "config" not in value:
            references = list(value.values())
        found += [one["config"] for one in references
                  if isinstance(one, Mapping) and {"config", "checkpoint"} <= set(one)]  # fmt: skip
    yield from (one for one in found if isinstance(one, MutableMapping))
