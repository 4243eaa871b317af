"""Read Motion JPEG: images that a server sends in sequence in one answer, with any data between them."""

import re
from collections.abc import Iterator
from typing import Final, Protocol

from maskstream.io.jpeg import JPEG_END, JPEG_START
from maskstream.sources.image_splitter import PNG_START, ImageSplitter

MJPEG_FORMATS: Final = ("mpjpeg", "png_pipe")
"""FFmpeg's names of the output of `MjpegReader`; FFmpeg assumes 25 fps for them."""
_CHUNK: Final = 32768
_MAX_PREAMBLE: Final = 4096
_PART: Final = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"
_OTHER_TEXT: Final = (b"#EXT", b"<", b"ffconcat", b"v=0")
"""Beginnings of playlists, web pages and stream descriptions."""
_HEADER: Final = re.compile(rb"^content-(?:type|length)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_BINARY: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f-\xff]")


class ByteReader(Protocol):
    """The data that a server sends."""

    name: str

    def peek(self, least: int) -> bytes:
        """Return at least `least` first bytes; fewer only if the answer ends earlier. `read` returns them again."""
        ...

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; nothing at the end."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class MjpegReader:
    """The images of an answer as a file for `av.open`.

    FFmpeg's demuxer of multipart answers requires parts labelled `image/jpeg`, boundaries with dashes, and correct lengths.
    Therefore it gets JPEGs in such parts. It gets PNGs in sequence without parts.
    """

    def __init__(self, source: ByteReader, max_bytes: int, *, keep_incomplete: bool = False) -> None:
        """Read until the first image is complete.

        Args:
            source: The data of the server.
            max_bytes: Size of one image.
            keep_incomplete: Whether to keep JPEGs whose end did not arrive.

        Raises:
            av.FFmpegError: The connection broke off.
            LimitReached: A limit was reached.
        """
        self._keep_incomplete = keep_incomplete
        self.name = source.name
        self._source = source
        self._splitter = ImageSplitter(max_bytes)
        self._parts = self._read_parts()
        self._part = next(self._parts, b"")
        self._at = 0
        self.format = "png_pipe" if self._part.startswith(PNG_START) else "mpjpeg"
        """FFmpeg's name of the format."""

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; nothing at the end.

        Raises:
            av.FFmpegError: The connection broke off.
            LimitReached: A limit was reached.
        """
        if self._at == len(self._part):
            self._part, self._at = next(self._parts, b""), 0
        chunk = self._part[self._at : self._at + size]
        self._at += len(chunk)
        return chunk

    def close(self) -> None:
        """End the connection."""
        self._source.close()

    def _read_parts(self) -> Iterator[bytes]:
        """Yield the images of the same type as the first one, in the form that FFmpeg reads.

        If a server sends end markers, a JPEG without one is incomplete. FFmpeg would show it. Its first bytes alone are reported
        as damaged.
        """
        kind, has_ends = None, False
        while chunk := self._source.read(_CHUNK):
            for image in self._splitter.push(chunk):
                kind = kind or image[: len(JPEG_START)]
                has_end = image.endswith(JPEG_END)
                is_incomplete = has_ends and not has_end
                has_ends = has_ends or has_end
                if not image.startswith(kind):
                    continue
                if kind != JPEG_START:
                    yield image
                    continue
                sent = JPEG_START if is_incomplete and not self._keep_incomplete else image
                yield _PART % (len(sent), sent)


def first_image(source: ByteReader, max_bytes: int) -> bytes | None:
    """Return the first image of a server, and read no further; None if the answer ends before it is complete.

    Args:
        source: The data of the server.
        max_bytes: Size of the image.

    Raises:
        av.FFmpegError: The connection broke off.
        LimitReached: A limit was reached.
    """
    splitter = ImageSplitter(max_bytes)
    while chunk := source.read(_CHUNK):
        images = splitter.push(chunk)
        if images:
            return images[0]
    return None


def is_mjpeg(source: ByteReader, *, has_length: bool) -> bool:
    """Return whether a server sends images in sequence, by the beginning of the data.

    Args:
        source: The data of the server; only as much is read as the decision needs.
        has_length: Whether the server stated a length. Then an image at the beginning is the complete answer.

    Raises:
        av.FFmpegError: The connection broke off.
        LimitReached: The time limit has passed.
    """
    head = source.peek(len(PNG_START))
    while head:
        verdict = _begins_mjpeg(head, has_length)
        if verdict is not None:
            return verdict
        more = source.peek(len(head) + 1)
        if len(more) == len(head):
            return False
        head = more
    return False


def _begins_mjpeg(head: bytes, has_length: bool) -> bool | None:
    """Return whether data begins with images and headers between them; None if more data is needed."""
    text = head.lstrip()
    if text.startswith(JPEG_START):
        return not has_length
    if text.startswith(b"--"):
        return True
    preamble = text.partition(JPEG_START)[0].removesuffix(JPEG_START[:2]).removesuffix(JPEG_START[:1])
    if text.startswith(_OTHER_TEXT) or _BINARY.search(preamble) or len(preamble) > _MAX_PREAMBLE:
        return False
    return True if _HEADER.search(preamble) or JPEG_START in text else None
