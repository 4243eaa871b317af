"""Pass the events and counts of each frame to one receiver: a file here, a network receiver in `delivery`."""

import json
from collections.abc import Sequence
from typing import Protocol

from maskstream.events.detector import EventDetector
from maskstream.events.event_records import event_record
from maskstream.events.types import EventOrCounts
from maskstream.io.text_file import Mode, TextSink
from maskstream.stream.states import SourceState, StateChange
from maskstream.types import Output


class Receiver(Protocol):
    """Receives events and counts. All calls come from the main thread and must not block."""

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Take events and counts, at least one.

        Raises:
            SinkClosed: The reading process has closed its end.
            SinkError: They cannot be written.
        """
        ...

    def state_changed(self, change: StateChange) -> None:
        """Take the new state of a source."""
        ...

    def health(self) -> str:
        """Return one line about the records that wait for delivery; empty where none wait."""
        ...

    def close(self) -> None:
        """Finish in bounded time. A second call does nothing."""
        ...


class EventSink:
    """Runs the event detector on each frame and passes the result to one receiver."""

    wants_every_frame = False

    def __init__(self, detector: EventDetector, receiver: Receiver) -> None:
        """Begin without sources.

        Args:
            detector: May be shared with other sinks.
            receiver: Belongs to this sink, which closes it.
        """
        self._detector = detector
        self._receiver = receiver
        self._open: dict[str, None] = {}
        """Sources with a frame since they last ended, in order."""

    def write(self, output: Output) -> None:
        """Pass on the events and counts of a frame."""
        self._open[output.frame.source_id] = None
        self._pass_on(self._detector.detect(output))

    def source_ended(self, source_id: str) -> None:
        """End the events of a source with cause `ended`."""
        self._end(source_id, "ended")

    def source_removed(self, source_id: str) -> None:
        """End the events of a source with cause `removed`."""
        self._end(source_id, "removed")

    def state_changed(self, change: StateChange) -> None:
        """Pass on the state of a source; a source that is offline ends its events."""
        self._receiver.state_changed(change)
        if change.state is SourceState.OFFLINE:
            self._end(change.source_id, "offline")

    def health(self) -> str:
        """Return one line about the records that wait for delivery; empty where none wait."""
        return self._receiver.health()

    def close(self) -> None:
        """End all events with cause `stopped`, and close the receiver."""
        try:
            for source_id in list(self._open):
                self._end(source_id, "stopped")
        finally:
            self._receiver.close()

    def _end(self, source_id: str, cause: str) -> None:
        if source_id in self._open:
            del self._open[source_id]
            self._pass_on(self._detector.end(source_id, cause))

    def _pass_on(self, items: Sequence[EventOrCounts]) -> None:
        if items:
            self._receiver.take(items)


class JsonlEvents:
    """Writes one JSON record per line. An existing file is continued, so that a restarted program loses nothing."""

    def __init__(self, path: str, mode: Mode = "a") -> None:
        """Open the file.

        Args:
            path: `-` is standard output.
            mode: `a` continues an existing file, `w` replaces it.

        Raises:
            SinkError: The file cannot be written.
        """
        self._file = TextSink(path, mode)

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Write the records with one call."""
        self._file.put("".join(json.dumps(event_record(item), allow_nan=False) + "\n" for item in items))

    def state_changed(self, change: StateChange) -> None:
        """Write nothing: `--status` records states."""

    def health(self) -> str:
        """Return nothing: no record waits."""
        return ""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
