"""What waits for one receiver: on disk, and in memory while the disk takes nothing."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from maskstream.errors import SinkError
from maskstream.events.messages import Changes, Channel, QueuedMessage
from maskstream.events.outbox import Outbox


@dataclass(frozen=True)
class Waiting:
    """A letter that waits."""

    message: QueuedMessage
    number: int | None
    """Of the outbox; None where it is in memory alone."""


class ReceiverQueue:
    """Letters of one receiver, in order. Two threads call: one puts them in, the other takes them out.

    What the disk does not take is kept in memory, is delivered from there, and goes to disk when there is room again.
    """

    def __init__(self, outbox: Outbox, receiver: str) -> None:
        """Begin with what an earlier run left on disk."""
        self.trouble: SinkError | None = None
        """Why the disk does not know everything; None where it does."""
        self._outbox = outbox
        self._receiver = receiver
        self._lock = Lock()
        self._unsaved = Changes()
        self._made_room = 0
        self._known = 0
        self._is_closed = False

    def put(self, messages: Sequence[QueuedMessage]) -> None:
        """Keep letters, on disk where that is possible."""
        with self._lock:
            self._unsaved.put += messages
            self._save()

    def save(self) -> None:
        """Bring the disk up to date."""
        with self._lock:
            self._save()

    def first(self, refused: Collection[Channel] = ()) -> Waiting | None:
        """Return the oldest letter that is not of a refused channel, or None.

        Raises:
            SinkError: The disk cannot be read.
        """
        with self._lock:
            found = self._outbox.first(self._receiver, set(self._unsaved.done), refused)
            if found is not None:
                return Waiting(found[1], found[0])
            return next((Waiting(message, None) for message in self._unsaved.put if message.channel not in refused), None)

    def done(self, waiting: Waiting) -> None:
        """Forget a letter that was delivered."""
        with self._lock:
            if self._is_closed:
                return  # it will be delivered again
            message = waiting.message
            if waiting.number is not None:
                self._unsaved.done.append(waiting.number)
            elif any(each is message for each in self._unsaved.put):
                self._unsaved.put = [each for each in self._unsaved.put if each is not message]
                self._unsaved.noted = [each for each in self._unsaved.noted if each.event != message.event] + [message]
            else:  # it came to disk while it was delivered
                self._unsaved.done_keys.append(message.key)
            self._save()

    def lost(self) -> int:
        """Return how many letters made room for newer ones, and the receiver has not been told.

        Raises:
            SinkError: The disk cannot be read.
        """
        with self._lock:
            return self._outbox.lost(self._receiver) + self._unsaved.lost

    def told_lost(self, records: int) -> None:
        """Take note that the receiver knows of so many."""
        with self._lock:
            self._unsaved.lost -= records
            self._save()

    def made_room(self) -> int:
        """Return how many letters made room since the last call."""
        with self._lock:
            records, self._made_room = self._made_room, 0
            return records

    def waiting(self) -> int:
        """Return how many letters wait, in memory and on disk."""
        with self._lock:
            with suppress(SinkError):  # then as many as when it could be read
                self._known = self._outbox.waiting(self._receiver) - len(self._unsaved.done)
            return max(0, self._known) + len(self._unsaved.put)

    def close(self) -> tuple[int, int]:
        """Bring the disk up to date one last time; return how many letters wait on it, and how many are in memory alone."""
        with self._lock:
            self._save()
            self._is_closed = True
            in_memory = len(self._unsaved.put)
        return self.waiting() - in_memory, in_memory

    def _save(self) -> None:
        if not self._unsaved or self._is_closed:
            return
        try:
            self._made_room += self._outbox.update(self._receiver, self._unsaved)
        except SinkError as error:
            self.trouble = error
            self._bound()
        else:
            self.trouble = None
            self._unsaved = Changes()

    def _bound(self) -> None:
        """Let the oldest letters in memory go where there are more than may wait."""
        size = sum(len(message.body) for message in self._unsaved.put)
        while size > self._outbox.limit_bytes and self._unsaved.put:
            size -= len(self._unsaved.put.pop(0).body)
            self._unsaved.lost += 1
            self._made_room += 1
