"""A live source that is opened again whenever it is lost, for as long as somebody wants its frames."""

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
_LONGEST_DELAY_S: Final = 30.0
_JITTER: Final = 0.2
"""Cameras that died together are not all asked again at the same moment."""
_STEADY_S: Final = 5.0
"""A connection that held for so long was a good one: the next attempt after it is soon."""
_AWAY: Final = frozenset({SourceState.CONNECTING, SourceState.RECONNECTING, SourceState.OFFLINE})
_REMEMBERED: Final = 3600
"""More reconnections than that do not fit into an hour."""


@dataclass(frozen=True)
class ReconnectPolicy:
    """How long a lost source is tried again."""

    max_reconnects: int | None
    """Attempts in a row; None: for ever."""
    refusal_ends: bool
    """Whether a source that at the very first attempt answers that it never will work (`SourceRefused`) ends the run."""


def delay_s(attempt: int, rng: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait before an attempt, counted from 0: doubling, with jitter of a fifth, at most 30."""
    plain_s = _FIRST_DELAY_S * 2.0 ** min(attempt, 30)
    return min(_LONGEST_DELAY_S, plain_s * (1 + _JITTER * (2 * rng() - 1)))


class ReconnectingSource:
    """A source that wraps a source.

    Frames count on from one connection to the next, and `Frame.time_s` from the first attempt, so that records and videos have
    one clock: within a connection that of the source itself, and it does not run back from one to the next. `Frame.connection`
    tells connections apart. `info` is that of the present connection; before the first it has no size.
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
        """Open nothing yet: the thread that reads does.

        Args:
            source_id: Its name.
            open_source: Opens the source that is wrapped; it may raise `SourceError`.
            policy: How often it is tried again.
            status: Told what happens.
            clock: Times the waits between attempts; that of the frames' `captured_at_s`.
            next_connection: Returns another number for each connection; None: 1, 2 and so on.
            close_unread: Closes what was opened before anybody reads; called at the end.
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
        """The least that `Frame.time_s` may be."""
        self._failed = 0
        """Attempts in a row that gave no steady connection."""
        self._online_at_s = 0.0
        self._reconnected_at_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._damaged_before = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames for as long as the source can be had; may be called once.

        Raises:
            SourceError: It could not be opened as often as the policy allows, or it is of no use, or what was opened is not live
                and broke.
        """
        while not self._closed.is_set():
            try:
                source = self._open()
                if source is not None:
                    yield from self._connection(source) if source.info.live else self._recorded(source)
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
        """Stop trying, and close what is open."""
        self._closed.set()
        self._release()
        if self._close_unread is not None:
            self._close_unread()

    def reconnects_since(self, at_s: float) -> int:
        """Return how often it was opened again since a moment of the monotonic clock."""
        return sum(each >= at_s for each in tuple(self._reconnected_at_s))

    @property
    def damaged(self) -> int:
        """Packets and frames that were left out because they were damaged, of all connections."""
        return self._damaged_before + _damaged(self._source)

    def _open(self) -> Source | None:
        """Return what was opened; None where nobody wants it any more."""
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
            self._damaged_before += _damaged(source)
        if source is not None:
            source.close()

    def _recorded(self, source: Source) -> Iterator[Frame]:
        """Yield the frames of a video on a server, which has a clock and an end of its own."""
        self._status.change(SourceState.ONLINE, _described(source.info), {SourceState.CONNECTING})
        for frame in source:
            yield replace(frame, connection=self._connection_number)

    def _connection(self, source: Source) -> Iterator[Frame]:
        """Yield the frames of a connection, counted on from the one before."""
        moved_s = 0.0
        for number, frame in enumerate(source):
            if number == 0:
                self._came_back(frame)
                moved_s = max(frame.captured_at_s - self._began_s, self._next_time_s) - frame.time_s
            elif self._failed and frame.captured_at_s - self._online_at_s > _STEADY_S:
                self._failed = 0
            time_s = frame.time_s + moved_s
            self._next_time_s = time_s + frame.duration_s
            yield replace(frame, index=self._index, time_s=time_s, connection=self._connection_number)
            self._index += 1

    def _came_back(self, first: Frame) -> None:
        self._online_at_s = first.captured_at_s
        if self._index:
            self._reconnected_at_s.append(first.captured_at_s)
        self._status.change(SourceState.ONLINE, _described(self.info), _AWAY)

    def _wait_after(self, lost: SourceError) -> None:
        """Say what happened and wait for the next attempt, or raise where there is none."""
        is_first = self._index == 0 and self._failed == 0
        is_over = self._policy.max_reconnects is not None and self._failed >= self._policy.max_reconnects
        is_over = is_over or isinstance(lost, SourceUnreadable)
        if not self.info.live or is_over or (is_first and self._policy.refusal_ends and isinstance(lost, SourceRefused)):
            raise lost
        self._failed += 1
        was_online = self._status.change(SourceState.RECONNECTING, str(lost), {SourceState.ONLINE, SourceState.STALLED})
        if not was_online:
            self._status.change(SourceState.OFFLINE, str(lost), _AWAY)
        self._clock.wait(self._closed, delay_s(self._failed - 1))


def _damaged(source: Source | None) -> int:
    """Return what a source has left out because it was damaged, where it counts that."""
    return getattr(source, "damaged", 0)


def _described(info: SourceInfo) -> str:
    fps = f", {info.average_fps:.4g} fps" if info.average_fps else ""
    return f"{info.width}x{info.height}{fps}"
