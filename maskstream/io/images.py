"""Image files and BGR arrays, through Pillow."""

import math
import os
import re
import struct
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import Any, BinaryIO, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, features

from maskstream.errors import SinkError, SourceError, SourceRefused
from maskstream.io.files import one_line, replace_file
from maskstream.types import BgrImage

_HAS_AVIF: Final = "avif" in features.modules and features.check("avif")
# GIF is missing here: most are animated, and are read as video.
_FORMATS: Final = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    ".webp": "WEBP",
    **({".avif": "AVIF"} if _HAS_AVIF else {}),
    ".bmp": "BMP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "JPEG2000"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
}
_HEIF_SUFFIXES: Final = (".heic", ".heif")
_HEIC_START: Final = re.compile(rb"....ftyphe[iv]", re.DOTALL)
_HEIC_ADVICE: Final = "HEIC is not read; convert it to JPEG"
_CR2_START: Final = re.compile(rb"II\*\0....CR", re.DOTALL)
_RAW_ADVICE: Final = "camera raw is not read; develop it as JPEG"

WRITABLE_SUFFIXES: Final = tuple(_FORMATS)
"""Of the images that are read and written."""
IMAGE_SUFFIXES: Final = WRITABLE_SUFFIXES + _HEIF_SUFFIXES
"""Of all that a user would call an image: phones write HEIC, and are told what to do with it."""

# Lossless or nearly so, and quick before small.
_SAVE_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "PNG": {"compress_level": 1},
    "WEBP": {"quality": 95, "method": 2},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "TIFF": {"compression": "tiff_lzw"},
}
_LARGEST_PIXELS: Final = 500_000_000  # 5 GB while it is decoded
_READ_ALONE_FROM_PIXELS: Final = 25_000_000  # 10 bytes each while it is decoded: many at a time would take all memory
_READING_ALONE: Final = Lock()
# What Pillow raises for files that were damaged at random; warnings where somebody made errors of them.
_DAMAGED: Final = (
    *(OSError, EOFError, ValueError, TypeError, SyntaxError, RuntimeError, LookupError, ArithmeticError, MemoryError),
    *(struct.error, Image.DecompressionBombError, UserWarning),
)
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""From the image as it is stored to the upright one, by EXIF orientation."""
_FIRST_ON_ITS_SIDE: Final = 5
_MAY_BE_SEVERAL: Final = ("AVIF", "MPO", "PNG", "TIFF", "WEBP")
COUNTED: Final = 100
"""Images in one file that are counted."""
_SUBFILE_TYPE: Final = 254
_DNG_VERSION: Final = 50706
_NO_PAGE: Final = 0b101
"""Bits of TIFF's NewSubfileType: a copy of lower resolution, a mask of transparency."""
_PNG_METADATA: Final = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")


def read_image(path_or_bytes: str | bytes) -> BgrImage:
    """Decode an image as viewers show it: upright, what is transparent over white; of an animation the first image.

    Args:
        path_or_bytes: Path of a file, or what a file would hold.

    Returns:
        (H, W, 3) uint8, blue first, contiguous. More than 8 bits are scaled down, not cut off.

    Raises:
        SourceError: It cannot be read. Says why and what to do, but not which: the caller has the name.
    """
    with _readable(path_or_bytes) as opened:
        return _decode(opened)


