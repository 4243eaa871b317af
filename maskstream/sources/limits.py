"""Limit the time, bytes, connections and memory that a network source may use for each packet."""

import ctypes
from threading import Lock
from time import monotonic
from typing import Any, Final, SupportsFloat

from av import _core

from maskstream.config.schema import NetworkConfig

_MEGA: Final = 1_000_000
_BYTES_PER_PIXEL: Final = 8
"""In the widest pixel format of FFmpeg: four channels of 16 bits."""
_MIN_BLOCK_BYTES: Final = 320 * _MEGA
_MAX_CONNECTIONS: Final = 200
"""Playlists, keys and segments opened before a frame: a large playlist needs some dozens, an endless loop thousands."""


class LimitReached(Exception):
    """A server sent or claims more than is allowed, or was too late. The message says what to do."""

    def __init__(self, message: str, *, is_final: bool = True) -> None:
        """Store whether the next attempt would fail in the same way."""
        super().__init__(message)
        self.is_final = is_final


class Allowance:
    """Time, bytes and connections that one source may use until its next packet.

    `renew` starts it again after each packet. The reader of the data calls `received` and `connected`. A limit is raised once:
    PyAV keeps one exception until FFmpeg returns, and prints a second one. After that `is_used_up` is set.
    """

    def __init__(self, config: NetworkConfig) -> None:
        """Begin with `network.open_timeout_s`."""
        self._max_mb = config.max_frame_mb
        self.max_bytes = round(config.max_frame_mb * _MEGA)
        """For one frame."""
        self.is_used_up = False
        """Whether a limit was reached; nothing more may be read."""
        self.renew(config.open_timeout_s)

    def renew(self, limit_s: float) -> None:
        """Start again with a time limit in seconds."""
        self._limit_s = limit_s
        self._deadline_s = monotonic() + limit_s
        self._bytes = 0
        self._connections = 0

    def shorten(self, limit_s: float) -> None:
        """Reduce the remaining time to at most `limit_s`."""
        self._deadline_s = min(self._deadline_s, monotonic() + limit_s)

    @property
    def is_late(self) -> bool:
        """Whether the time limit has passed."""
        return monotonic() > self._deadline_s

    def late(self) -> LimitReached:
        """Set `is_used_up` and return the error for a passed time limit."""
        self.is_used_up = True
        message = f"no frame within {self._limit_s:g} s; check host and port, and that the camera is on"
        return LimitReached(message, is_final=False)

    def __float__(self) -> float:
        """Return the remaining seconds: PyAV reads them each time it begins to wait."""
        return max(0.001, self._deadline_s - monotonic())

    def received(self, count: int) -> None:
        """Count received bytes.

        Raises:
            LimitReached: More than `network.max_frame_mb` arrived for one frame.
        """
        self._bytes += count
        if self._bytes > self.max_bytes:
            self.is_used_up = True
            raise LimitReached(
                f"more than {self._max_mb:g} MB arrived without a frame; if its frames are that large, raise network.max_frame_mb"
            )

    @property
    def is_half_used(self) -> bool:
        """Whether more than half of the allowed bytes have arrived."""
        return self._bytes > self.max_bytes / 2

    def connected(self) -> None:
        """Count a connection.

        Raises:
            LimitReached: More than `_MAX_CONNECTIONS` were opened for one frame.
        """
        self._connections += 1
        if self._connections > _MAX_CONNECTIONS:
            self.is_used_up = True
            raise LimitReached(f"its playlists led to {_MAX_CONNECTIONS} addresses without a frame; check the path")


def pyav_timeout(seconds: SupportsFloat) -> Any:
    """Return the limits for connecting and reading that `av.open` takes: PyAV reads them each time it begins to wait."""
    return (seconds, seconds)


class _BlockLimit:
    """The largest memory block that FFmpeg may allocate in this process: FFmpeg allocates the size that a server claims.

    The setting applies to the process. Therefore it follows the source with the largest frames.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._max_bytes = _MIN_BLOCK_BYTES

    def raise_to(self, count: int) -> None:
        with self._lock:
            self._max_bytes = max(self._max_bytes, count)
            # PyAV's own libavutil; not found on platforms that search symbols in this file only.
            set_limit = getattr(ctypes.CDLL(_core.__file__), "av_max_alloc", None)
            if set_limit is not None:
                set_limit(ctypes.c_size_t(self._max_bytes))


_BLOCK_LIMIT: Final = _BlockLimit()


def limit_memory(pixels: float, frame_bytes: float = 0) -> None:
    """Limit FFmpeg's memory blocks to what frames of this number of pixels, or of compressed bytes, need."""
    _BLOCK_LIMIT.raise_to(round(max(pixels * _BYTES_PER_PIXEL, frame_bytes)))


def limit_memory_of(config: NetworkConfig) -> None:
    """Limit FFmpeg's memory blocks to what the frames of a camera need."""
    limit_memory(config.max_megapixels * _MEGA, config.max_frame_mb * _MEGA)
