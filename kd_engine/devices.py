"""Devices by name: cpu, cuda or cuda:N, refused at once where this machine has none."""

from __future__ import annotations

import torch


def named_device(name: str) -> torch.device:
    """Return the device of this machine that has a name.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ValueError: If it is no such name, or torch does not find the device.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"a device must be cpu, cuda or cuda:N, but it is {name!r}. Take one of these names."
        )
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(
            f"a device must be one of this machine, but it is {name!r} and torch finds {count} "
            "GPU(s). Take --device cpu, or install a driver and a CUDA build of torch."
        )
    return device
