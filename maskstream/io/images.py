"""Read image files into BGR arrays and write them, through Pillow."""

import math
import os
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from maskstream.errors import SinkError
from maskstream.io.files import one_line, replace_file
from maskstream.io.image_formats import FORMATS, SAVE_OPTIONS
from maskstream.io.image_opening import DAMAGED, SUBFILE_TYPE, TURNS, image_header, opened_image, orientation_of, reason_of
from maskstream.types import BgrImage

_READ_ALONE_FROM_PIXELS: Final = 25_000_000  # 10 bytes of memory per pixel while it is decoded
_READING_ALONE: Final = Lock()
_FIRST_ON_ITS_SIDE: Final = 5
_MAY_BE_SEVERAL: Final = ("AVIF", "MPO", "PNG", "TIFF", "WEBP")
COUNTED: Final = 100
"""The maximum number of further images in one file that are counted."""
_NO_PAGE: Final = 0b101
"""Bits of TIFF's NewSubfileType: a copy of lower resolution, a transparency mask."""
_PNG_METADATA: Final = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")


def read_image(path_or_bytes: str | bytes) -> BgrImage:
    """Decode an image as viewers show it: upright, on white where it is transparent; of an animation the first image.

    Args:
        path_or_bytes: Path of a file, or the content of a file.

    Returns:
        (H, W, 3) uint8, blue first, contiguous. More than 8 bits are scaled down.

    Raises:
        SourceError: The image cannot be read. The message has the reason and advice, but not the name, which the caller knows.
    """
    with opened_image(path_or_bytes) as opened:
        return _decode(opened)


@dataclass(frozen=True)
class ImageShape:
    """Size and orientation in the header of an image."""

    width: int
    """Pixels of the upright image, as `read_image` returns it."""
    height: int
    orientation: int = 1
    """EXIF orientation of the stored image, 1 to 8."""
    further: int = 0
    """Images or pages after the first one, which is the one that is read; at most `COUNTED`."""

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height as stored, before the image is turned upright."""
        return (self.height, self.width) if self.orientation >= _FIRST_ON_ITS_SIDE else (self.width, self.height)


def image_shape(path_or_bytes: str | bytes) -> ImageShape:
    """Return size and orientation from the header alone.

    Raises:
        SourceError: As `read_image`. Damage after the header is not detected.
    """
    with opened_image(path_or_bytes) as opened, image_header(opened) as stored:
        # Pillow would decode a complete PNG to search for metadata after its pixels.
        exif = Image.Image.getexif if stored.format == "PNG" and not _has_late_metadata(opened) else type(stored).getexif
        orientation = orientation_of(stored, exif)
        width, height = stored.size
        if orientation >= _FIRST_ON_ITS_SIDE and stored.format != "TIFF":  # Pillow turns the size of a TIFF itself
            width, height = height, width
        return ImageShape(width, height, orientation, _further_images(stored))


def _further_images(stored: Image.Image) -> int:
    """Return the number of images after the first one.

    In a JPEG only images of the same size count: others are previews or brightness maps. In a TIFF reduced copies and masks do
    not count. Damage ends the count.
    """
    if stored.format not in _MAY_BE_SEVERAL or not getattr(stored, "is_animated", False):
        return 0
    if stored.format not in ("MPO", "TIFF"):
        return min(int(getattr(stored, "n_frames", 1)) - 1, COUNTED)
    size, further = stored.size, 0
    with suppress(*DAMAGED):
        for number in range(1, COUNTED + 1):
            stored.seek(number)
            is_page = isinstance(stored, TiffImagePlugin.TiffImageFile) and not stored.tag_v2.get(SUBFILE_TYPE, 0) & _NO_PAGE
            further += is_page or (stored.format == "MPO" and stored.size == size)
    return further


def image_size(path: str) -> tuple[int, int]:
    """Return width and height of the upright image; see `image_shape`."""
    shape = image_shape(path)
    return shape.width, shape.height


def write_image(path: Path, bgr: BgrImage) -> None:
    """Write an image in the format of its suffix. A reader finds either the earlier or the complete file.

    Args:
        path: Ends in one of `WRITABLE_SUFFIXES`.
        bgr: (H, W, 3) uint8, blue first.

    Raises:
        SinkError: The image cannot be written. No partial file remains.
    """
    kind = FORMATS[path.suffix.lower()]
    encoded = BytesIO()
    try:
        Image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)).save(encoded, kind, **SAVE_OPTIONS.get(kind, {}))
    except (OSError, ValueError, RuntimeError) as error:
        raise SinkError(f"{one_line(str(path))}: cannot be written: {reason_of(error)}; choose another format") from error
    replace_file(path, encoded.getbuffer())


def _decode(file: BinaryIO) -> BgrImage:
    with image_header(file) as stored:
        is_large = math.prod(stored.size) >= _READ_ALONE_FROM_PIXELS
        with _READING_ALONE if is_large else nullcontext():
            return _pixels(stored)


def _pixels(stored: Image.Image) -> BgrImage:
    stored.load()
    turn = TURNS.get(orientation_of(stored))
    image = stored if turn is None else stored.transpose(turn)
    if image.mode[0] in "IF":
        return np.asarray(cv2.cvtColor(_to_8_bits(np.asarray(image)), cv2.COLOR_GRAY2BGR), np.uint8)
    return np.asarray(cv2.cvtColor(np.asarray(_opaque(image)), cv2.COLOR_RGB2BGR), np.uint8)


def _has_late_metadata(png: BinaryIO) -> bool:
    """Return whether metadata follows the pixels; the position in the file is kept."""
    before = png.tell()
    try:
        png.seek(8)
        pixels = False
        while len(head := png.read(8)) == 8 and head[4:] != b"IEND":
            pixels |= head[4:] == b"IDAT"
            if pixels and head[4:] in _PNG_METADATA:
                return True
            png.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
        return False
    finally:
        png.seek(before)


def _to_8_bits(grey: NDArray[Any]) -> BgrImage:
    """Scale grey of 16 or 32 bits. White is 65535; in floating point it is 1, or the maximum where that is higher."""
    if grey.dtype.itemsize == 2:
        return (grey >> 8).astype(np.uint8)
    values = np.nan_to_num(grey.astype(np.float32), nan=0, posinf=0, neginf=0)
    black = min(0.0, float(values.min()))
    white = max(1.0 if grey.dtype.kind == "f" else 65535.0, float(values.max()))
    return ((values - black) * (255 / (white - black))).round().astype(np.uint8)


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(rgba, mask=rgba)
    return paper
