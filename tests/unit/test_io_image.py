from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anycodec.config.data import ImageSource
from anycodec.errors import DataError
from anycodec.io.formats import get_format, open_file, read, write
from anycodec.types import Signal

SOURCE = ImageSource()


def single(path: Path) -> Signal:
    (signal,) = read(path, SOURCE, 1)
    return signal


def restore(path: Path) -> Image.Image:
    target = path.with_name(f"restored_{path.stem}.png")
    with open_file(path, SOURCE) as reader:
        write(target, reader.info, reader.segments(1))
    return Image.open(target)


def png(kind: int, depth: int, size: tuple[int, int], rows: bytes = b"") -> bytes:
    """A PNG as the specification says (https://www.w3.org/TR/png-3/)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_grey_and_colour_have_their_channels_and_ranges(tmp_path: Path) -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(pixels).save(tmp_path / "rgb.png")
    Image.fromarray(pixels[:, :, 0]).save(tmp_path / "grey.png")
    colour, grey = single(tmp_path / "rgb.png"), single(tmp_path / "grey.png")
    np.testing.assert_array_equal(colour.values, pixels)
    np.testing.assert_array_equal(grey.values, pixels[:, :, :1])
    assert (colour.info.channels, grey.info.channels) == (("red", "green", "blue"), ("grey",))
    assert (colour.info.axes, colour.info.value_range, colour.info.dtype) == ("HWC", (0.0, 255.0), "uint8")


def test_16_bit_grey_keeps_its_bits(tmp_path: Path) -> None:
    values = np.array([[0, 1, 255], [256, 40_000, 65_535]], np.uint16)
    (tmp_path / "a.png").write_bytes(
        png(0, 16, (3, 2), b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    )
    Image.fromarray(values).save(tmp_path / "b.tif")
    for path in (tmp_path / "a.png", tmp_path / "b.tif"):
        signal = single(path)
        np.testing.assert_array_equal(signal.values[:, :, 0], values)
        assert (signal.info.dtype, signal.info.value_range) == ("uint16", (0.0, 65535.0))
        np.testing.assert_array_equal(np.asarray(restore(path)), values)


@pytest.mark.parametrize(("kind", "samples"), [(2, 3), (6, 4), (4, 2)], ids=["rgb", "rgba", "grey+alpha"])
def test_16_bit_colour_is_refused_rather_than_cut_to_8_bits(kind: int, samples: int, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(kind, 16, (2, 2), (b"\0" + bytes(4 * samples)) * 2))
    with pytest.raises(DataError, match=r"not supported.*16"):
        open_file(path, SOURCE)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_other_pixel_types_are_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (3, 3)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="not supported"):
        open_file(tmp_path / "a.tif", SOURCE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.T,
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].T,
        8: np.rot90(pixels),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with open_file(tmp_path / "a.png", SOURCE) as reader:
        assert next(reader.signals()).shape == (*upright.shape, 1)
    np.testing.assert_array_equal(single(tmp_path / "a.png").values[:, :, 0], upright)


def test_alpha_comes_back_untouched(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert single(tmp_path / "a.png").values.shape == (6, 7, 3)
    np.testing.assert_array_equal(np.asarray(restore(tmp_path / "a.png")), pixels)


def test_palettes_become_colours(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putdata([1, 0])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(single(tmp_path / "a.png").values, [[[40, 50, 60], [10, 20, 30]]])


def test_a_decompression_bomb_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0, 8, (60_000, 60_000)))
    with pytest.raises(DataError, match="million pixels"):
        open_file(tmp_path / "a.png", SOURCE)


def test_several_pictures_in_a_file_are_refused(tmp_path: Path) -> None:
    page = Image.new("L", (3, 3))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    with pytest.raises(DataError, match="2 pictures"):
        open_file(tmp_path / "a.tif", SOURCE)


def test_decoded_floats_are_rounded_into_the_range(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((1, 4), np.uint8)).save(tmp_path / "a.png")
    with open_file(tmp_path / "a.png", SOURCE) as reader:
        info = next(reader.signals())
        values = np.array([[-3.0, 0.6, 254.7, 300.0]], np.float32)[:, :, None]
        write(tmp_path / "b.png", reader.info, [Signal(info=info, values=values)])
        assert get_format("image").restored_name("x/a.jpeg", reader.info) == "x/a.png"
    assert np.asarray(Image.open(tmp_path / "b.png")).tolist() == [[0, 1, 255, 255]]


def test_classes_come_from_folders(tmp_path: Path) -> None:
    (tmp_path / "ID_3").mkdir()
    for path in (tmp_path / "ID_3" / "a.png", tmp_path / "b.png"):
        Image.new("L", (2, 2)).save(path)
    labels = []
    for path in (tmp_path / "ID_3" / "a.png", tmp_path / "b.png"):
        with open_file(path, ImageSource(root=tmp_path)) as reader:
            labels.append(next(reader.signals()).label)
    assert labels == ["ID_3", None]


@pytest.mark.realdata
def test_the_kodak_pictures_come_back_equal(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "vision" / "kodak").glob("*.png"))[:3]
    assert files
    for original in files:
        path = tmp_path / original.name
        path.symlink_to(original)
        assert sorted(single(path).info.shape) == [3, 512, 768]
        np.testing.assert_array_equal(np.asarray(restore(path)), np.asarray(Image.open(original)))
