"""Dataset of images without annotations: a folder is enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet.datasets import BaseDetDataset
from PIL import Image

from kd_engine.data.image_folder import find_images
from kd_engine.data.voc_file import read_names


class UnlabeledImages(BaseDetDataset):  # type: ignore[misc]
    """Images below a folder, for a phase that needs no annotations.

    The options are those of mmdet's datasets: ``data_root``, ``data_prefix=dict(img=)`` (the folder
    below it; without one, all of ``data_root``), ``pipeline`` without ``LoadAnnotations``, and
    ``ann_file``, which is optional: a list of image names, with their suffixes or without, one a
    line, to leave out the other images of the folder, such as those of the test split.

    Raises:
        FileNotFoundError: If the folder is absent.
        ValueError: If it has no image, or not exactly one of a name in the list.
    """

    METAINFO: dict[str, Any] = {"classes": ()}

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return path and number of each image, in the order of the names."""
        folder = Path(self.data_prefix.get("img") or self.data_root)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"UnlabeledImages needs a folder of images, but {folder} is none. Correct "
                "data_root or data_prefix=dict(img=...)."
            )
        paths = find_images(folder)
        if self.ann_file:
            paths = _listed(paths, Path(self.ann_file), folder)
        return [
            {"img_path": str(folder / path), "img_id": number, "instances": []}
            for number, path in enumerate(paths)
        ]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return what is known of an image, with its size, by which batches may be grouped."""
        info: dict[str, Any] = super().get_data_info(idx)
        with Image.open(info["img_path"]) as image:
            info["width"], info["height"] = image.size
        return info


def _listed(paths: list[str], names: Path, folder: Path) -> list[str]:
    """Return the images of a list of names."""
    known: dict[str, list[str]] = {}
    for path in paths:
        for name in (path, path.rpartition(".")[0]):
            known.setdefault(name, []).append(path)
    found = []
    for name in filter(None, map(str.strip, read_names(names))):
        images = known.get(name, [])
        if len(images) != 1:
            raise ValueError(
                f"each line of {names} must be the name of one image below {folder}, but "
                f"{name!r} is that of {', '.join(images) or 'none'}. Correct the list."
            )
        found += images
    return found
