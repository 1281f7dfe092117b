"""Cached teacher: a file of embeddings, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_retrieval.embeddings.rows import EmbeddingKey, require_key
from kd_retrieval.embeddings.stored import read_embeddings

_DRY_RUN = 2  # images of a dry run, which have no ids


class StoredEmbeddings(nn.Module):
    """Teacher that returns for each image of a batch the embedding that a file holds for its id.

    A term selects its output as ``teacher_layers="embedding"``. The table is not a parameter, nor
    part of ``state_dict``; of a folder it stays on disk until a row is used. The embeddings are
    those of the images as ``kdkit embed`` saw them, so the teacher does not see the student's
    augmentation.

    Args:
        file: What ``kdkit embed`` wrote for the training data.
        key: Parts of the key that it must have, such as ``dict(checkpoint=...)``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or has another key.
    """

    def __init__(self, file: str, key: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.file = file
        self.table = read_embeddings(file, None if key is None else EmbeddingKey(**key))
        self.dim = self.table.dim
        self.embedding = nn.Identity()
        self._order = np.argsort(self.table.ids)
        self._sorted = self.table.ids[self._order]

    def forward(
        self,
        inputs: Tensor,
        labels: Any = None,
        ids: Tensor | None = None,
        mode: str = "tensor",
    ) -> Tensor:
        """Look up embeddings.

        Args:
            inputs: Images (N, 3, H, W); only their number and device count.
            labels: Not used.
            ids: Id of each image, int64 (N,). A dry run of at most 2 images has none and
                gets the first rows.
            mode: ``tensor``.

        Returns:
            Embeddings float32 (N, D), on the device of the images.

        Raises:
            ValueError: If an id is not in the file, or ids are missing.
        """
        if mode != "tensor":
            raise ValueError(f"stored embeddings have the mode 'tensor' alone, not {mode!r}.")
        if ids is None:
            if len(inputs) > _DRY_RUN:
                raise ValueError(
                    f"stored embeddings are found by id, but a batch of {len(inputs)} images has "
                    "none. Use a dataset whose items have ids, as those of kd_retrieval do."
                )
            found = np.arange(len(inputs)) % len(self.table)
        else:
            found = self.rows_of(ids.detach().cpu().numpy())
        vectors = torch.from_numpy(self.table.vectors[found].astype(np.float32))
        result: Tensor = self.embedding(vectors.to(inputs.device))
        return result

    def rows_of(self, ids: Any) -> Any:
        """Find the rows of ids (N,) in the table.

        Raises:
            ValueError: If an id is not in the file.
        """
        places = np.searchsorted(self._sorted, ids).clip(max=len(self._sorted) - 1)
        missing = ids[self._sorted[places] != ids]
        if len(missing):
            raise ValueError(
                f"every image needs a stored embedding, but {self.file} has none for "
                f"{len(missing)} ids, first {int(missing[0])}. Embed the whole training split with "
                "kdkit embed --split train."
            )
        return self._order[places]

    def check(self, dataset: Any) -> None:
        """Require that the file was made from a dataset: the same files, labels and ids.

        Raises:
            ValueError: If an id is missing or the fingerprints differ.
        """
        self.rows_of(np.asarray(dataset.ids))
        require_key(self.table.key, EmbeddingKey(data=dataset.fingerprint()), self.file)

    def extra_repr(self) -> str:
        """Show the file and its size."""
        return f"{self.file}, {len(self.table)} x {self.dim}"
