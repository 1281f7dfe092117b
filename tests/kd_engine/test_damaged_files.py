"""Archives and images that are damaged: whatever they hold, a reader ends in its own error."""

from __future__ import annotations

import gzip
import io
import runpy
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kd_engine.data.download.unpack import ArchiveError, unpack
from kd_engine.data.image_lists import read_rows
from kd_engine.data.images import read_image

FUZZ = runpy.run_path(str(Path(__file__).parents[1] / "fuzz.py"))
quick, damaged, read_or_refuse = FUZZ["quick"], FUZZ["damaged"], FUZZ["read_or_refuse"]
FILES = {"top/a.txt": b"some text " * 20, "top/b/c.bin": bytes(range(256)), "top/empty": b""}


def packed_zip(method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in FILES.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def packed_tar(mode: str, style: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=style) as archive:
        for name, content in {**FILES, "top/" + "long" * 40: b"x"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


ARCHIVES = {
    "stored.zip": packed_zip(zipfile.ZIP_STORED),
    "deflated.zip": packed_zip(zipfile.ZIP_DEFLATED),
    "lzma.zip": packed_zip(zipfile.ZIP_LZMA),
    "pax.tar": packed_tar("w"),
    "gnu.tar": packed_tar("w", tarfile.GNU_FORMAT),
    "a.tar.gz": packed_tar("w:gz"),
    "a.tar.bz2": packed_tar("w:bz2"),
    "a.tar.xz": packed_tar("w:xz"),
}


@pytest.mark.parametrize("name", ARCHIVES)
@quick(40)
@given(data=st.data())
def test_an_archive(tmp_path_factory: Any, name: str, data: Any) -> None:
    root = tmp_path_factory.mktemp("box")
    archive, folder = root / name, root / "inside"
    folder.mkdir()
    archive.write_bytes(data.draw(damaged(ARCHIVES[name])))
    whole = read_or_refuse(lambda: unpack(archive, folder), archive, (ArchiveError,))
    assert {path.name for path in root.iterdir()} == {name, "inside"}
    if whole and name.startswith("a.tar."):  # their checksums cover everything
        for file, content in FILES.items():
            assert (folder / file).read_bytes() == content


@quick(40)
@given(data=st.data())
def test_a_damaged_archive_under_a_whole_compression(tmp_path_factory: Any, data: Any) -> None:
    root = tmp_path_factory.mktemp("box")
    (root / "inside").mkdir()
    (root / "a.tgz").write_bytes(gzip.compress(data.draw(damaged(packed_tar("w"))), mtime=0))
    read_or_refuse(lambda: unpack(root / "a.tgz", root / "inside"), root, (ArchiveError,))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
@quick(40)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_an_image(tmp_path: Path, kind: str, data: Any) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(stream, kind)
    path = tmp_path / "image"
    path.write_bytes(data.draw(damaged(stream.getvalue())))
    read_or_refuse(lambda: read_image(path), path)


@quick(80)
@given(data=st.data())
def test_a_list(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(data.draw(damaged(b"id path\n1 a/0.png\n2 b/c d.png\n3 e/f.png\n")))

    def read() -> None:
        rows = read_rows(path, "id path", ("id",))
        assert len(rows.integers(0)) == len(rows.paths(1, tmp_path)) == len(rows.lines)

    read_or_refuse(read, path)