@dataclass(frozen=True)
class ImageShape:
    """What the header of an image says of its pixels."""

    width: int
    """Pixels of the upright image, as `read_image` gives it."""
    height: int
    orientation: int = 1
    """EXIF orientation, 1 to 8, by which the stored image becomes the upright one."""
    further: int = 0
    """Images or pages behind the first, which is the one that is read; counted up to `COUNTED`."""

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height as they are stored, before the image is turned upright."""
        return (self.height, self.width) if self.orientation >= _FIRST_ON_ITS_SIDE else (self.width, self.height)


def image_shape(path_or_bytes: str | bytes) -> ImageShape:
    """Return the size that `read_image` gives, and how it is turned, from the header alone.

    Raises:
        SourceError: As `read_image`; what is damaged behind the header is not noticed.
    """
    with _readable(path_or_bytes) as opened, _stored(opened) as stored:
        # Pillow would decode a whole PNG to look for metadata behind its pixels.
        exif = Image.Image.getexif if stored.format == "PNG" and not _has_late_metadata(opened) else type(stored).getexif
        orientation = _orientation(stored, exif)
        width, height = stored.size
        if orientation >= _FIRST_ON_ITS_SIDE and stored.format != "TIFF":  # whose size Pillow turns itself
            width, height = height, width
        return ImageShape(width, height, orientation, _further_images(stored))


def _further_images(stored: Image.Image) -> int:
    """Return how many images follow the first; of a JPEG those of its size, for others are previews or maps of brightness.

    Reduced copies and masks in a TIFF are no pages. Damage ends the count.
    """
    if stored.format not in _MAY_BE_SEVERAL or not getattr(stored, "is_animated", False):
        return 0
    if stored.format not in ("MPO", "TIFF"):
        return min(int(getattr(stored, "n_frames", 1)) - 1, COUNTED)
    size, further = stored.size, 0
    with suppress(*_DAMAGED):
        for number in range(1, COUNTED + 1):
            stored.seek(number)
            is_page = isinstance(stored, TiffImagePlugin.TiffImageFile) and not stored.tag_v2.get(_SUBFILE_TYPE, 0) & _NO_PAGE
            further += is_page or (stored.format == "MPO" and stored.size == size)
    return further


def image_size(path: str) -> tuple[int, int]:
    """Return width and height that `read_image` gives; see `image_shape`."""
    shape = image_shape(path)
    return shape.width, shape.height


def write_image(path: Path, bgr: BgrImage) -> None:
    """Write an image in the format of its suffix; whoever looks finds the old file or the whole new one.

    Args:
        path: Ends in one of `WRITABLE_SUFFIXES`.
        bgr: (H, W, 3) uint8, blue first.

    Raises:
        SinkError: It cannot be written; nothing is left behind.
    """
    kind = _FORMATS[path.suffix.lower()]
    encoded = BytesIO()
    try:
        Image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)).save(encoded, kind, **_SAVE_OPTIONS.get(kind, {}))
    except (OSError, ValueError, RuntimeError) as error:
        raise SinkError(f"{one_line(str(path))}: cannot be written: {_reason(error)}; choose another format") from error
    replace_file(path, encoded.getbuffer())


def natural_order(paths: Iterable[str]) -> list[str]:
    """Sort paths as people count: `image_2` before `image_10`, a folder at a time, small letters as capitals."""
    return sorted(paths, key=lambda path: ([_numbers_apart(part) for part in Path(path).parts], path))


def _numbers_apart(name: str) -> list[str | int]:
    """Return text and numbers in turn, text first: `a10.jpg` becomes `["a", 10, ".jpg"]`."""
    return [int(part) if odd % 2 else part.casefold() for odd, part in enumerate(re.split(r"(\d+)", name))]


@contextmanager
def _readable(path_or_bytes: str | bytes) -> Generator[BinaryIO, None, None]:
    """Open what may be an image; whatever fails meanwhile is a `SourceError`."""
    file = None if isinstance(path_or_bytes, bytes) else Path(path_or_bytes)
    try:
        with (
            _LARGE_IMAGES,
            BytesIO(path_or_bytes) if isinstance(path_or_bytes, bytes) else _opened(Path(path_or_bytes)) as opened,
        ):
            start = opened.read(12)
            if _HEIC_START.match(start):  # whatever its name
                raise SourceRefused(_HEIC_ADVICE)
            if _CR2_START.match(start):
                raise SourceRefused(_RAW_ADVICE)
            yield opened
    except _DAMAGED as error:
        raise SourceError(_why_unreadable(file, error)) from error


def _opened(file: Path) -> BinaryIO:
    status = file.stat()
    if not S_ISREG(status.st_mode):
        raise SourceError("not a file; give a picture")
    if status.st_size == 0:
        raise SourceError("the file is empty; copy it again")
    return file.open("rb")


@contextmanager
def _stored(file: BinaryIO) -> Generator[Image.Image, None, None]:
    """Read the header of an image; refuse more than `_LARGEST_PIXELS` before memory is taken for them.

    The first image in camera raw, which is a TIFF, is a small copy of what the camera saw.
    """
    with Image.open(file, formats=sorted(set(_FORMATS.values()))) as stored:
        if isinstance(stored, TiffImagePlugin.TiffImageFile) and (
            stored.tag_v2.get(_SUBFILE_TYPE, 0) & 1 or _DNG_VERSION in stored.tag_v2
        ):
            raise SourceRefused(_RAW_ADVICE)
        if math.prod(stored.size) > _LARGEST_PIXELS:
            raise Image.DecompressionBombError
        yield stored


class _LargeImages:
    """Lifts Pillow's limit, which is made for servers, while images are read: phones take some of 200 megapixels.

    The limit is global and looked at both when a file is opened and when it is decoded. It stays lifted while any thread reads.
    A higher one would not do: Pillow warns above it, on standard error, and refuses twice as much.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._readers = 0
        self._before = Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            if not self._readers:
                self._before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._readers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                Image.MAX_IMAGE_PIXELS = self._before


