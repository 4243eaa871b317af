"""Define the states of a source, the allowed changes, and the status that applies them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from typing import Final

from maskstream.clock import MONOTONIC, Clock


class SourceState(StrEnum):
    """The state of a source."""

    CONNECTING = "connecting"
    """No frame has arrived yet."""
    ONLINE = "online"
    """Frames arrive."""
    STALLED = "stalled"
    """It is connected, but no frames arrive."""
    RECONNECTING = "reconnecting"
    """The connection was lost, and the source is opened again."""
    OFFLINE = "offline"
    """It could not be opened. Opening is tried again."""
    ENDED = "ended"
    """No more frames will arrive."""


LEGAL: Final[Mapping[SourceState, frozenset[SourceState]]] = {
    SourceState.CONNECTING: frozenset({SourceState.ONLINE, SourceState.OFFLINE, SourceState.ENDED}),
    SourceState.ONLINE: frozenset({SourceState.STALLED, SourceState.RECONNECTING, SourceState.ENDED}),
    SourceState.STALLED: frozenset({SourceState.ONLINE, SourceState.RECONNECTING, SourceState.ENDED}),
    SourceState.RECONNECTING: frozenset({SourceState.ONLINE, SourceState.OFFLINE, SourceState.ENDED}),
    SourceState.OFFLINE: frozenset({SourceState.ONLINE, SourceState.ENDED}),
    SourceState.ENDED: frozenset(),
}
"""The states that may follow each state."""
SILENT: Final = frozenset({SourceState.STALLED, SourceState.RECONNECTING, SourceState.OFFLINE})
"""The states in which frames should arrive and do not."""


@dataclass(frozen=True)
class StateChange:
    """A change of the state of a source, with its cause."""

    source_id: str
    state: SourceState
    before: SourceState | None
    """None for the first state."""
    cause: str
    """The cause, without the name of the source."""
    at_s: float
    """Monotonic clock."""
    wall_time: datetime
    """UTC."""
    before_s: float = 0.0
    """The duration of the state before."""


class SourceStatus:
    """The state of one source. Several threads may change it."""

    def __init__(self, source_id: str, changed: Callable[[StateChange], None], clock: Clock = MONOTONIC) -> None:
        """Begin with `connecting`.

        Args:
            source_id: The source's name.
            changed: Called with each change in order, also with the first state, by the thread that makes the change.
            clock: Measures the times of changes and the durations of states.
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
        """Change the state. Does nothing and returns False if the source has this state, or its state is not in `only_from`.

        Raises:
            ValueError: The state may not follow the current one.
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
