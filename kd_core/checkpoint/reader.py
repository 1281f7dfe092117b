"""Reader of checkpoint files that runs no code from them.

torch's restricted unpickler (`weights_only=True`) reads it, or safetensors. There is no flag that
falls back to full unpickling: a pickle can run any command while it is read. (Before torch 2.6 even
the restricted one could be made to, CVE-2025-32434.)
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

import torch

from kd_core.checkpoint.plain_objects import HARMLESS
from kd_core.checkpoint.zip_entries import zip_entries


class CheckpointError(ValueError):
    """Error of a checkpoint that cannot be read safely, or whose weights do not fit the model."""


class UnsafeCheckpointError(CheckpointError):
    """Error of a checkpoint that names forbidden objects: reading it in full could run code."""


def read_checkpoint(
    path_or_url: str | os.PathLike[str],
    allowed: Iterable[Any] = (),
    *,
    map_location: Any = "cpu",
    mmap: bool = True,
) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Args:
        path_or_url: A file written by `torch.save` (any version) or a `.safetensors` file; or its
            http(s) address, which is downloaded once into torch.hub's cache folder and checked
            against the hash in its name (`name-<8 or more hex digits>.pth`) if there is one.
        allowed: Classes and functions that the file may name besides tensors and plain containers,
            as `torch.serialization.safe_globals` takes them: objects, or pairs (object,
            "module.name"). Settings of a command line (`argparse.Namespace`) and paths are
            always allowed, and come in as plain attributes.
        map_location: Device of the tensors, as `torch.load` takes it.
        mmap: Whether tensors may stay on disk until they are used; not those of an archive with
            compressed entries, which are unpacked. Say no if the file may be overwritten in place.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, not a checkpoint, or would unpack to far more than
            its size.
        UnsafeCheckpointError: If it names forbidden objects.
        ImportError: If safetensors is needed and not installed.
    """
    name = os.fspath(path_or_url)
    path = _download(name) if name.startswith(("http://", "https://")) else Path(name).expanduser()
    _check_is_file(path)
    if path.suffix.lower() == ".safetensors":
        content = _read_safetensors(path, map_location)
    else:
        content = _read_torch(path, allowed, map_location, mmap)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"A checkpoint must hold a dict, but {path} holds a {type(content).__name__}. "
            "Save it with torch.save(model.state_dict(), path)."
        )
    return cast("dict[str, Any]", content)


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(
            f"A checkpoint must be a file, but {path} is a folder. Give one of the files in it."
        )
    if not path.exists():
        raise FileNotFoundError(f"There is no checkpoint {path}. Check the path.")
    if path.stat().st_size == 0:
        raise CheckpointError(
            f"{path} is empty (0 bytes): its writing or download was cut off. "
            "Remove it and use an earlier one, or fetch it again."
        )


def _download(url: str) -> Path:
    name = os.path.basename(urlparse(url).path)
    digest = re.search(r"-([0-9a-f]{8,})\.", name)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if digest is None:  # Many files are called model.pth: only a hash tells them apart.
        folder /= hashlib.sha256(url.encode()).hexdigest()[:8]
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:  # torch writes to a temporary file and renames it.
            torch.hub.download_url_to_file(
                url, str(path), digest and digest.group(1), progress=sys.stderr.isatty()
            )
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"{url} could not be downloaded ({error}). Check the address and the connection, "
                "or download it by hand and give its path."
            ) from error
    return path


def _read_safetensors(path: Path, device: Any) -> Any:
    try:
        safetensors = importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise ImportError(f"{path} needs safetensors: pip install safetensors") from error
    try:
        return safetensors.load_file(str(path), device=str(device))
    except Exception as error:
        raise CheckpointError(_damaged(path, error)) from error


def _read_torch(path: Path, allowed: Iterable[Any], map_location: Any, mmap: bool) -> Any:
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"  # The legacy format cannot be mapped.
    entries = zip_entries(path) if is_zip else None
    if entries is not None and entries.is_bomb:
        raise CheckpointError(
            f"{path} ({entries.packed:,} bytes) would unpack to {entries.unpacked:,} bytes, which "
            "no weights of its size do. Get it from a source that you trust."
        )
    # Mapping takes the bytes of an entry as they are, so compressed ones would be garbage.
    mapped = mmap and entries is not None and entries.stored
    # What a program has allowed globally must stay allowed after the block.
    known = torch.serialization.get_safe_globals()
    extra = [entry for entry in (*HARMLESS, *allowed) if entry not in known]
    try:
        with torch.serialization.safe_globals(extra):
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mapped)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # A damaged file can fail anywhere in the reader.
        if refused := _refused(path, error):
            raise UnsafeCheckpointError(refused) from error
        raise CheckpointError(_damaged(path, error)) from error


def _refused(path: Path, error: Exception) -> str:
    """Return what the file must not hold, or "" if it failed for another reason."""
    text = str(error)
    if "TorchScript" in text:
        return (
            f"{path} is a TorchScript archive, which holds code. Load it with torch.jit.load in a "
            "program that trusts it, and save its state_dict() alone."
        )
    if not any(
        word in text
        for word in ("nsupported global", "GLOBAL", "allow", "unrecognized", "Can only")
    ):
        return ""
    found = re.search(r"GLOBAL (\S+)|(getattr\(.*?\))", text)
    name = (found.group(1) or found.group(2)) if found else _reason(error)
    return (
        f"{path} holds what a checkpoint may not: {name}. Reading it could run code. Save the "
        "weights alone, torch.save(model.state_dict(), path). Or, if you know that it is harmless, "
        "allow it with torch.serialization.add_safe_globals([...])."
    )


def _reason(error: Exception) -> str:
    text = str(error).split("WeightsUnpickler error:")[-1].strip() or type(error).__name__
    return text.splitlines()[0][:200].rstrip(".")


def _damaged(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return f"{path} is a Git LFS pointer, not the file itself. Run: git lfs pull"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return f"{path} is a web page, not a checkpoint. Fetch it again from its download address."
    what = "is cut off or damaged" if start.startswith(b"PK\x03\x04") else "is not a checkpoint"
    return (
        f"{path} ({path.stat().st_size} bytes) {what}: {_reason(error)}. Use an earlier one, or "
        "remove it and fetch it again."
    )
