"""What losses need beside layers: the labels of a batch, or the ids of its samples."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.term import Features

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def named_arguments(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the arguments of a forward the names that the model's ``forward`` has for them.

    Args:
        model: The model that was called.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Returns:
        Name to argument; what ``*args`` swallows has no name and is left out.

    Example:
        >>> named_arguments(nn.ReLU(), ["images"], {})
        {'input': 'images'}
    """
    parameters = inspect.signature(model.forward).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in _POSITIONAL]
    return dict(zip(names, args, strict=False)) | dict(kwargs)


def pick_needed(term: str, needs: Iterable[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what a term's loss needs.

    Args:
        term: Name of the term, for the message.
        needs: The names.
        known: What there is, by name.

    Raises:
        ValueError: If something is not there, or is None.
    """
    missing = [name for name in needs if known.get(name) is None]
    if missing:
        raise ValueError(
            f"term {term!r} needs {missing} beside the layers, but this forward of the student "
            f"has only {sorted(name for name, value in known.items() if value is not None)}. Let "
            "the forward take an argument of that name, or give it to losses(), as in "
            f"losses({missing[0]}={missing[0]})."
        )
    return {name: known[name] for name in needs}


def stand_ins(needs: Iterable[str], features: Mapping[str, Features]) -> dict[str, Tensor]:
    """Zeros in the place of what a loss needs: a dry run has no labels.

    Args:
        needs: The names.
        features: Role to feature (N, ...) or list of them.

    Returns:
        Name to int64 zeros (N,).
    """
    first = next(iter(features.values()))
    sample = first[0] if isinstance(first, list) else first
    return {
        name: torch.zeros(len(sample), dtype=torch.long, device=sample.device) for name in needs
    }