_LARGE_IMAGES: Final = _LargeImages()


def _decode(file: BinaryIO) -> BgrImage:
    with (
        _stored(file) as stored,
        _READING_ALONE if math.prod(stored.size) >= _READ_ALONE_FROM_PIXELS else nullcontext(),
    ):
        return _pixels(stored)


def _pixels(stored: Image.Image) -> BgrImage:
    stored.load()
    turn = _TURNS.get(_orientation(stored))
    image = stored if turn is None else stored.transpose(turn)
    if image.mode[0] in "IF":
        return np.asarray(cv2.cvtColor(_to_8_bits(np.asarray(image)), cv2.COLOR_GRAY2BGR), np.uint8)
    return np.asarray(cv2.cvtColor(np.asarray(_opaque(image)), cv2.COLOR_RGB2BGR), np.uint8)


def _orientation(image: Image.Image, exif: Callable[[Any], Image.Exif] | None = None) -> int:
    """Return the EXIF orientation; 1, upright, where the metadata is damaged, which is no reason to lose the image."""
    try:
        orientation = int((exif or type(image).getexif)(image).get(ExifTags.Base.Orientation, 1))
    except _DAMAGED:
        return 1
    return orientation if orientation in _TURNS else 1


def _has_late_metadata(png: BinaryIO) -> bool:
    """Return whether metadata follows the pixels; leaves the file where it was."""
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
    """Scale grey of 16 or 32 bits: white is 65535, in floating point 1, or what is brighter than that."""
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


def _why_unreadable(file: Path | None, error: BaseException) -> str:
    """Return what is wrong with an image; `file` is None for one that is in memory, which nobody can copy again."""
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {_LARGEST_PIXELS // 1_000_000} megapixels; scale it down"
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read: {error.strerror}; check the file"
    if file is not None and file.suffix.lower() in _HEIF_SUFFIXES:
        return _HEIC_ADVICE
    if isinstance(error, UnidentifiedImageError):
        return "not a picture, damaged, or of a kind that is not read; convert it to JPEG"
    if "truncated" in str(error).lower():
        return "it is cut short" if file is None else "the file is cut short; copy it again"
    advice = "convert it to JPEG" if file is None else "copy it again or convert it to JPEG"
    return f"cannot be decoded: {_reason(error)}; {advice}"


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
