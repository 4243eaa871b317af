"""Where events go: a sink for each receiver, which all ask the same book."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

from maskstream.events.event_records import event_record
from maskstream.events.types import EventOrCounts
from maskstream.io.text_file import Mode, TextSink
from maskstream.stream.states import SourceState, StateChange
from maskstream.types import Output


class Book(Protocol):
    """What is to be told at each frame, and at the end; who asks twice gets the same."""

    def look(self, output: Output) -> list[EventOrCounts]:
        """Return what is to be told at a frame."""
        ...

    def end(self, source_id: str, cause: str) -> list[EventOrCounts]:
        """End everything that goes on at a source."""
        ...


class Receiver(Protocol):
    """Somebody who is told. Calls come from the main thread and must not wait for anyone."""

    def take(self, happenings: Sequence[EventOrCounts]) -> None:
        """Take what there is to tell, which is never nothing.

        Raises:
            SinkClosed: The reader has left.
            SinkError: It cannot be written.
        """
        ...

    def state_changed(self, change: StateChange) -> None:
        """Take note of what becomes of a source."""
        ...

    def health(self) -> str:
        """Return what waits for it, as a line; nothing where nothing does."""
        ...

    def close(self) -> None:
        """Finish in bounded time. A second call does nothing."""
        ...


class EventSink:
    """Tells one receiver what the book finds worth telling."""

    wants_every_frame = False

    def __init__(self, detector: Book, receiver: Receiver) -> None:
        """Begin with nothing."""
        self._detector = detector
        self._receiver = receiver
        self._open: dict[str, None] = {}

    def write(self, output: Output) -> None:
        """Tell what is to be told at a frame."""
        self._open[output.frame.source_id] = None
        self._tell(self._detector.look(output))

    def source_ended(self, source_id: str) -> None:
        """End the events of a source."""
        self._end(source_id, "ended")

    def source_removed(self, source_id: str) -> None:
        """End the events of a source."""
        self._end(source_id, "removed")

    def state_changed(self, change: StateChange) -> None:
        """Hand on what becomes of a source; nobody is seen any more by one that is offline."""
        self._receiver.state_changed(change)
        if change.state is SourceState.OFFLINE:
            self._end(change.source_id, "offline")

    def health(self) -> str:
        """Return what waits for the receiver, as a line; nothing where nothing does."""
        return self._receiver.health()

    def close(self) -> None:
        """End all events."""
        try:
            for source_id in list(self._open):
                self._end(source_id, "stopped")
        finally:
            self._receiver.close()

    def _end(self, source_id: str, cause: str) -> None:
        if source_id in self._open:
            del self._open[source_id]
            self._tell(self._detector.end(source_id, cause))

    def _tell(self, happenings: Sequence[EventOrCounts]) -> None:
        if happenings:
            self._receiver.take(happenings)


class JsonlEvents:
    """One JSON record a line. An existing file is continued, so that a program that is started again loses nothing."""

    def __init__(self, path: str, mode: Mode = "a") -> None:
        """Open the file; with mode `w` it begins anew.

        Raises:
            SinkError: It cannot be written there.
        """
        self._file = TextSink(path, mode)

    def take(self, happenings: Sequence[EventOrCounts]) -> None:
        """Write the records, all in one go."""
        self._file.put("".join(line(event_record(happening)) for happening in happenings))

    def state_changed(self, change: StateChange) -> None:
        """Leave states out: `--status` has them."""

    def health(self) -> str:
        """Nothing waits."""
        return ""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def line(record: dict[str, Any]) -> str:
    """Return a record as a line of JSON."""
    return json.dumps(record, allow_nan=False) + "\n"
