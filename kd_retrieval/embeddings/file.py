"""Files of embeddings: one ``.npz``, or a folder whose vectors can be mapped into memory.

``x.npz``  vectors, labels, ids, roles, paths (UTF-8, separated by NUL), meta (JSON)
``x/``     vectors.npy, rows.npz (the others)
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_core.checkpoint.atomic import put_in_place, temporary_folder
from kd_retrieval.embeddings.rows import EmbeddingKey, EmbeddingRows, Embeddings

_VERSION = 1
_open_memmap: Any = np.lib.format.open_memmap
_VECTORS, _ROWS = "vectors.npy", "rows.npz"
_INTEGERS = ("labels", "ids", "roles")


def load(path: str | Path) -> Embeddings:
    """Read embeddings as they are; ``read_embeddings`` checks them as well.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If the file is damaged or something else.
    """
    path = Path(path)
    with _open(path) as content, _named(path):
        mapped = np.load(path / _VECTORS, "r", allow_pickle=False) if path.is_dir() else None
        meta = _meta(content)
        return Embeddings(
            vectors=_array(content, "vectors") if mapped is None else mapped,
            **{name: _array(content, name) for name in _INTEGERS},
            paths=_unpacked(_array(content, "paths")),
            class_names=tuple(meta["class_names"]),
            key=EmbeddingKey(**meta["key"]),
        )


def read_key(path: str | Path) -> EmbeddingKey:
    """Read only what embeddings were made from.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If the file is damaged or something else.
    """
    with _open(Path(path)) as content, _named(Path(path)):
        return EmbeddingKey(**_meta(content)["key"])


@contextlib.contextmanager
def new_file(path: str | Path, rows: EmbeddingRows) -> Iterator[NewFile]:
    """Open a file to be filled; it appears at the end, or not at all if anything fails.

    Args:
        path: A file ``.npz``, or a folder; existing embeddings are replaced.
        rows: What the rows are.

    Raises:
        ValueError: If the path holds something else than embeddings, or has another suffix.
    """
    check_target(Path(path))
    in_folder = Path(path).suffix != ".npz"
    path = Path(os.path.realpath(path))  # a link stays a link
    with temporary_folder(path) as place:
        file = NewFile(place, rows, in_folder)
        yield file
        file.close()
        put_in_place(place if in_folder else place / _ROWS, path)


class NewFile:
    """Embeddings that are being written.

    Args:
        place: Temporary folder.
        rows: What the rows are.
        in_folder: Write vectors to a file of their own at once instead of keeping them.
    """

    def __init__(self, place: Path, rows: EmbeddingRows, in_folder: bool) -> None:
        self.place, self.rows, self.in_folder = place, rows, in_folder
        self.vectors: Any = None

    def put(self, position: int, batch: NDArray[Any]) -> None:
        """Store vectors (N, D) from a row on.

        Raises:
            ValueError: If there are more vectors than rows, or another D than before.
        """
        if self.vectors is None:
            shape = (len(self.rows), batch.shape[1])
            if self.in_folder:
                name = self.place / _VECTORS
                self.vectors = _open_memmap(name, "w+", np.dtype(self.rows.key.dtype), shape)
            else:
                self.vectors = np.empty(shape, self.rows.key.dtype)
        end = position + len(batch)
        if end > len(self.rows) or batch.shape[1] != self.vectors.shape[1]:
            raise ValueError(
                f"the vectors must fill {self.vectors.shape}, but a batch {batch.shape} begins at "
                f"row {position}."
            )
        self.vectors[position:end] = batch

    def close(self) -> None:
        """Write everything to disk."""
        rows = self.rows
        meta = dict(version=_VERSION, class_names=rows.class_names, key=asdict(rows.key))
        content = {name: getattr(rows, name) for name in _INTEGERS}
        content["paths"] = _packed("\0".join(rows.paths))
        content["meta"] = _packed(json.dumps(meta))
        if self.in_folder:
            self.vectors.flush()
        else:
            content["vectors"] = self.vectors
        self.vectors = None
        with (self.place / _ROWS).open("wb") as file:
            np.savez(file, **content)
            file.flush()
            os.fsync(file.fileno())


def check_target(path: Path) -> None:
    """Require a path that embeddings can be written to.

    Raises:
        ValueError: If it has another suffix or holds something else.
    """
    if path.suffix == ".npz":
        other = path.is_dir()
    else:
        other = path.exists() and not (path / _ROWS).is_file()
        other = other and not (path.is_dir() and not any(path.iterdir()))
    if other:
        raise ValueError(
            f"{path} exists and holds no embeddings. Name another file (.npz) or another folder."
        )
    if names := _other_files(path):
        raise ValueError(
            f"a folder of embeddings is replaced as a whole, but {path} holds {names} as well. "
            "Move that away, or name another folder."
        )
    if path.suffix not in ("", ".npz"):
        raise ValueError(
            f"embeddings are written to a file .npz or to a folder (no suffix), but the name is "
            f"{path}."
        )


def _other_files(path: Path) -> str:
    """Name some of the other files in a folder of embeddings."""
    if path.suffix or not path.is_dir():
        return ""
    return ", ".join(sorted({one.name for one in path.iterdir()} - {_VECTORS, _ROWS})[:3])


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    if not path.exists():
        raise FileNotFoundError(
            f"there are no embeddings {path}. Write them: kdkit embed CONFIG CHECKPOINT {path}"
        )
    if path.is_dir() and not ((path / _ROWS).is_file() and (path / _VECTORS).is_file()):
        raise ValueError(
            f"a folder of embeddings holds {_VECTORS} and {_ROWS}, but {path} lacks it."
        )
    with _named(path):
        content = np.load(path / _ROWS if path.is_dir() else path, allow_pickle=False)
    if not isinstance(content, np.lib.npyio.NpzFile):
        raise ValueError(f"{path} holds one array, but embeddings are an .npz of several.")
    with content:
        yield content


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:  # a damaged file makes numpy and zipfile raise nearly anything
        raise ValueError(
            f"{path} is not a file of embeddings or is damaged ({error!r}). Write it again with "
            "kdkit embed --overwrite."
        ) from error


def _array(content: Any, name: str) -> NDArray[Any]:
    """Read an array; for a file that is not an array numpy returns its bytes."""
    found = content[name]
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{name} is not an array")
    return found


def _meta(content: Any) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(_array(content, "meta").tobytes())
    if meta["version"] != _VERSION:
        raise ValueError(f"format {meta['version']} is not {_VERSION}, which this program reads")
    texts = [*meta["class_names"], *meta["key"].values()]
    if not isinstance(meta["class_names"], list) or not all(isinstance(one, str) for one in texts):
        raise ValueError("names of classes and parts of the key must be texts")
    return meta


def _packed(text: str) -> NDArray[Any]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _unpacked(packed: NDArray[Any]) -> tuple[str, ...]:
    return tuple(packed.tobytes().decode().split("\0"))
