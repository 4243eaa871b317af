"""Write forwarded records to a file: each line once, also where the program was killed between a line and its acknowledgement."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from maskstream.errors import SinkError
from maskstream.events.event_records import event_record
from maskstream.events.types import EventOrCounts
from maskstream.io.output_paths import is_file, is_stdout
from maskstream.io.text_file import TextSink
from maskstream.stream.states import StateChange


class ForwardedFile:
    """One JSON record per line, at the end of a file. What a killed run has written and not acknowledged is not written again.

    Standard output and pipes have no memory: after a kill, records may be in them twice.
    """

    def __init__(self, path: str, position: int | None) -> None:
        """Open the file. An incomplete last line is removed: its record is written again.

        Args:
            path: `-` is standard output.
            position: The size of the file after the last acknowledged record; None: all that it has was acknowledged.

        Raises:
            SinkError: The file cannot be written.
        """
        self.name = self.name_of(path)
        self._path = path
        self.position = position
        """The size of the file after the last acknowledged record; None: it is not a file, or not known."""
        self._sink: TextSink | None = None
        self._present: set[str] = set()
        """Lines after `position` that are in the file."""
        self._is_file = False
        self._open()

    @staticmethod
    def name_of(path: str) -> str:
        """Return the name of a file, under which its position is kept."""
        return f"file {'-' if is_stdout(path) else Path(path).absolute()}"

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Write the records that are not in the file, with one call.

        Raises:
            SinkClosed: The reader has closed the pipe.
            SinkError: The disk is full. The next call opens the file again, and finds what was written.
        """
        sink = self._sink or self._open()
        lines = [json.dumps(event_record(item), allow_nan=False) for item in items]
        text = "".join(f"{line}\n" for line in lines if line not in self._present)
        try:
            sink.put(text)
        except SinkError:  # it has closed the file
            self._sink = None
            raise

    def state_changed(self, change: StateChange) -> None:
        """Write nothing: `--status` records states."""

    def health(self) -> str:
        """Return nothing: no record waits."""
        return ""

    def is_saved(self) -> bool:
        """Return whether everything that was taken is on the disk."""
        if self._sink is None:
            return False
        if self._is_file:
            try:
                descriptor = os.open(self._path, os.O_RDONLY)
            except OSError:  # moved away by another program, with its content
                return True
            try:
                os.fsync(descriptor)
            except OSError:
                return False
            finally:
                os.close(descriptor)
        return True

    def acknowledged(self) -> int | None:
        """Keep and return the position after everything that was taken; None where there is no file."""
        if not self._is_file:
            return None
        with suppress(OSError):
            self.position = Path(self._path).stat().st_size
            self._present.clear()
        return self.position

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self._sink is not None:
            self._sink.close()

    def _open(self) -> TextSink:
        if not is_stdout(self._path):
            self._find_present()
        self._sink = TextSink(self._path, "a")
        self._is_file = not is_stdout(self._path) and is_file(self._path)
        return self._sink

    def _find_present(self) -> None:
        """Find the complete lines after the position, and cut off an incomplete one."""
        size = Path(self._path).stat().st_size if is_file(self._path) else 0
        if self.position is None:
            self.position = size
        if size < self.position:  # another file is in its place
            self.position = 0
        if size == self.position:
            return
        try:
            with Path(self._path).open("rb+") as file:
                file.seek(self.position)
                text = file.read()
                complete = text.rfind(b"\n") + 1
                if complete < len(text):
                    file.truncate(size - len(text) + complete)
        except OSError as error:
            raise SinkError(f"{self._path}: cannot be written: {error.strerror}; choose another place") from error
        self._present = set(text[:complete].decode(errors="surrogateescape").split("\n"))
