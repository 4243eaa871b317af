"""Keep the records of a node on its disk until the supervisor has committed them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Final

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkError
from maskstream.events.messages import QueuedMessage, counts_key, interrupted_message, message_of
from maskstream.events.types import EventOrCounts, MaskEvent
from maskstream.fleet.record_file import DEFAULT_LIMIT_BYTES, EpochMessage, RecordFile
from maskstream.fleet.wire import NodeRecord
from maskstream.stream.states import StateChange

_REPLY_BYTES: Final = 2_000_000
"""Of the records in one reply; a longer record is sent alone."""
_LOG_EVERY_S: Final = 60.0
_SILENT_S: Final = 30.0
"""Records that wait without an acknowledgement are reported after this time."""


class NodeOutbox:
    """A `Receiver` of events whose records go to the supervisor: numbered without gaps, and sent until they are acknowledged.

    The thread of the engine calls `take`, another one `records`. While the disk accepts nothing, records are kept in memory. Only
    one process can open the file. A record that is deleted is overwritten, because it may contain the crop of a face.
    """

    def __init__(
        self,
        folder: Path,
        epoch_of: Callable[[str], int],
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        clock: Clock = MONOTONIC,
    ) -> None:
        """Open or create the file, and end the events of a killed agent with cause `interrupted`.

        Args:
            folder: Gets the file `records.db`.
            epoch_of: Returns the epoch in which the node has, or last had, a camera.
            limit_bytes: The maximum size of the waiting records; after that, the oldest are dropped.
            clock: Measures the times between log lines.

        Raises:
            SinkError: The file cannot be written, or another agent uses it.
        """
        self._records = RecordFile(folder)
        self._epoch_of = epoch_of
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._lock = RLock()
        self._unsaved: list[EpochMessage] = []
        self._unsaved_lost = 0
        self._acknowledged = 0
        self._asked_s = clock.now_s()
        self._disk_error = ""
        self._logged_s: dict[str, float] = {}
        self._open = self._records.open_events()
        """The latest message of each open event, also where it is not on the disk."""
        self.interrupt()

    @property
    def outbox_id(self) -> str:
        """Identifies the file: the numbers of another file begin anew."""
        return str(self._records.id)

    @property
    def lost(self) -> int:
        """The number of records that were dropped since the file was created: the outbox was full."""
        with self._lock:
            return int(self._records.lost) + self._unsaved_lost

    @property
    def problem(self) -> str:
        """Why records are not on the disk; empty where they are."""
        return self._disk_error

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Write records to the disk, with the epoch of their camera; all records of an event have that of its first one."""
        with self._lock:
            self._add([self._tagged(item) for item in items])

    def state_changed(self, change: StateChange) -> None:
        """Do nothing: the state of a camera is part of each reply."""

    def health(self) -> str:
        """Return one line about records that are not on the disk, or that the supervisor does not acknowledge."""
        waiting = self.waiting()
        if self._disk_error:
            return f"supervisor: {waiting} records wait: {self._disk_error}"
        silent_s = self._clock.now_s() - self._asked_s
        return f"supervisor: {waiting} records wait: no answer for {silent_s:.0f} s" if waiting and silent_s > _SILENT_S else ""

    def interrupt(self) -> None:
        """End all open events with cause `interrupted`: their engine was killed, or has failed."""
        with self._lock:
            self._add([EpochMessage(interrupted_message(latest.message), latest.epoch) for latest in self._open.values()])

    def close(self) -> None:
        """Write what is in memory only. The file stays open: the records are still to be sent. See `release`."""
        with self._lock:
            self._save()

    def waiting(self) -> int:
        """Return how many records are not acknowledged."""
        with self._lock:
            return int(self._records.count) + len(self._unsaved)

    def records(self, after: int, limit: int) -> tuple[NodeRecord, ...]:
        """Delete the records up to a number, and return the oldest ones that remain, in order.

        Args:
            after: The highest number that the supervisor has committed.
            limit: The maximum number of records. Less are returned where they are long.

        Raises:
            SinkError: The disk cannot be read.
        """
        with self._lock:
            self._asked_s = self._clock.now_s()
            self._save()
            self._acknowledge(after)
            return self._records.after(self._acknowledged, limit, _REPLY_BYTES)

    def release(self) -> None:
        """Write what is in memory only, and close the file. A second call does nothing."""
        with self._lock:
            self._save()
            if self._unsaved:
                logger.error("supervisor: {} records are lost: {}", len(self._unsaved), self._disk_error)
                self._unsaved.clear()
            self._records.close()

    def _tagged(self, item: EventOrCounts) -> EpochMessage:
        message = message_of(item)
        if isinstance(item, MaskEvent):
            before = self._open.get(item.event_id)
            return EpochMessage(message, self._epoch_of(item.source_id) if before is None else before.epoch)
        epoch = self._epoch_of(item.source_id)
        return EpochMessage(QueuedMessage(message.camera, counts_key(item, epoch), message.body), epoch)

    def _add(self, tagged: Sequence[EpochMessage]) -> None:
        self._unsaved += tagged
        for each in tagged:
            if each.message.is_open:
                self._open[str(each.message.event)] = each
            elif each.message.event is not None:
                self._open.pop(each.message.event, None)
        self._save()

    def _save(self) -> None:
        """Write what is in memory only, all or none. While the disk refuses it, keep the latest records that fit the limit."""
        if not self._unsaved and not self._unsaved_lost:
            return
        try:
            lost = self._unsaved_lost + self._records.add(self._unsaved, self._unsaved_lost, self._limit_bytes)
        except SinkError as error:
            self._disk_failed(error)
            return
        self._unsaved, self._unsaved_lost = [], 0
        if lost:
            line = f"supervisor: the outbox is full, {lost} records were lost; {self._records.lost} since it was created"
            self._log("lost", line)
        if self._disk_error:
            self._disk_error = ""
            self._logged_s.pop("disk", None)
            logger.info("supervisor: the records are on disk again")

    def _disk_failed(self, error: SinkError) -> None:
        self._disk_error = str(error)
        size = sum(len(each.message.body) for each in self._unsaved)
        while self._unsaved and size > self._limit_bytes:
            size -= len(self._unsaved.pop(0).message.body)
            self._unsaved_lost += 1
        self._log("disk", f"supervisor: {error}; until then records are kept in memory")

    def _acknowledge(self, number: int) -> None:
        """Delete the records up to a number; where the disk refuses that, the next call does it."""
        before = self._records.id
        self._acknowledged = max(self._acknowledged, number)
        with suppress(SinkError):
            self._records.delete_up_to(self._acknowledged)
        if self._records.id != before:
            self._acknowledged = 0

    def _log(self, kind: str, line: str) -> None:
        now_s = self._clock.now_s()
        if kind not in self._logged_s or now_s - self._logged_s[kind] >= _LOG_EVERY_S:
            self._logged_s[kind] = now_s
            logger.error(line) if kind == "disk" else logger.warning(line)
