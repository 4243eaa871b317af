"""What state each source is in, what may follow, and what was said of it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from typing import Final

from maskstream.clock import MONOTONIC, Clock


class SourceState(StrEnum):
    """How a source is doing."""

    CONNECTING = "connecting"
    """It has not given a frame yet."""
    ONLINE = "online"
    """Frames come."""
    STALLED = "stalled"
    """It is connected, but no frames come."""
    RECONNECTING = "reconnecting"
    """It was lost and is opened again."""
    OFFLINE = "offline"
    """It could not be opened; it is tried again and again."""
    ENDED = "ended"
    """Nothing more will come."""


LEGAL: Final[Mapping[SourceState, frozenset[SourceState]]] = {
    SourceState.CONNECTING: frozenset({SourceState.ONLINE, SourceState.OFFLINE, SourceState.ENDED}),
    SourceState.ONLINE: frozenset({SourceState.STALLED, SourceState.RECONNECTING, SourceState.ENDED}),
    SourceState.STALLED: frozenset({SourceState.ONLINE, SourceState.RECONNECTING, SourceState.ENDED}),
    SourceState.RECONNECTING: frozenset({SourceState.ONLINE, SourceState.OFFLINE, SourceState.ENDED}),
    SourceState.OFFLINE: frozenset({SourceState.ONLINE, SourceState.ENDED}),
    SourceState.ENDED: frozenset(),
}
"""Which states may follow each."""
SILENT: Final = frozenset({SourceState.STALLED, SourceState.RECONNECTING, SourceState.OFFLINE})
"""Those in which frames should come and do not."""


@dataclass(frozen=True)
class StateChange:
    """That a source changed its state, and why."""

    source_id: str
    state: SourceState
    before: SourceState | None
    """None for the first state."""
    cause: str
    """Without the source's name."""
    at_s: float
    """Monotonic clock."""
    wall_time: datetime
    """UTC."""
    before_s: float = 0.0
    """How long the state before lasted."""


class SourceStatus:
    """The state of one source. Several threads may change it."""

    def __init__(self, source_id: str, changed: Callable[[StateChange], None], clock: Clock = MONOTONIC) -> None:
        """Begin with `connecting`.

        Args:
            source_id: The source's name.
            changed: Told of each change, the first state included, in order; by the thread that makes it.
            clock: Says when a change came, and how long a state lasted.
        """
        self._clock = clock
        self._changed = changed
        self._lock = Lock()
        self._last = StateChange(source_id, SourceState.CONNECTING, None, "started", clock.now_s(), datetime.now(UTC))
        changed(self._last)

    @property
    def last(self) -> StateChange:
        """The latest change."""
        return self._last

    def change(self, state: SourceState, cause: str, only_from: Collection[SourceState] = tuple(SourceState)) -> bool:
        """Change the state; return False, and leave it, where it is that already or is none of `only_from`.

        Raises:
            ValueError: It may not follow the present one.
        """
        with self._lock:
            before = self._last
            if state is before.state or before.state not in only_from:
                return False
            if state not in LEGAL[before.state]:
                raise ValueError(f"{before.source_id}: {state.value} may not follow {before.state.value}")
            now_s = self._clock.now_s()
            plain = cause.removeprefix(f"{before.source_id}: ")
            self._last = StateChange(before.source_id, state, before.state, plain, now_s, datetime.now(UTC), now_s - before.at_s)
            self._changed(self._last)
            return True
