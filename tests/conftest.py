"""Small files that many tests need: images and lists."""

import os

# The workers and what they start share the cores: with more threads they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not os.path.exists("/dev/nvidiactl"):  # triton looks at it when it is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest


def pytest_collection_modifyitems(items):
    """Begin with the files that hold a slow test, so that no worker ends long after the others."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def draw():
    """Write a small image, its folders too."""
    from PIL import Image  # which the base install lacks

    def write(path, size=(6, 5), mode="RGB"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, 200).save(path)

    return write


@pytest.fixture
def write_lines():
    """Write a text file."""

    def write(path, *lines, end="\n", encoding="utf-8"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(line + end for line in lines).encode(encoding))

    return write
