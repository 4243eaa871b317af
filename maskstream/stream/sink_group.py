"""The sinks of a run: who gets whose frames, and what becomes of one that fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from loguru import logger

from maskstream.errors import SinkClosed, SinkError
from maskstream.protocols import Sink


@dataclass(frozen=True)
class SinkBinding:
    """A sink and whose frames it gets."""

    sink: Sink
    source_id: str | None
    """None for all sources."""

    def serves(self, source_id: str) -> bool:
        """Return whether it gets frames of this source."""
        return self.source_id in (None, source_id)


@runtime_checkable
class Reporter(Protocol):
    """A sink that can say how it is doing."""

    def health(self) -> str:
        """Return it as a line; nothing where there is nothing to say."""
        ...


@runtime_checkable
class Hasty(Protocol):
    """A sink whose `write` may take long, and can be cut short."""

    def hurry(self) -> None:
        """Leave out from now on what takes long. May be called from a signal handler or another thread."""
        ...


class SinkGroup:
    """All sinks; those that fail are closed and left out from then on."""

    def __init__(self, failed: Callable[[SinkError, SinkBinding | None], None]) -> None:
        """Begin without sinks; `failed` is told of each failure, and of the binding that is left out for it before its end."""
        self._bindings: list[SinkBinding] = []
        self._failed = failed

    def add(self, bindings: Sequence[SinkBinding]) -> None:
        """Take over opened sinks."""
        self._bindings += bindings

    def wants_every_frame(self, source_id: str) -> bool:
        """Return whether some sink wants the frames of a source that are not analysed."""
        return any(binding.sink.wants_every_frame and binding.serves(source_id) for binding in self._bindings)

    def each(self, source_id: str, act: Callable[[Sink], None]) -> None:
        """Let each sink of a source do something.

        Raises:
            SinkClosed: A reader of the output has left.
        """
        for binding in [binding for binding in self._bindings if binding.serves(source_id)]:
            try:
                act(binding.sink)
            except SinkClosed:
                raise
            except SinkError as error:
                self._leave_out(binding, error)
            except Exception as mistake:  # in one output; it must not stop the cameras and the other outputs
                self._leave_out(binding, _mistake_in(binding.sink, mistake))

    def hurry(self) -> None:
        """Let the sinks leave out what takes long. May be called from a signal handler or another thread."""
        for binding in tuple(self._bindings):
            if isinstance(binding.sink, Hasty):
                binding.sink.hurry()

    def health(self) -> list[str]:
        """Return a line for each sink that has something to say of how it is doing."""
        return [line for each in self._bindings if isinstance(each.sink, Reporter) and (line := each.sink.health())]

    def _leave_out(self, binding: SinkBinding, error: SinkError) -> None:
        self._bindings.remove(binding)
        try:
            self._failed(error, binding)
        finally:
            try:
                binding.sink.close()
            except SinkError as also:
                logger.debug("{}", also)  # it is known to be broken
            except Exception as mistake:
                _mistake_in(binding.sink, mistake)

    def close(self, source_id: str | None = None) -> None:
        """Close all sinks, or those that serve this source alone; one that fails keeps no other from being closed."""
        closing = [binding for binding in self._bindings if source_id is None or binding.source_id == source_id]
        for binding in closing:
            self._bindings.remove(binding)
            self._close(binding.sink)

    def _close(self, sink: Sink) -> None:
        try:
            sink.close()
        except SinkClosed:
            pass  # nobody is left to read the rest
        except SinkError as error:
            self._failed(error, None)
        except Exception as mistake:
            self._failed(_mistake_in(sink, mistake), None)


def _mistake_in(sink: object, mistake: Exception) -> SinkError:
    """Write a mistake to the log, and return what the user is told of it."""
    kind = type(sink).__name__
    logger.opt(exception=mistake).error("{} made a mistake", kind)
    return SinkError(f"{kind}: a mistake in the program, {mistake!r:.200}; please report it")
