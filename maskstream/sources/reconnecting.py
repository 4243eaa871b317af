"""Open a live source again whenever it is lost, until it is closed."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from threading import Event, Lock
from typing import Final

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SourceError, SourceRefused, SourceUnreadable, StreamLost
from maskstream.protocols import Source
from maskstream.stream.states import SourceState, SourceStatus
from maskstream.types import Frame, SourceInfo

_FIRST_DELAY_S: Final = 1.0
_MAX_DELAY_S: Final = 30.0
_JITTER: Final = 0.2
"""Fraction of the delay. Cameras that were lost together are not all opened again at the same time."""
_STEADY_S: Final = 5.0
"""After a connection that lasted longer, delays begin at `_FIRST_DELAY_S` again."""
_NOT_ONLINE: Final = frozenset({SourceState.CONNECTING, SourceState.RECONNECTING, SourceState.OFFLINE})
_MAX_RECONNECTIONS_KEPT: Final = 3600
"""At most one per second for an hour."""


@dataclass(frozen=True)
class ReconnectPolicy:
    """How often a lost source is opened again."""

    max_reconnects: int | None
    """Attempts in a row; None: without limit."""
    refusal_ends: bool
    """Whether a permanent refusal (`SourceRefused`) at the very first attempt ends the run."""


def delay_s(attempt: int, rng: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait before an attempt, counted from 0: doubling, with 20 % jitter, at most 30 s."""
    plain_s = _FIRST_DELAY_S * 2.0 ** min(attempt, 30)
    return min(_MAX_DELAY_S, plain_s * (1 + _JITTER * (2 * rng() - 1)))


class ReconnectingSource:
    """A source that opens another source again after each loss.

    `Frame.index` continues from one connection to the next. `Frame.time_s` counts from the first attempt, so that records and
    videos have one clock. Within a connection it advances as in the source itself, and it never goes back. `Frame.connection` is
    the number of the connection. `info` belongs to the current connection; before the first one it has no size.
    """

    def __init__(
        self,
        source_id: str,
        open_source: Callable[[], Source],
        policy: ReconnectPolicy,
        status: SourceStatus,
        clock: Clock = MONOTONIC,
        *,
        next_connection: Callable[[], int] | None = None,
        close_unread: Callable[[], None] | None = None,
    ) -> None:
        """Store the arguments; the thread that reads opens the source.

        Args:
            source_id: Name of the source.
            open_source: Opens the wrapped source; it may raise `SourceError`.
            policy: How often it is opened again.
            status: Receives changes of the state.
            clock: Times the delays between attempts and the frames' `captured_at_s`.
            next_connection: Returns a different number for each connection; None: 1, 2 and so on.
            close_unread: Closes a source that was opened before the first read; called by `close`.
        """
        self.info = SourceInfo(source_id, 0, 0, live=True)
        self._open_source = open_source
        self._policy = policy
        self._status = status
        self._clock = clock
        self._next_connection = next_connection or count(1).__next__
        self._connection_number = 0
        self._close_unread = close_unread
        self._began_s = clock.now_s()
        self._closed = Event()
        self._lock = Lock()
        self._source: Source | None = None
        self._index = 0
        self._next_time_s = 0.0
        """Lower limit of the next `Frame.time_s`."""
        self._failed = 0
        """Attempts in a row without a connection that lasted `_STEADY_S`."""
        self._online_at_s = 0.0
        self._reconnected_at_s: deque[float] = deque(maxlen=_MAX_RECONNECTIONS_KEPT)
        self._damaged_before = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source ends or is closed; may be called once.

        Raises:
            SourceError: All attempts that the policy allows have failed, another attempt is useless, or the source is not live
                and broke off.
        """
        while not self._closed.is_set():
            try:
                source = self._open()
                if source is not None:
                    if source.info.live:
                        yield from self._connection(source)
                    else:  # a video on a server, with its own clock and end
                        self._status.change(SourceState.ONLINE, _described(source.info), {SourceState.CONNECTING})
                        for frame in source:
                            yield replace(frame, connection=self._connection_number)
                if not self.info.live or self._closed.is_set() or getattr(source, "is_over", False):
                    return
                lost: SourceError = StreamLost(f"{self.info.source_id}: lost: the stream ended; check the camera")
            except SourceError as error:
                lost = error
            finally:
                self._release()
            if not self._closed.is_set():
                self._wait_after(lost)

    def close(self) -> None:
        """Stop the attempts, and close the open source."""
        self._closed.set()
        self._release()
        if self._close_unread is not None:
            self._close_unread()

    def reconnects_since(self, at_s: float) -> int:
        """Return the number of reconnections since a time of the monotonic clock."""
        return sum(each >= at_s for each in tuple(self._reconnected_at_s))

    @property
    def damaged(self) -> int:
        """Packets and frames of all connections that were skipped because they were damaged."""
        return self._damaged_before + getattr(self._source, "damaged", 0)

    def _open(self) -> Source | None:
        """Return the opened source; None if this source was closed meanwhile."""
        opened = self._open_source()
        with self._lock:
            if not self._closed.is_set():
                self._source, self.info = opened, opened.info
                self._connection_number = self._next_connection()
                return opened
        opened.close()
        return None

    def _release(self) -> None:
        with self._lock:
            source, self._source = self._source, None
            self._damaged_before += getattr(source, "damaged", 0)
        if source is not None:
            source.close()

    def _connection(self, source: Source) -> Iterator[Frame]:
        """Yield the frames of a connection with index and time continued from the one before."""
        shift_s = 0.0
        for number, frame in enumerate(source):
            if number == 0:
                self._online_at_s = frame.captured_at_s
                if self._index:
                    self._reconnected_at_s.append(frame.captured_at_s)
                self._status.change(SourceState.ONLINE, _described(self.info), _NOT_ONLINE)
                shift_s = max(frame.captured_at_s - self._began_s, self._next_time_s) - frame.time_s
            elif self._failed and frame.captured_at_s - self._online_at_s > _STEADY_S:
                self._failed = 0
            time_s = frame.time_s + shift_s
            self._next_time_s = time_s + frame.duration_s
            yield replace(frame, index=self._index, time_s=time_s, connection=self._connection_number)
            self._index += 1

    def _wait_after(self, lost: SourceError) -> None:
        """Report the loss and wait until the next attempt, or raise if there is none."""
        is_first = self._index == 0 and self._failed == 0
        is_over = self._policy.max_reconnects is not None and self._failed >= self._policy.max_reconnects
        is_over = is_over or isinstance(lost, SourceUnreadable)
        if not self.info.live or is_over or (is_first and self._policy.refusal_ends and isinstance(lost, SourceRefused)):
            raise lost
        self._failed += 1
        was_online = self._status.change(SourceState.RECONNECTING, str(lost), {SourceState.ONLINE, SourceState.STALLED})
        if not was_online:
            self._status.change(SourceState.OFFLINE, str(lost), _NOT_ONLINE)
        self._clock.wait(self._closed, delay_s(self._failed - 1))


def _described(info: SourceInfo) -> str:
    fps = f", {info.average_fps:.4g} fps" if info.average_fps else ""
    return f"{info.width}x{info.height}{fps}"
