"""What a camera, or whoever answers in its place, may cost until it has shown its next picture."""

import ctypes
from threading import Lock
from time import monotonic
from typing import Any, Final, SupportsFloat

from av import _core

from maskstream.config.schema import NetworkConfig

_MEGA: Final = 1_000_000
_BYTES_PER_PIXEL: Final = 8
"""Of the widest pixel format of FFmpeg: four channels of 16 bits."""
_SMALLEST_BLOCK: Final = 320 * _MEGA
_MOST_CONNECTIONS: Final = 200
"""Playlists, keys and pieces that are opened before a picture comes: a large playlist needs some dozens, a loop thousands."""


class LimitReached(Exception):
    """A peer sent or claims more than it may, or too late; the message says what, and what to do."""

    def __init__(self, message: str, *, is_final: bool = True) -> None:
        """Remember whether it would be the same at the next attempt."""
        super().__init__(message)
        self.is_final = is_final


class Allowance:
    """Time, bytes and connections until the next packet, of one source over HTTP.

    `renew` begins anew when a packet has come. Whoever reads for FFmpeg tells what was read. A limit is raised once: PyAV keeps
    one exception until FFmpeg returns, and prints a second one. From then on `is_used_up`.
    """

    def __init__(self, config: NetworkConfig) -> None:
        """Begin with the time that opening may take."""
        self._max_mb = config.max_frame_mb
        self.most_bytes = round(config.max_frame_mb * _MEGA)
        """Of one picture."""
        self.is_used_up = False
        """Whether a limit was reached: nothing more is to be read."""
        self.renew(config.open_timeout_s)

    def renew(self, limit_s: float) -> None:
        """Begin anew, with so many seconds."""
        self._limit_s = limit_s
        self._deadline_s = monotonic() + limit_s
        self._bytes = 0
        self._connections = 0

    def shorten(self, limit_s: float) -> None:
        """Leave no more time than so many seconds from now on."""
        self._deadline_s = min(self._deadline_s, monotonic() + limit_s)

    @property
    def is_late(self) -> bool:
        """Whether the time is up."""
        return monotonic() > self._deadline_s

    def late(self) -> LimitReached:
        """Return what is to be said when the time is up."""
        self.is_used_up = True
        return LimitReached(
            f"no picture within {self._limit_s:g} s; check host and port, and that the camera is on", is_final=False
        )

    def __float__(self) -> float:
        """Return the seconds that are left: PyAV asks for them each time it begins to wait."""
        return max(0.001, self._deadline_s - monotonic())

    def received(self, number: int) -> None:
        """Count bytes.

        Raises:
            LimitReached: They are too many for one picture.
        """
        self._bytes += number
        if self._bytes > self.most_bytes:
            self.is_used_up = True
            raise LimitReached(
                f"more than {self._max_mb:g} MB came without a picture; if its pictures are so large, raise network.max_frame_mb"
            )

    @property
    def is_half_used(self) -> bool:
        """Whether more than half of the bytes came that may come before a picture."""
        return self._bytes > self.most_bytes / 2

    def connected(self) -> None:
        """Count a connection.

        Raises:
            LimitReached: They are too many for one picture.
        """
        self._connections += 1
        if self._connections > _MOST_CONNECTIONS:
            self.is_used_up = True
            raise LimitReached(f"its playlists led to {_MOST_CONNECTIONS} addresses and no picture; check the path")


def pyav_timeout(seconds: SupportsFloat) -> Any:
    """Return the limits on connecting and on reading that `av.open` takes: it asks for them each time it begins to wait."""
    return (seconds, seconds)


class _Blocks:
    """The largest block of memory that FFmpeg may allocate in this process: it allocates what a peer claims to send.

    It is a setting of FFmpeg for the process, therefore it follows the largest picture that any source may have.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._largest = _SMALLEST_BLOCK

    def allow(self, number: int) -> None:
        """Let FFmpeg allocate blocks of so many bytes, and of no more than any source was allowed."""
        with self._lock:
            self._largest = max(self._largest, number)
            # The library that PyAV is linked to; not found where a platform looks for names in that one file alone.
            set_largest = getattr(ctypes.CDLL(_core.__file__), "av_max_alloc", None)
            if set_largest is not None:
                set_largest(ctypes.c_size_t(self._largest))


_BLOCKS: Final = _Blocks()


def limit_memory(pixels: float, frame_bytes: float = 0) -> None:
    """Keep FFmpeg from allocating much more at a time than pictures of so many pixels, or so many compressed bytes, need."""
    _BLOCKS.allow(round(max(pixels * _BYTES_PER_PIXEL, frame_bytes)))


def limit_memory_of(config: NetworkConfig) -> None:
    """Keep FFmpeg from allocating much more at a time than the pictures of a camera need."""
    limit_memory(config.max_megapixels * _MEGA, config.max_frame_mb * _MEGA)
