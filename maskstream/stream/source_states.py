"""Hold the states of all sources, log their changes, and notify listeners."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import Protocol, runtime_checkable

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkError
from maskstream.stream.states import SILENT, SourceState, SourceStatus, StateChange


@runtime_checkable
class StateListener(Protocol):
    """Is notified of changes by the thread that renders."""

    def state_changed(self, change: StateChange) -> None:
        """Handle a change.

        Raises:
            SinkError: The change cannot be written.
        """
        ...

    def source_removed(self, source_id: str) -> None:
        """Handle the removal of a source from the run."""
        ...


def call_listener(listener: StateListener, call: Callable[[], None]) -> SinkError | None:
    """Call a method of a listener, and return its error: it must not stop the cameras."""
    try:
        call()
    except SinkError as error:
        return error
    except Exception as error:
        return logged_error(listener, error)
    return None


def logged_error(sink: object, error: Exception) -> SinkError:
    """Log the traceback of an internal error in a sink or listener, and return an error for the user."""
    kind = type(sink).__name__
    logger.opt(exception=error).error("{}: internal error", kind)
    return SinkError(f"{kind}: internal error, {error!r:.200}; please report it")


class SourceStates:
    """The states of all sources."""

    def __init__(self, clock: Clock = MONOTONIC) -> None:
        """Begin without sources; `clock` is the clock of the states and of the run."""
        self.clock = clock
        self._statuses: dict[str, SourceStatus] = {}
        self._quiet: set[str] = set()
        self._waiting: SimpleQueue[StateChange] = SimpleQueue()
        self._connections = count(1)

    def status(self, source_id: str, *, quiet: bool = False) -> SourceStatus:
        """Return the status of a source; the first call creates it. Changes of a `quiet` source are logged at level DEBUG."""
        if source_id not in self._statuses:
            if quiet:
                self._quiet.add(source_id)
            else:
                self._quiet.discard(source_id)
            self._statuses[source_id] = SourceStatus(source_id, self._changed, self.clock)
        return self._statuses[source_id]

    def next_connection(self) -> int:
        """Return a new number for a connection of a source. May be called from any thread."""
        return next(self._connections)

    def end(self, source_id: str, cause: str) -> None:
        """End a source, unless it has ended, and forget its status: another source may get the same name."""
        status = self._statuses.pop(source_id, None)
        if status is not None:
            status.change(SourceState.ENDED, cause)

    def deliver(self, listeners: Sequence[StateListener]) -> list[tuple[StateListener, SinkError]]:
        """Notify listeners of all changes since the last call. Returns the listeners that failed, with their errors."""
        failed: list[tuple[StateListener, SinkError]] = []
        working = list(listeners)
        while not self._waiting.empty():
            change = self._waiting.get()
            for listener in tuple(working):
                error = call_listener(listener, partial(listener.state_changed, change))
                if error is not None:
                    working.remove(listener)
                    failed.append((listener, error))
        return failed

    def _changed(self, change: StateChange) -> None:
        self._waiting.put(change)
        after = "" if change.before is None else f" (after {change.before_s:.1f} s {change.before.value})"
        level = "WARNING" if change.state in SILENT else "INFO"
        if change.source_id in self._quiet:
            level = "DEBUG"
        logger.log(level, "{}: {}: {}{}", change.source_id, change.state.value, change.cause, after)
