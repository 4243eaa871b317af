"""Send frames to the sinks of a run, and leave out sinks that fail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from loguru import logger

from maskstream.errors import SinkClosed, SinkError
from maskstream.protocols import Sink
from maskstream.stream.source_states import logged_error


@dataclass(frozen=True)
class SinkBinding:
    """A sink and the source of its frames."""

    sink: Sink
    source_id: str | None
    """None for all sources."""

    def serves(self, source_id: str) -> bool:
        """Return whether the sink gets the frames of this source."""
        return self.source_id in (None, source_id)


@runtime_checkable
class Reporter(Protocol):
    """A sink that reports its health."""

    def health(self) -> str:
        """Return the health as a line; an empty text if there is nothing to report."""
        ...


@runtime_checkable
class Hasty(Protocol):
    """A sink whose `write` may take long, and can be shortened."""

    def hurry(self) -> None:
        """Skip slow work from now on. May be called from a signal handler or another thread."""
        ...


class SinkGroup:
    """All sinks of a run. A sink that fails is closed and left out."""

    def __init__(self, failed: Callable[[SinkError, SinkBinding | None], None]) -> None:
        """Begin without sinks.

        Args:
            failed: Called for each error, with the binding that is left out because of it; None if the sink failed while closing.
        """
        self._bindings: list[SinkBinding] = []
        self._failed = failed

    def add(self, bindings: Sequence[SinkBinding]) -> None:
        """Take over opened sinks."""
        self._bindings += bindings

    def wants_every_frame(self, source_id: str) -> bool:
        """Return whether a sink needs the frames of a source that are not analysed."""
        return any(binding.sink.wants_every_frame and binding.serves(source_id) for binding in self._bindings)

    def each(self, source_id: str, act: Callable[[Sink], None]) -> None:
        """Call `act` with each sink of a source.

        Raises:
            SinkClosed: The reader of an output has left.
        """
        for binding in [binding for binding in self._bindings if binding.serves(source_id)]:
            try:
                act(binding.sink)
            except SinkClosed:
                raise
            except SinkError as error:
                self._leave_out(binding, error)
            except Exception as error:  # an internal error of one sink must not stop the cameras and the other sinks
                self._leave_out(binding, logged_error(binding.sink, error))

    def hurry(self) -> None:
        """Let the sinks skip slow work. May be called from a signal handler or another thread."""
        for binding in tuple(self._bindings):
            if isinstance(binding.sink, Hasty):
                binding.sink.hurry()

    def health(self) -> list[str]:
        """Return a line for each sink that reports its health."""
        lines = [binding.sink.health() for binding in self._bindings if isinstance(binding.sink, Reporter)]
        return [line for line in lines if line]

    def _leave_out(self, binding: SinkBinding, error: SinkError) -> None:
        self._bindings.remove(binding)
        try:
            self._failed(error, binding)
        finally:
            try:
                binding.sink.close()
            except SinkError as also:
                logger.debug("{}", also)  # its first error was reported
            except Exception as unexpected:
                logged_error(binding.sink, unexpected)

    def close(self, source_id: str | None = None) -> None:
        """Close all sinks, or those that serve this source alone. All are closed, even where closing one fails."""
        closing = [binding for binding in self._bindings if source_id is None or binding.source_id == source_id]
        for binding in closing:
            self._bindings.remove(binding)
            try:
                binding.sink.close()
            except SinkClosed:
                pass  # the reader has left
            except SinkError as error:
                self._failed(error, None)
            except Exception as error:
                self._failed(logged_error(binding.sink, error), None)
