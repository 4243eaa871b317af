"""What is said when a source changes its state: a line in the log at once, and a call to whoever listens."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import Protocol, runtime_checkable

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkError
from maskstream.stream.states import SILENT, SourceState, SourceStatus, StateChange


@runtime_checkable
class StateListener(Protocol):
    """Is told of changes by the thread that renders."""

    def state_changed(self, change: StateChange) -> None:
        """Take note of a change.

        Raises:
            SinkError: It cannot be written.
        """
        ...

    def source_removed(self, source_id: str) -> None:
        """Take note that the user wants to know no more of a source."""
        ...


def told(listener: StateListener, tell: Callable[[], None]) -> SinkError | None:
    """Tell a listener something, and return how it failed; a mistake in it must not stop the cameras."""
    try:
        tell()
    except SinkError as error:
        return error
    except Exception as mistake:
        kind = type(listener).__name__
        logger.opt(exception=mistake).error("{} made a mistake", kind)
        return SinkError(f"{kind}: a mistake in the program, {mistake!r:.200}; please report it")
    return None


class SourceStates:
    """The states of all sources."""

    def __init__(self, clock: Clock = MONOTONIC) -> None:
        """Begin without sources; `clock` is that of the states, and of all who look after the sources."""
        self.clock = clock
        self._statuses: dict[str, SourceStatus] = {}
        self._quiet: set[str] = set()
        self._waiting: SimpleQueue[StateChange] = SimpleQueue()
        self._connections = count(1)

    def status(self, source_id: str, *, quiet: bool = False) -> SourceStatus:
        """Return the status of a source, which begins with the first call; of files, nobody wants to read it: they are quiet."""
        if source_id not in self._statuses:
            (self._quiet.add if quiet else self._quiet.discard)(source_id)
            self._statuses[source_id] = SourceStatus(source_id, self._changed, self.clock)
        return self._statuses[source_id]

    def next_connection(self) -> int:
        """Return the number of an opening of a source, another at each call. May be called from any thread."""
        return next(self._connections)

    def end(self, source_id: str, cause: str) -> None:
        """End a source where it has not ended, and let another of this name begin anew."""
        status = self._statuses.pop(source_id, None)
        if status is not None:
            status.change(SourceState.ENDED, cause)

    def deliver(self, listeners: Sequence[StateListener]) -> list[tuple[StateListener, SinkError]]:
        """Tell listeners what has changed since the last call; return those that failed."""
        failed: list[tuple[StateListener, SinkError]] = []
        while (change := self._next()) is not None:
            for listener in listeners:
                if listener not in [each for each, _ in failed]:
                    error = told(listener, partial(listener.state_changed, change))
                    if error is not None:
                        failed.append((listener, error))
        return failed

    def _next(self) -> StateChange | None:
        try:
            return self._waiting.get_nowait()
        except Empty:
            return None

    def _changed(self, change: StateChange) -> None:
        self._waiting.put(change)
        after = "" if change.before is None else f" (after {change.before_s:.1f} s {change.before.value})"
        level = "DEBUG" if change.source_id in self._quiet else "WARNING" if change.state in SILENT else "INFO"
        logger.log(level, "{}: {}: {}{}", change.source_id, change.state.value, change.cause, after)
