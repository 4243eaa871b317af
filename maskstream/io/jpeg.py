"""Walk the segments of JPEG data: find where an image ends, and whether another one follows it."""

import re
from typing import Final, NamedTuple

JPEG_START: Final = b"\xff\xd8\xff"
JPEG_END: Final = b"\xff\xd9"
SOI: Final = 0xD8
EOI: Final = 0xD9
SOS: Final = 0xDA
_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""The other codes occur inside a scan: restart markers, and 0 after a value of 0xFF."""
_MULTI_PICTURE: Final = b"MPF\0"
"""A JPEG with this tag contains further ones: previews, gain maps, the second view of a stereo camera (CIPA DC-007)."""
_PADDING: Final = b"\0\r\n\t "
_CHUNK: Final = 1 << 20


class Marker(NamedTuple):
    """A marker of a JPEG."""

    code: int
    """Its second byte."""
    start: int
    """Where its 0xFF is."""
    end: int
    """The first byte after the marker."""


class JpegSegments:
    """Walk from marker to marker in the data of one JPEG, which may still grow.

    Segments with a length are skipped, so that a thumbnail in the EXIF data is not found. No byte is read twice.
    """

    def __init__(self) -> None:
        """Begin after the first marker."""
        self._at = 2

    def next_marker(self, data: bytes | bytearray) -> Marker | None:
        """Return the next marker; None until more data has arrived.

        Args:
            data: All that has arrived of the JPEG, from its first byte on.
        """
        found = _MARKER.search(data, self._at)
        if found is None:
            self._at = max(self._at, len(data) - 1)  # the last byte may be the first half of a marker
            return None
        marker = Marker(data[found.end() - 1], found.start(), found.end())
        if marker.code != EOI and len(data) < marker.end + 2:
            self._at = marker.start
            return None
        has_length = marker.code not in (SOI, EOI)
        self._at = marker.end + (int.from_bytes(data[marker.end : marker.end + 2], "big") if has_length else 0)
        return marker

    def find_end(self, data: bytes | bytearray) -> int | None:
        """Return where the JPEG ends; None until its end has arrived.

        Args:
            data: As for `next_marker`.
        """
        while marker := self.next_marker(data):
            if marker.code == EOI:
                return marker.end
        return None


class JpegSequenceDetector:
    """Distinguish one JPEG from several in sequence with nothing but padding between them (Motion JPEG)."""

    def __init__(self) -> None:
        """Begin without data."""
        self._segments = JpegSegments()
        self._end: int | None = None

    @property
    def is_first_complete(self) -> bool:
        """Whether the end of the first JPEG has arrived."""
        return self._end is not None

    def has_second(self, data: bytes | bytearray) -> bool:
        """Return whether another JPEG follows the first one.

        Args:
            data: All that has arrived, from its first byte on.
        """
        if not data.startswith(JPEG_START):
            return False
        if self._end is None:
            self._end = self._segments.find_end(data)
        if self._end is None or _MULTI_PICTURE in data[: min(self._end, _CHUNK)]:
            return False
        return data[self._end : self._end + _CHUNK].lstrip(_PADDING).startswith(JPEG_START)
