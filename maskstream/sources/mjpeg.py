"""Pictures that a server sends one after the other in one answer (Motion JPEG), whatever it puts between them."""

import re
from collections.abc import Iterator
from typing import Final, Protocol

from maskstream.sources.image_splitter import JPEG_END, JPEG_START, PNG_START, ImageFinder

MJPEG_FORMATS: Final = ("mpjpeg", "png_pipe")
"""FFmpeg's names of what `Mjpeg` gives; it assumes 25 pictures a second there."""
_PIECE: Final = 32768
_LONGEST_PREAMBLE: Final = 4096
_PART: Final = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"
_OTHER_TEXT: Final = (b"#EXT", b"<", b"ffconcat", b"v=0")
"""What playlists, pages and descriptions of streams begin with."""
_HEADER: Final = re.compile(rb"^content-(?:type|length)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_BINARY: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f-\xff]")


class Bytes(Protocol):
    """What a server sends."""

    name: str

    def peek(self, least: int) -> bytes:
        """Return the first bytes, so many or more; fewer only where the answer ends before. They are read later all the same."""
        ...

    def read(self, size: int) -> bytes:
        """Return up to so many bytes, none at the end."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class Mjpeg:
    """The pictures among the bytes of a server, for `av.open` to read.

    FFmpeg's own demuxer of multipart answers wants each part to be labelled `image/jpeg`, each boundary to have dashes, and each
    length to be right. Therefore it is given parts that are so. PNGs it is given one after the other.
    """

    def __init__(self, source: Bytes, most_bytes: int, *, keeps_torn: bool = False) -> None:
        """Read until the first picture is whole.

        Args:
            source: What comes from the server.
            most_bytes: Of one picture.
            keeps_torn: Whether a JPEG counts of which a part did not arrive.

        Raises:
            av.FFmpegError: The connection broke.
            LimitReached: More came than may come before a picture, or the time is up.
        """
        self._keeps_torn = keeps_torn
        self.name = source.name
        self._source = source
        self._finder = ImageFinder(most_bytes)
        self._parts = self._read_parts()
        self._part = next(self._parts, b"")
        self._at = 0
        self.format = "png_pipe" if self._part.startswith(PNG_START) else "mpjpeg"
        """FFmpeg's name of it."""

    def read(self, size: int) -> bytes:
        """Return up to so many bytes, none at the end.

        Raises:
            av.FFmpegError: The connection broke.
            LimitReached: More came than may come before a picture, or the time is up.
        """
        if self._at == len(self._part):
            self._part, self._at = next(self._parts, b""), 0
        piece = self._part[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """End the connection."""
        self._source.close()

    def _read_parts(self) -> Iterator[bytes]:
        """Yield the pictures of the first one's kind as FFmpeg is to see them.

        Who ends some JPEGs ends all: one without an end is torn then. FFmpeg would show it; of its first bytes alone it says
        that they are damaged.
        """
        kind, has_ends = None, False
        while piece := self._source.read(_PIECE):
            for image in self._finder.push(piece):
                kind = kind or image[: len(JPEG_START)]
                is_torn = has_ends and not image.endswith(JPEG_END)
                has_ends = has_ends or image.endswith(JPEG_END)
                if not image.startswith(kind):
                    continue
                if kind != JPEG_START:
                    yield image
                    continue
                sent = JPEG_START if is_torn and not self._keeps_torn else image
                yield _PART % (len(sent), sent)


def first_image(source: Bytes, most_bytes: int) -> bytes | None:
    """Return the first picture of a server, and read no more; None where it ends before.

    Args:
        source: What comes from it.
        most_bytes: Of the picture.

    Raises:
        av.FFmpegError: The connection broke.
        LimitReached: More came than may come before a picture, or the time is up.
    """
    finder = ImageFinder(most_bytes)
    while piece := source.read(_PIECE):
        for image in finder.push(piece):
            return image
    return None


def is_mjpeg(source: Bytes, *, has_length: bool) -> bool:
    """Return whether what a server sends are pictures one after the other, by how it begins.

    Args:
        source: What it sends; no more is read than it takes to tell.
        has_length: Whether the server said how long it is. Then a picture at its beginning is all that there is.

    Raises:
        av.FFmpegError: The connection broke.
        LimitReached: The time is up.
    """
    head, more, verdict = b"", source.peek(len(PNG_START)), None
    while verdict is None and len(more) > len(head):
        head = more
        verdict = _begins_mjpeg(head, has_length)
        if verdict is None:
            more = source.peek(len(head) + 1)
    return bool(verdict)


def _begins_mjpeg(head: bytes, has_length: bool) -> bool | None:
    """Return whether bytes are the beginning of pictures with headers between them; None where more of them would tell."""
    text = head.lstrip()
    if text.startswith(JPEG_START):
        return not has_length
    if text.startswith(b"--"):
        return True
    words = text.partition(JPEG_START)[0].removesuffix(JPEG_START[:2]).removesuffix(JPEG_START[:1])
    if text.startswith(_OTHER_TEXT) or _BINARY.search(words) or len(words) > _LONGEST_PREAMBLE:
        return False
    return True if _HEADER.search(words) or JPEG_START in text else None
