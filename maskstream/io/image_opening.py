"""Open image files through Pillow: limits, orientation, and messages for files that cannot be read."""

import math
import re
import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import Any, BinaryIO, Final

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from maskstream.errors import SourceError, SourceRefused
from maskstream.io.image_formats import FORMATS, HEIF_SUFFIXES

_HEIC_START: Final = re.compile(rb"....ftyphe[iv]", re.DOTALL)
_HEIC_ADVICE: Final = "HEIC is not read; convert it to JPEG"
_CR2_START: Final = re.compile(rb"II\*\0....CR", re.DOTALL)
_RAW_ADVICE: Final = "camera raw is not read; develop it as JPEG"
_LARGEST_PIXELS: Final = 500_000_000  # 5 GB of memory while it is decoded
DAMAGED: Final = (
    *(OSError, EOFError, ValueError, TypeError, SyntaxError, RuntimeError, LookupError, ArithmeticError, MemoryError),
    *(struct.error, Image.DecompressionBombError, UserWarning),
)
"""The exceptions of Pillow for damaged files; warnings where they are turned into errors."""
TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that turns a stored image upright, by EXIF orientation."""
SUBFILE_TYPE: Final = 254
_DNG_VERSION: Final = 50706


@contextmanager
def opened_image(path_or_bytes: str | bytes) -> Generator[BinaryIO, None, None]:
    """Open the file or bytes of an image. Any failure in this context becomes a `SourceError`."""
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
    except DAMAGED as error:
        raise SourceError(_why_unreadable(file, error)) from error


def _opened(file: Path) -> BinaryIO:
    status = file.stat()
    if not S_ISREG(status.st_mode):
        raise SourceError("not a file; give an image")
    if status.st_size == 0:
        raise SourceError("the file is empty; copy it again")
    return file.open("rb")


@contextmanager
def image_header(file: BinaryIO) -> Generator[Image.Image, None, None]:
    """Read the header of an image; refuse too many pixels before memory is allocated for them.

    Camera raw is a TIFF whose first image is a small preview; it is refused.
    """
    with Image.open(file, formats=sorted(set(FORMATS.values()))) as stored:
        if isinstance(stored, TiffImagePlugin.TiffImageFile) and (
            stored.tag_v2.get(SUBFILE_TYPE, 0) & 1 or _DNG_VERSION in stored.tag_v2
        ):
            raise SourceRefused(_RAW_ADVICE)
        if math.prod(stored.size) > _LARGEST_PIXELS:
            raise Image.DecompressionBombError
        yield stored


class _LargeImages:
    """Removes Pillow's limit on pixels while images are read: some phones take images of 200 megapixels.

    The limit is global. Pillow checks it when a file is opened and when it is decoded. It stays removed while any thread reads. A
    higher limit is not enough: Pillow prints a warning above the limit, and refuses images of twice the limit.
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


def orientation_of(image: Image.Image, exif: Callable[[Any], Image.Exif] | None = None) -> int:
    """Return the EXIF orientation; 1 (upright) where the metadata is damaged, because the image is still readable."""
    try:
        orientation = int((exif or type(image).getexif)(image).get(ExifTags.Base.Orientation, 1))
    except DAMAGED:
        return 1
    return orientation if orientation in TURNS else 1


def _why_unreadable(file: Path | None, error: BaseException) -> str:
    """Return the reason and advice for an image that cannot be read; `file` is None for bytes in memory."""
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {_LARGEST_PIXELS // 1_000_000} megapixels; scale it down"
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read: {error.strerror}; check the file"
    if file is not None and file.suffix.lower() in HEIF_SUFFIXES:
        return _HEIC_ADVICE
    if isinstance(error, UnidentifiedImageError):
        return "not an image, damaged, or in a format that is not read; convert it to JPEG"
    if "truncated" in str(error).lower():
        return "it is truncated" if file is None else "the file is truncated; copy it again"
    advice = "convert it to JPEG" if file is None else "copy it again or convert it to JPEG"
    return f"cannot be decoded: {reason_of(error)}; {advice}"


def reason_of(error: BaseException) -> str:
    """Return the message of an exception in one line, or its type where it has none."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
