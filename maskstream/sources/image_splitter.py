"""Whole pictures, found in bytes that hold anything else between them."""

import re
from typing import Final

JPEG_START: Final = b"\xff\xd8\xff"
JPEG_END: Final = b"\xff\xd9"
PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""Of JPEG. The others (restarts, and 0xff as a value) stand in the middle of a scan."""
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_END_OF_PNG: Final = b"IEND"
_LONGEST_HEAD: Final = 1024
"""Bytes between two pictures: a boundary and the headers of a part."""


class ImageFinder:
    """Finds JPEGs and PNGs in bytes that arrive piece by piece.

    It walks from segment to segment, so that a thumbnail in the EXIF data of a picture is no picture of its own, and what stands
    between two pictures (boundaries, headers, text, padding) does not count, nor does what was said about their length. A
    JPEG without an end ends where the next one starts.
    """

    def __init__(self, longest: int) -> None:
        """Begin before the first byte.

        Args:
            longest: Bytes of a picture; what is longer is skipped, and no more is kept in memory.
        """
        self._longest = longest
        self._bytes = bytearray()
        """From the start of a picture on, where one has started."""
        self._at = 0
        """Where the walk goes on; may lie behind what has come."""
        self._is_jpeg: bool | None = None
        """None: no picture has started."""
        self._has_scan = False

    def push(self, piece: bytes) -> list[bytes]:
        """Take the next bytes and return the pictures that are whole by now."""
        self._bytes += piece
        found: list[bytes] = []
        while self._goes_on(found):
            pass
        if len(self._bytes) > self._longest:
            self._drop(len(self._bytes) - len(PNG_START))
        return found

    def _goes_on(self, found: list[bytes]) -> bool:
        """Go one step on; return False where that needs more bytes."""
        if self._is_jpeg is None:
            return self._seek_start()
        return self._walk_jpeg(found) if self._is_jpeg else self._walk_png(found)

    def _seek_start(self) -> bool:
        starts = [at for at in map(self._bytes.find, (JPEG_START, PNG_START)) if at >= 0]  # faster than one expression for both
        if not starts:
            del self._bytes[: -len(PNG_START)]
            return False
        del self._bytes[: min(starts)]
        self._is_jpeg = self._bytes.startswith(JPEG_START)
        self._at = 2 if self._is_jpeg else len(PNG_START)
        self._has_scan = False
        return True

    def _walk_jpeg(self, found: list[bytes]) -> bool:
        marker = _MARKER.search(self._bytes, self._at)
        if marker is None:
            self._at = max(self._at, len(self._bytes) - 1)  # the first half of a marker may be there
            return False
        kind, behind = self._bytes[marker.end() - 1], marker.end()
        if kind == _EOI:
            if self._has_scan:
                found.append(bytes(self._bytes[:behind]))
            self._drop(behind)
            return True
        if len(self._bytes) < behind + 2:
            self._at = marker.start()
            return False
        if kind != _SOI:
            self._has_scan |= kind == _SOS
            self._at = behind + int.from_bytes(self._bytes[behind : behind + 2], "big")
        elif self._bytes[behind] == JPEG_START[-1]:
            if self._has_scan:
                found.append(_without_head(self._bytes[: marker.start()]))
            self._drop(marker.start())
        else:
            self._at = behind
        return True

    def _walk_png(self, found: list[bytes]) -> bool:
        """Go on to the next chunk: its length, its kind, as many bytes, and a check sum."""
        if len(self._bytes) < self._at + 8:
            return False
        length = int.from_bytes(self._bytes[self._at : self._at + 4], "big")
        behind = self._at + 12 + length
        if self._bytes[self._at + 4 : self._at + 8] != _END_OF_PNG:
            if behind > self._longest:
                self._drop(len(PNG_START))
            else:
                self._at = behind
        elif len(self._bytes) < behind:
            return False
        else:
            found.append(bytes(self._bytes[:behind]))
            self._drop(behind)
        return True

    def _drop(self, number: int) -> None:
        """Forget so many bytes, and look for the start of a picture behind them."""
        del self._bytes[:number]
        self._is_jpeg = None


def _without_head(image: bytearray) -> bytes:
    """Return a JPEG that has no end without the boundary and the headers that follow it."""
    boundary = image.rfind(b"\n--", -_LONGEST_HEAD)
    return bytes(image[:boundary]).removesuffix(b"\r") if boundary > 0 else bytes(image)
