"""Put the events, the counts and the states of a stream into the store."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from maskstream.errors import StoreError
from maskstream.events.event_records import event_record
from maskstream.events.record_types import CountsRecord, EventRecord
from maskstream.events.types import EventOrCounts, MaskEvent
from maskstream.store.store import Store
from maskstream.stream.states import StateChange

_LOCK_NAME: Final = "run.lock"
_FLUSH_S: Final = 1.0


class StoreSink:
    """A `Receiver` that stores everything. No call blocks; the writer thread of the store does the work."""

    def __init__(self, store: Store, keep_days: float | None = None, *, events_continue: bool = False) -> None:
        """Begin a run, and end the events and states of killed runs.

        Args:
            store: Stays open when the sink is closed.
            keep_days: Older records are deleted; None: none are.
            events_continue: Whether the events of a killed run may continue, as those of a fleet, which its nodes end.

        Raises:
            StoreError: The lock file of the run cannot be created.
        """
        self._store = store
        self._is_closed = False
        self._lock = _RunLock(store.folder / _LOCK_NAME)
        store.runs.begin(self._lock.is_alone, events_continue=events_continue)
        if keep_days is not None:
            store.keep_for(keep_days)

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Queue events and counts for the store."""
        for item in items:
            if isinstance(item, MaskEvent):
                without_face = replace(item, best=replace(item.best, crop_jpeg=None))
                self._store.events.put(cast(EventRecord, event_record(without_face)))
            else:
                self._store.people.put(cast(CountsRecord, event_record(item)))

    def state_changed(self, change: StateChange) -> None:
        """Queue the state of a source for the store."""
        self._store.states.put(change)

    def health(self) -> str:
        """Return one line about the records that are not on the disk because of an error; empty where there is none."""
        return self._store.write_problem()

    def is_saved(self) -> bool:
        """Return whether everything that was taken is on the disk."""
        return self._store.flush(0.0)

    def close(self) -> None:
        """End the run, and wait until everything is on the disk, for at most a second. A second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._store.runs.end()
            self._store.flush(_FLUSH_S)
            self._lock.close()


class _RunLock:
    """A lock file that shows whether other runs use the store. The system releases the lock of a killed run."""

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            StoreError: The file cannot be created.
        """
        import fcntl  # not on Windows, where the store is not supported

        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: cannot be created: {error.strerror}; set store.folder to another folder") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.is_alone = True
        except OSError:
            self.is_alone = False
        fcntl.flock(self._file, fcntl.LOCK_SH)  # waits only while another run is between the two calls

    def close(self) -> None:
        """Release the lock."""
        os.close(self._file)
