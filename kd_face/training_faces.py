"""Faces to train a student on: aligned once, with dlib's rows as the cached teacher.

Alignment and dlib are needed at this step alone. The training reads the aligned images as any
folder with a folder for each class, and the rows as :class:`kd_retrieval.StoredEmbeddings`.

A row belongs to an image, not to a crop. The rows of training images are therefore those of an
image and its mirror image, added and scaled to length 1, as students see both; small shifts, turns
and changes of light are left to the student. The rows of test images are dlib's own, as the
application computes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd_core.checkpoint.atomic import put_in_place, temporary_folder
from kd_engine.config.load import load_run_config
from kd_engine.data.image_folder import find_images
from kd_face.alignment import align
from kd_face.detection import FaceDetector
from kd_face.embedders import FaceEmbedder, unit_rows
from kd_face.images import read_image
from kd_retrieval.embeddings.embed import dataset_config, open_dataset, rows_of
from kd_retrieval.embeddings.rows import EmbeddingKey, Embeddings
from kd_retrieval.embeddings.stored import write_embeddings

KEY = "teacher_rows"  # of a config: files for the rows of its training and its test data
MIRRORED = {"train": True, "test": False}


class AlignedFace(NamedTuple):
    """An image and what became of it.

    Attributes:
        path: Of the image, below the folder.
        aligned: Path of the aligned face below the new folder; None if no face was found.
        faces: Number of faces; the largest one is taken.
        rows: Rows of the face and its mirror image (2, D); None if no face was found.
    """

    path: str
    aligned: str | None
    faces: int
    rows: NDArray[Any] | None


def align_folder(
    source: Path, out: Path, detector: FaceDetector, embedder: FaceEmbedder
) -> Iterator[AlignedFace]:
    """Align the faces of a folder with a folder for each person; the new one appears at the end.

    Args:
        source: The folder.
        out: Folder of the aligned faces, PNG of 112 x 112 under the same names; it must not exist.
        detector: Finds the faces.
        embedder: The teacher.

    Raises:
        ValueError: If ``out`` exists, there is no image, none has a face, two would have one name,
            or an image cannot be read.
    """
    if out.exists():
        raise ValueError(f"{out} is there already. Remove it, or let the config name another one.")
    taken: set[str] = set()
    with temporary_folder(out) as place:
        for path in find_images(source):
            name = str(Path(path).with_suffix(".png"))
            if name in taken:
                raise ValueError(f"two images of {source} would be called {name}. Rename one.")
            pixels = read_image((source / path).read_bytes(), path)
            faces = detector.detect(pixels)
            if not faces:
                yield AlignedFace(path, None, 0, None)
                continue
            taken.add(name)
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(align(pixels, faces[0])).save(target)
            crop = embedder.crop(pixels, faces[0])
            rows = embedder.embed([crop, np.ascontiguousarray(crop[:, ::-1])])
            yield AlignedFace(path, name, len(faces), rows)
        if not taken:
            raise ValueError(f"no image of {source} has a face. Are they upright and frontal?")
        put_in_place(place, out)


def data_root_of(configs: Sequence[str], source: Path) -> Path:
    """Return the folder of aligned faces that configs train on.

    Args:
        configs: Names of configs.
        source: The folder to align, whose people they have to divide.

    Raises:
        ValueError: If they differ in the folder, a config does not say where faces or rows belong,
            or the people cannot be divided as it says.
    """
    found: set[str] = set()
    for name in configs:
        read = load_run_config(name, {})
        files = read.get(KEY)
        if not isinstance(files, Mapping) or set(files) != set(MIRRORED):
            raise ValueError(
                f"{name} must say where the teacher's rows belong: {KEY} = dict(train='....npz', "
                f"test='....npz'), but it has {files!r}."
            )
        for split in MIRRORED:
            dataset = cast(dict[str, Any], dataset_config(read, split))
            if not dataset.get("data_root"):
                raise ValueError(
                    f"{name} must say where the aligned faces belong, but the dataset of its "
                    f"{split}_dataloader has no data_root. Set it to a folder that does not exist."
                )
            found.add(str(dataset["data_root"]))
            dataset["data_root"] = str(source)
            open_dataset(read, split)
    if len(found) != 1:
        raise ValueError(f"configs must have one data_root, but they have {sorted(found)}.")
    return Path(found.pop())


def write_rows(
    config: str, rows: Mapping[str, NDArray[Any]], embedder: FaceEmbedder
) -> list[tuple[str, int]]:
    """Write the rows of a config's training and test data; return each file and its number.

    Args:
        config: A config of aligned faces, which exist by now.
        rows: Path of an aligned face below the data root to its rows (2, D).
        embedder: What made them.

    Raises:
        ValueError: If the data has an image without rows.
    """
    read = load_run_config(config, {})
    written = []
    for split, mirrored in MIRRORED.items():
        data = open_dataset(read, split)
        if missing := [path for path in data.paths if path not in rows]:
            raise ValueError(
                f"every aligned face needs a row, but {len(missing)} have none, first "
                f"{missing[0]}. Remove {data.root} and align again."
            )
        both = np.stack([rows[path] for path in data.paths])  # (N, 2, D)
        vectors = unit_rows(both.sum(1)) if mirrored else both[:, 0]
        key = EmbeddingKey(
            checkpoint=embedder.version,
            data=data.fingerprint(),
            transform=json.dumps(dict(crop=embedder.name, mirrored=mirrored)),
            model=embedder.name,
            dtype="float32",
        )
        found = vars(rows_of(data, key))
        write_embeddings(read[KEY][split], Embeddings(vectors=vectors, **found))
        written.append((str(read[KEY][split]), len(vectors)))
    return written
