"""Collation of items into a batch, where images may have several labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from kd_retrieval.embeddings.embed import stack


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make a batch; for a config: ``collate_fn=dict(type="kd_retrieval.collate")``.

    mmengine's ``default_collate`` does the same where each image has one label. It refuses lists of
    labels, or turns them into columns.

    Args:
        items: Items of a dataset of kd_retrieval.

    Returns:
        ``inputs`` uint8 (N, 3, H, W), ``ids`` and ``roles`` int64 (N,), and ``labels`` int64
        (N,), or a list of lists if an image has several.

    Raises:
        ValueError: If images differ in size.
    """
    labels = [item["labels"] for item in items]
    several = any(isinstance(label, list | tuple) for label in labels)
    return dict(
        inputs=stack(items)["inputs"],
        labels=labels if several else torch.tensor(labels),
        ids=torch.tensor([int(item["ids"]) for item in items]),
        roles=torch.tensor([int(item["roles"]) for item in items]),
    )
