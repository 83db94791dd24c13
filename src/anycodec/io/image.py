"""Pictures: PNG, JPEG, TIFF, WebP -> signals [H W C] -> PNG, by Pillow.

8-bit grey and RGB, 16-bit grey. Palettes become RGB, the EXIF orientation is applied, an alpha plane
is passed through untouched as the attachment "alpha" (zlib of H x W bytes).
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps

from anycodec.atomic import atomic_write
from anycodec.config.data import ImageSource
from anycodec.errors import DataError
from anycodec.io.base import Format, Reader
from anycodec.io.discover import label_of
from anycodec.io.folder import write_folder
from anycodec.io.values import cast, inflate
from anycodec.types import FileInfo, Signal, SignalInfo

ALPHA = "alpha"
FOLDER = "folder"
"""Entry of the metadata of pictures that were joined: their ids are their names below a folder."""
_KINDS = ("PNG", "JPEG", "TIFF", "WEBP")
_GREY = ("1", "L", "LA", "La")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N")
_QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""

_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    RuntimeError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on damaged files."""


class ImageFormat(Format[ImageSource]):
    """Pictures, one signal a file; several that were joined become a folder of files."""

    name = "image"
    suffixes = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")

    def open(self, path: Path, source: ImageSource) -> ImageReader:
        return ImageReader(path, source)

    def write(self, path: Path, info: FileInfo, segments: Iterable[Signal]) -> None:
        if info.meta.get(FOLDER):
            write_folder(path, ((picture.info.id, _png(picture, path)) for picture in segments))
        else:
            (picture,) = segments
            atomic_write(path, _png(picture, path))

    def join(self, file: FileInfo, more: FileInfo) -> FileInfo:
        meta = {**file.meta, FOLDER: True}
        return replace(file, n_signals=file.n_signals + more.n_signals, meta=meta)

    def placed(self, info: SignalInfo, file: FileInfo, more: FileInfo) -> SignalInfo:
        return replace(info, id=info.id or more.path)

    def restored_name(self, original: str, info: FileInfo) -> str:
        name = PurePath(original)
        return name.stem if info.meta.get(FOLDER) else str(name.with_suffix(".png"))


class ImageReader(Reader):
    """An open picture. Decoded only when its values are asked for."""

    def __init__(self, path: Path, source: ImageSource) -> None:
        self._path = path
        with _damage(path):
            self._image = Image.open(path, formats=_KINDS)
        try:
            with _damage(path):
                self._signal = _describe(self._image, path, source)
        except DataError:
            self._image.close()
            raise
        self.info = FileInfo(path=str(path), format="image", n_signals=1)

    def signals(self) -> Iterator[SignalInfo]:
        yield self._signal

    def segments(self, block: int) -> Iterator[Signal]:
        yield self.fetch(0, 0, 1)

    def fetch(self, index: int, start: int, stop: int) -> Signal:
        with _damage(self._path):
            values, alpha = _decode(self._image, self._signal)
        attachments = {} if alpha is None else {ALPHA: zlib.compress(alpha.tobytes(), 9)}
        return Signal(info=self._signal, values=values, attachments=attachments)

    def close(self) -> None:
        self._image.close()


def _png(picture: Signal, path: Path) -> bytes:
    """A picture as a PNG file; `path` says in an error which."""
    height, width, channels = picture.info.shape
    values = cast(picture.values, np.dtype(picture.info.dtype))
    image = Image.fromarray(values[:, :, 0] if channels == 1 else values)
    if ALPHA in picture.attachments:
        plane = inflate(picture.attachments[ALPHA], height * width)
        if len(plane) != height * width:
            raise DataError("the alpha plane does not fit the picture", where=str(path))
        image.putalpha(Image.frombytes("L", (width, height), plane))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _describe(image: ImageFile.ImageFile, path: Path, source: ImageSource) -> SignalInfo:
    """Shape and type from the header alone.

    Raises:
        DataError: more than one picture, or a pixel type that would lose bits.
    """
    n_pictures = getattr(image, "n_frames", 1)
    if n_pictures > 1 and image.format != "MPO":  # phones: the first is the picture, others are aids
        raise DataError(
            f"the file holds {n_pictures} pictures, one is expected",
            where=str(path),
            how="save its pages or frames as files of their own",
        )
    if image.mode not in _GREY + _COLOUR + _GREY_16 or _loses_bits(image):
        raise DataError(
            f"pixels of this type are not supported: {_pixel_type(image)}",
            where=str(path),
            how="convert it to 8-bit grey or RGB, or to 16-bit grey",
        )
    width, height = image.size
    if image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNS:
        width, height = height, width
    colour, deep = image.mode in _COLOUR, image.mode in _GREY_16
    return SignalInfo(
        id="",
        axes="HWC",
        shape=(height, width, 3 if colour else 1),
        dtype="uint16" if deep else "uint8",
        unit="level",
        channels=("red", "green", "blue") if colour else ("grey",),
        value_range=(0.0, 65535.0 if deep else 255.0),
        label=label_of(path, source.root),
    )


def _decode(
    image: Image.Image, info: SignalInfo
) -> tuple[NDArray[np.uint8 | np.uint16], NDArray[np.uint8] | None]:
    """Values [H W C], and the alpha plane [H W] where there is one."""
    upright = ImageOps.exif_transpose(image)
    if info.dtype == "uint16":
        return np.asarray(upright).astype(np.uint16)[:, :, None], None
    mode = "RGB" if info.n_channels == 3 else "L"
    if not upright.has_transparency_data:
        return np.array(upright.convert(mode)).reshape(info.shape), None
    *colours, alpha = upright.convert("RGBA" if mode == "RGB" else "LA").split()
    return np.stack([np.asarray(colour) for colour in colours], axis=-1), np.asarray(alpha)


def _loses_bits(image: ImageFile.ImageFile) -> bool:
    """Pillow reads deep colour pictures with 8 bits a channel, without a word."""
    return image.mode not in _GREY_16 and ";16" in _pixel_type(image)


def _pixel_type(image: ImageFile.ImageFile) -> str:
    """Mode of the picture and of the stored pixels, such as "RGB (RGB;16B)"."""
    stored = {
        str(tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0]) for tile in image.tile
    }
    return f"{image.mode} ({', '.join(sorted(stored))})"


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what Pillow raises on damaged or huge files into a DataError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise DataError(
            f"the picture claims more than {limit / 1e6:.0f} million pixels",
            where=str(path),
            how="cut it into smaller pictures",
        ) from error
    except FileNotFoundError as error:
        raise DataError("the file does not exist", where=str(path)) from error
    except _DAMAGE as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"not a usable picture, it is truncated, damaged or of another kind ({detail})",
            where=str(path),
            how="replace it, or leave it out with data.exclude",
        ) from error
