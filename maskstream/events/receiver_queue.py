"""Queue messages for one receiver: on disk, and in memory while the disk accepts nothing."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from threading import Lock

from maskstream.errors import SinkError
from maskstream.events.messages import Channel, QueueChanges, QueuedMessage, WaitingMessage
from maskstream.events.outbox import Outbox


class ReceiverQueue:
    """Messages of one receiver, in order. One thread adds them, another delivers them.

    Messages that the disk does not accept are kept in memory and are delivered from there. They are written to disk when it has
    room again.
    """

    def __init__(self, outbox: Outbox, receiver: str) -> None:
        """Begin with the messages that an earlier run left on disk."""
        self.disk_error: SinkError | None = None
        """Why the latest changes are not on disk; None where they are."""
        self._outbox = outbox
        self._receiver = receiver
        self._lock = Lock()
        self._unsaved = QueueChanges()
        self._newly_lost = 0
        self._last_count = 0
        self._is_closed = False

    def add(self, messages: Sequence[QueuedMessage]) -> None:
        """Add messages, on disk where that is possible."""
        with self._lock:
            self._unsaved.added += messages
            self._save()

    def save(self) -> None:
        """Write to disk what is in memory only."""
        with self._lock:
            self._save()

    def oldest(self, refused: Collection[Channel] = ()) -> WaitingMessage | None:
        """Return the oldest message that is not of a refused channel, or None.

        Raises:
            SinkError: The disk cannot be read.
        """
        with self._lock:
            found = self._outbox.oldest(self._receiver, set(self._unsaved.delivered_ids), refused)
            if found is not None:
                return found
            for message in self._unsaved.added:
                if message.channel not in refused:
                    return WaitingMessage(message, row_id=None)
            return None

    def delivered(self, waiting: WaitingMessage) -> None:
        """Remove a message that was delivered."""
        with self._lock:
            if self._is_closed:
                return  # the next run delivers it again
            if waiting.row_id is not None:
                self._unsaved.delivered_ids.append(waiting.row_id)
            elif not self._remove_from_memory(waiting.message):  # it was written to disk during its delivery
                self._unsaved.delivered_keys.append(waiting.message.key)
            self._save()

    def _remove_from_memory(self, message: QueuedMessage) -> bool:
        """Remove a message that is in memory only; return False where it is not."""
        unsaved = self._unsaved
        others = [each for each in unsaved.added if each is not message]
        if len(others) == len(unsaved.added):
            return False
        unsaved.added = others
        unsaved.delivered_from_memory = [each for each in unsaved.delivered_from_memory if each.event != message.event]
        unsaved.delivered_from_memory.append(message)
        return True

    def lost_count(self) -> int:
        """Return how many messages were dropped that the receiver does not know about.

        Raises:
            SinkError: The disk cannot be read.
        """
        with self._lock:
            return self._outbox.lost_count(self._receiver) + self._unsaved.lost

    def lost_reported(self, records: int) -> None:
        """Subtract lost messages that the receiver knows about now."""
        with self._lock:
            self._unsaved.lost -= records
            self._save()

    def newly_lost(self) -> int:
        """Return how many messages were dropped since the last call."""
        with self._lock:
            records, self._newly_lost = self._newly_lost, 0
            return records

    def waiting_count(self) -> int:
        """Return how many messages wait, on disk and in memory."""
        with self._lock:
            with suppress(SinkError):  # the last known number is returned
                self._last_count = self._outbox.waiting_count(self._receiver) - len(self._unsaved.delivered_ids)
            return max(0, self._last_count) + len(self._unsaved.added)

    def is_saved(self) -> bool:
        """Return whether all messages that wait are on disk."""
        with self._lock:
            return not self._unsaved.added

    def close(self) -> tuple[int, int]:
        """Save a last time; return how many messages wait on disk, and how many are in memory only."""
        with self._lock:
            self._save()
            self._is_closed = True
            in_memory = len(self._unsaved.added)
        return self.waiting_count() - in_memory, in_memory

    def _save(self) -> None:
        if not self._unsaved or self._is_closed:
            return
        try:
            self._newly_lost += self._outbox.update(self._receiver, self._unsaved)
        except SinkError as error:
            self.disk_error = error
            waiting = self._unsaved.added
            size = sum(len(message.body) for message in waiting)
            while waiting and size > self._outbox.limit_bytes:  # drop the oldest messages in memory
                size -= len(waiting.pop(0).body)
                self._unsaved.lost += 1
                self._newly_lost += 1
        else:
            self.disk_error = None
            self._unsaved = QueueChanges()
