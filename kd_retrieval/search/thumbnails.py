"""Thumbnails of the images behind stored embeddings."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from PIL import Image
from torch import Tensor

from kd_engine.data.images import read_image
from kd_retrieval.embeddings.embed import open_dataset
from kd_retrieval.embeddings.rows import EmbeddingRows

ImageOfRow = Callable[[int], Image.Image]  # from a row of the table to its image
_SIDE = 160  # pixels of a thumbnail
_SMALL = 64  # up to this size an image is kept as it is, without loss


def images_of_config(config: Config, rows: EmbeddingRows) -> ImageOfRow:
    """Show images as the model sees them, before normalization.

    The dataset is that of the config's test, val or train data which has the same files, labels
    and ids as the embeddings. Of all of them the test data's transforms are taken.

    Args:
        config: The config of a run.
        rows: What the embeddings are of.

    Raises:
        ValueError: If none of the datasets is the one.
    """
    seen = []
    for split in ("test", "val", "train"):
        if not config.get(f"{split}_dataloader"):
            continue
        transforms_of = "test" if config.get("test_dataloader") else None
        data = open_dataset(config, split, transforms_of)
        if data.fingerprint() == rows.key.data:
            return lambda row: _image_of(data[row]["inputs"])
        seen.append(f"{split} {data.fingerprint()[:12]}")
    raise ValueError(
        f"images come from the data that was embedded ({rows.key.data[:12]}), but the config has "
        f"{', '.join(seen) or 'no data'}. Give the config that kdkit embed was given, or a "
        "folder: --images, and --query-images for another file of queries."
    )


def images_of_folder(root: str | Path, rows: EmbeddingRows) -> ImageOfRow:
    """Read images by the paths that the embeddings have.

    Args:
        root: Folder of the dataset.
        rows: What the embeddings are of.

    Returns:
        A function that raises ValueError for a path outside the folder and FileNotFoundError for
        a missing file, and ValueError for one that cannot be decoded.
    """

    def read(row: int) -> Image.Image:
        path = os.path.normpath(rows.paths[row])
        if os.path.isabs(path) or path.startswith(".."):
            raise ValueError(f"paths must lie below {root}, but {rows.name(row)} does not.")
        file = Path(root, path)
        if not file.is_file():
            raise FileNotFoundError(
                f"the image {file} is missing. Give --images (for another file of "
                "queries --query-images) the data root of the dataset, or --config its config."
            )
        return read_image(file)

    return read


def _image_of(inputs: Tensor) -> Image.Image:
    image: Image.Image = Image.fromarray(inputs.permute(1, 2, 0).numpy())
    return image


def data_uri(image: Image.Image) -> str:
    """Encode an image so that it can stand in a page: JPEG, or PNG where it is tiny."""
    image = image.convert("RGB")
    small = max(image.size) <= _SMALL
    if not small:
        image.thumbnail((_SIDE, _SIDE))
    kind = "png" if small else "jpeg"
    stream = io.BytesIO()
    image.save(stream, kind, **({} if small else {"quality": 82}))
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
