"""Find complete JPEG and PNG images in data that contains other bytes between them."""

from typing import Final

from maskstream.io.jpeg import EOI, JPEG_START, SOI, SOS, JpegSegments

PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END_CHUNK: Final = b"IEND"
_MAX_HEADER_BYTES: Final = 1024
"""Between two images: a boundary and the headers of a part."""


class ImageSplitter:
    """Find JPEGs and PNGs in data that arrives in chunks.

    It walks from segment to segment, so that a thumbnail in the EXIF data of an image is not a separate image. The data between
    two images (boundaries, headers, text, padding) is ignored, including any length that it states. A JPEG without an end marker
    ends at the start of the next one.
    """

    def __init__(self, max_bytes: int) -> None:
        """Begin before the first byte.

        Args:
            max_bytes: Size of an image. Larger ones are skipped, and no more is kept in memory.
        """
        self._max_bytes = max_bytes
        self._data = bytearray()
        """From the start of the current image on, if one has started."""
        self._jpeg: JpegSegments | None = None
        self._png_at: int | None = None
        """Position of the next PNG chunk; may be after the data that has arrived."""
        self._has_scan = False

    def push(self, chunk: bytes) -> list[bytes]:
        """Add the next bytes and return the images that are complete now."""
        self._data += chunk
        found: list[bytes] = []
        has_step = True
        while has_step:
            if self._jpeg is not None:
                has_step = self._step_jpeg(self._jpeg, found)
            elif self._png_at is not None:
                has_step = self._step_png(self._png_at, found)
            else:
                has_step = self._find_start()
        if len(self._data) > self._max_bytes:
            self._drop(len(self._data) - len(PNG_START))
        return found

    def _find_start(self) -> bool:
        """Go to the next image; return False, as each step does, if it needs more data."""
        starts = [at for at in map(self._data.find, (JPEG_START, PNG_START)) if at >= 0]  # faster than one expression for both
        if not starts:
            del self._data[: -len(PNG_START)]
            return False
        del self._data[: min(starts)]
        if self._data.startswith(JPEG_START):
            self._jpeg, self._has_scan = JpegSegments(), False
        else:
            self._png_at = len(PNG_START)
        return True

    def _step_jpeg(self, segments: JpegSegments, found: list[bytes]) -> bool:
        marker = segments.next_marker(self._data)
        if marker is None:
            return False
        if marker.code == EOI:
            if self._has_scan:
                found.append(bytes(self._data[: marker.end]))
            self._drop(marker.end)
        elif marker.code == SOI and self._data[marker.end] == JPEG_START[-1]:
            if self._has_scan:
                image = bytes(self._data[: marker.start])
                boundary = image.rfind(b"\n--", -_MAX_HEADER_BYTES)  # with the headers of the next image after it
                found.append(image[:boundary].removesuffix(b"\r") if boundary > 0 else image)
            self._drop(marker.start)
        else:
            self._has_scan |= marker.code == SOS
        return True

    def _step_png(self, at: int, found: list[bytes]) -> bool:
        """Go to the next chunk of a PNG: 4 bytes of length, 4 of type, the data, and 4 of checksum."""
        if len(self._data) < at + 8:
            return False
        chunk_end = at + 12 + int.from_bytes(self._data[at : at + 4], "big")
        if self._data[at + 4 : at + 8] != _PNG_END_CHUNK:
            if chunk_end > self._max_bytes:
                self._drop(len(PNG_START))
            else:
                self._png_at = chunk_end
        elif len(self._data) < chunk_end:
            return False
        else:
            found.append(bytes(self._data[:chunk_end]))
            self._drop(chunk_end)
        return True

    def _drop(self, count: int) -> None:
        """Remove bytes from the front, and look for the start of an image after them."""
        del self._data[:count]
        self._jpeg = self._png_at = None
