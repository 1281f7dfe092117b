"""Images: bytes become pixels only within the limits."""

import io

import numpy as np
import pytest
from PIL import Image

from kd_face.images import ImageRefused, Limits, encode_image, read_file, read_image

from .stand_ins import blocks, png


def gradient(height, width):
    return np.stack([np.tile(np.linspace(0, 255, width, dtype=np.uint8), (height, 1))] * 3, -1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "PPM"])
def test_accepted_formats(form):
    pixels = read_image(png(gradient(20, 30), format=form), "a")
    assert pixels.shape == (20, 30, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - gradient(20, 30)).max() < 30


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "ICO"])
def test_other_formats_are_refused(form):
    with pytest.raises(ImageRefused, match="a.jpg must be a JPEG"):
        read_image(png(gradient(20, 30), format=form), "a.jpg")


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff", b"P5 9 9 255 "])
def test_what_is_no_image_is_refused(content):
    with pytest.raises(ImageRefused):
        read_image(content, "a")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_cut_file_is_refused(form):
    content = png(blocks(1), format=form)
    with pytest.raises(ImageRefused, match="broken"):
        read_image(content[: len(content) // 2], "a")


def test_bytes_and_pixels_are_limited_before_decoding(monkeypatch):
    content = png(gradient(20, 30))
    with pytest.raises(ImageRefused, match="bytes, but at most 10"):
        read_image(content, "a", Limits(max_bytes=10))
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    with pytest.raises(ImageRefused, match="30 x 20 pixels, but at most 599"):
        read_image(content, "a", Limits(max_pixels=599))


@pytest.mark.parametrize("form", ["WEBP", "PNG"])
def test_animated_files_are_refused_by_name(form):
    frames = [Image.fromarray(blocks(one)) for one in (1, 2, 3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=50)
    with pytest.raises(ImageRefused, match="a is animated: 3 frames"):
        read_image(buffer.getvalue(), "a")


def test_a_phone_s_file_of_several_images_is_its_first_one():
    first, second = Image.fromarray(blocks(1)), Image.fromarray(blocks(2))
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second], quality=95)
    pixels = read_image(buffer.getvalue(), "a.jpg")
    assert np.abs(pixels.astype(int) - blocks(1)).mean() < 5


def test_the_orientation_is_applied_and_metadata_is_gone():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "secret place"
    content = png(gradient(20, 30), format="JPEG", exif=exif, quality=95)
    assert b"secret place" in content
    pixels = read_image(content, "a")
    assert pixels.shape == (30, 20, 3)  # turned by a quarter, clockwise
    assert pixels[0].mean() < 20 and pixels[-1].mean() > 235
    stored = encode_image(pixels)
    assert b"secret" not in stored and not Image.open(io.BytesIO(stored)).getexif()


def test_large_images_are_scaled_down():
    assert read_image(png(gradient(50, 100)), "a", Limits(max_side=10)).shape == (5, 10, 3)


def test_16_bit_gray_is_scaled_not_clipped():
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(buffer, "PNG")
    assert (read_image(buffer.getvalue(), "a") == 128).all()


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 10)
    assert read_file(path, Limits(max_bytes=10)) == b"x" * 10
    with path.open("wb") as file:
        file.truncate(2**42)  # reading it would fail
    with pytest.raises(ImageRefused, match="a.png has more than 10 bytes"):
        read_file(path, Limits(max_bytes=10))
