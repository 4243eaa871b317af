"""Detect the kind of a file by its first bytes, because names and media types are often wrong."""

import os
import re
from pathlib import Path
from stat import S_ISREG
from typing import Final, Literal

from maskstream.io.image_formats import IMAGE_SUFFIXES
from maskstream.io.jpeg import JPEG_START, JpegSequenceDetector

Content = Literal["picture", "video", "multipart", "hls", "sdp", "ffconcat", "page"]

START_BYTES: Final = 64
"""The number of bytes that `content_of` checks."""
_IMAGES: Final = (
    *(JPEG_START, b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # TIFF, and BigTIFF
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),  # JPEG 2000, in a file and bare
)
_RIFF: Final = {b"WEBP": "picture", b"AVI ": "video"}
_BMP_HEADERS: Final = (12, 16, 40, 52, 56, 64, 108, 124)
_PPM: Final = re.compile(rb"P[1-6][ \t\r\n]+(?:#|\d)")
_IMAGE_BRANDS: Final = re.compile(rb"avi[fs]|he[iv].|m[is]f1")
"""AVIF and HEIC use the container of MP4."""
_VIDEOS: Final = (
    *(b"GIF8", b"\x1aE\xdf\xa3", b"FLV\x01", b"OggS", b"\0\0\x01\xba", b"\0\0\x01\xb3"),  # GIF, Matroska, FLV, Ogg, MPEG
    *(b"0&\xb2u\x8ef\xcf\x11", b"DKIF", b"YUV4MPEG2 "),  # ASF, IVF, Y4M
)
_MP4_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"styp", b"free", b"skip")
_BOX_HEAD: Final = 8
"""Bytes of size and kind before the content of a box."""
_TS_PACKET: Final = 188
_PAGE: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body)", re.IGNORECASE)
_LISTS: Final[dict[Content, tuple[bytes, ...]]] = {
    "hls": (b"#EXTM3U",),
    "sdp": (b"v=0\n", b"v=0\r", b"\xef\xbb\xbfv=0"),
    "ffconcat": (b"ffconcat version",),
}
"""Files that contain other file names or addresses."""
_CHUNK: Final = 1 << 20
_LARGEST_JPEG: Final = 1 << 28


def content_of(start: bytes) -> Content | None:
    """Return the kind of content that begins with these bytes; None where it is not detected, as for damaged files and text.

    Args:
        start: The first `START_BYTES`, or all bytes where there are fewer. MPEG-TS is detected only with the second packet.
    """
    if _is_image(start):
        return "picture"
    if start.startswith(_VIDEOS) or start[4:8] in _MP4_BOXES or _RIFF.get(_riff(start)) == "video" or _is_mpeg_ts(start):
        return "video"
    for content, begins in _LISTS.items():
        if start.startswith(begins):
            return content
    if _PAGE.match(start):
        return "page"
    return "multipart" if start.lstrip().startswith(b"--") else None


def _is_image(start: bytes) -> bool:
    is_bmp = start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BMP_HEADERS
    is_brand = start[4:8] == b"ftyp" and _IMAGE_BRANDS.match(start[8:12]) is not None
    return start.startswith(_IMAGES) or is_bmp or is_brand or _RIFF.get(_riff(start)) == "picture" or bool(_PPM.match(start))


def _riff(start: bytes) -> bytes:
    return start[8:12] if start.startswith(b"RIFF") else b""


def _is_mpeg_ts(start: bytes) -> bool:
    return len(start) > _TS_PACKET and start[0] == start[_TS_PACKET] == ord("G")


def index_is_last(start: bytes) -> bool:
    """Return whether an MP4 or MOV has its frames before its index, so that it cannot be read in order (ISO/IEC 14496-12).

    Args:
        start: Its first bytes, with the heads of all boxes before both.
    """
    boxes = start
    while boxes[4:8] not in (b"mdat", b"moov", b""):
        size = int.from_bytes(boxes[:4], "big")
        boxes = boxes[size:] if size >= _BOX_HEAD else b""
    return boxes[4:8] == b"mdat"


def content_of_file(path: str) -> Content | None:
    """Return the kind of content of a file; None where it is not detected, not a regular file, or not readable.

    Pipes are not opened, because the writing process would notice. Several JPEGs in sequence are a video, unless the suffix is
    that of an image.
    """
    try:
        if not S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (Path raises for some names)
            return None
        with open(path, "rb") as file:  # noqa: PTH123 (as above)
            data = bytearray(file.read(_TS_PACKET + START_BYTES))
            if not data.startswith(JPEG_START) or Path(path).suffix.lower() in IMAGE_SUFFIXES:
                return content_of(bytes(data))
            detector = JpegSequenceDetector()
            while not (several := detector.has_second(data)) and len(data) < _LARGEST_JPEG and (chunk := file.read(_CHUNK)):
                data += chunk
            return "video" if several else "picture"
    except (OSError, ValueError):
        return None
