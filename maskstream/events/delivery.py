"""Deliver records over a network, each at least once: they wait on disk until the receiver has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import uniform
from threading import Event, Thread
from traceback import extract_tb
from typing import Final, Protocol

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkError
from maskstream.events.messages import Channel, QueuedMessage, interrupted, lost_message, message_of
from maskstream.events.outbox import Outbox
from maskstream.events.receiver_queue import ReceiverQueue
from maskstream.events.types import EventOrCounts
from maskstream.stream.states import StateChange

_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_DISK_AGAIN_S: Final = 5.0
_SAY_EVERY_S: Final = 60.0
_SAY_AGAIN_S: Final = 600.0
"""After which a reason is said again that has not changed."""


class NotDelivered(Exception):
    """A record could not be delivered."""

    def __init__(self, reason: str, *, is_final: bool = False, is_of_channel: bool = False) -> None:
        """Say why.

        Args:
            reason: What is wrong, and what to do.
            is_final: Whether trying again is of no use.
            is_of_channel: Whether records of other cameras, or of the other kind, may be taken all the same.
        """
        super().__init__(reason)
        self.is_final = is_final
        self.is_of_channel = is_of_channel


class Transport(Protocol):
    """Brings letters to one receiver. `send` is called by one thread, all else by the main thread."""

    key: str
    """Names the receiver in the outbox; the same in every run, without passwords."""
    former_keys: tuple[str, ...]
    """Names that it may have had in the outbox before."""
    name: str
    """Names it to people, without passwords."""

    def send(self, message: QueuedMessage) -> None:
        """Deliver a letter; return when the receiver has it.

        Raises:
            NotDelivered: It does not.
        """
        ...

    def state_changed(self, change: StateChange) -> None:
        """Take note of what becomes of a source; must not wait."""
        ...

    def close(self) -> None:
        """Leave in bounded time."""
        ...


@dataclass
class _Backoff:
    """When to try again what has failed: after 1 s, 2 s, 4 s and so on up to 30 s, give or take a fifth."""

    failures: int = 0
    due_s: float = 0.0
    reason: str = ""
    said_s: float = 0.0

    def failed(self, reason: str, now_s: float) -> bool:
        """Take note of a failure, and return whether it is worth saying."""
        wait_s = min(_FIRST_WAIT_S * 2**self.failures, _LONGEST_WAIT_S) if self.failures < 10 else _LONGEST_WAIT_S
        self.failures += 1
        self.due_s = now_s + wait_s * uniform(0.8, 1.2)  # noqa: S311 (so that not all come at once)
        is_worth = reason != self.reason or now_s - self.said_s >= _SAY_AGAIN_S
        if is_worth:
            self.reason, self.said_s = reason, now_s
        return is_worth


class Delivery:
    """A receiver behind a network: what it is to be told goes to disk at once, and from there by a thread of its own.

    Whatever fails is said and tried again; nothing ends the delivery but `close`.
    """

    def __init__(self, transport: Transport, outbox: Outbox, clock: Clock = MONOTONIC) -> None:
        """Begin to deliver what an earlier run left; events that it left open are ended, as `interrupted`.

        Args:
            transport: Brings them to the receiver.
            outbox: Keeps them until then.
            clock: Times the waits after a failure.

        Raises:
            SinkError: The outbox cannot be read.
        """
        self._transport = transport
        self._clock = clock
        self._outbox = outbox
        self._backlog = ReceiverQueue(outbox, transport.key)
        self._news = Event()
        self._closing = Event()
        self._down = _Backoff()
        self._refused: dict[Channel, _Backoff] = {}
        self._lost_note: tuple[QueuedMessage, int] | None = None
        self._lost = 0
        self._said_lost_s = self._said_disk_s = -_SAY_EVERY_S
        self._put([interrupted(message) for message in outbox.going_on(transport.key)])
        outbox.join()
        left = self._backlog.waiting()
        if left:
            logger.info("{}: {} records of an earlier run are delivered now", transport.name, left)
        self._thread = Thread(target=self._deliver, name=f"deliver {transport.key}", daemon=True)
        self._thread.start()

    def take(self, happenings: Sequence[EventOrCounts]) -> None:
        """Put records on disk; the receiver is not waited for."""
        self._put([message_of(happening) for happening in happenings])

    def state_changed(self, change: StateChange) -> None:
        """Hand on what becomes of a source."""
        self._transport.state_changed(change)

    def health(self) -> str:
        """Return how many records wait and why, as a line; nothing where none does."""
        waiting = self._backlog.waiting()
        reasons = [each.reason for each in (self._down, *tuple(self._refused.values())) if each.failures]
        if self._backlog.trouble is not None:
            reasons.append(str(self._backlog.trouble))
        return f"{self._transport.name}: {_events(waiting)} wait{': ' if reasons else ''}{'; '.join(reasons)}" if waiting else ""

    def close(self) -> None:
        """Deliver what can be delivered in a moment, and leave the rest on disk. A second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._news.set()
        try:
            self._thread.join(self._outbox.time_left_s())
            self._transport.close()
        finally:
            left, in_memory = self._backlog.close()
            self._lost += self._backlog.made_room()
            self._say_lost()
            if left:
                logger.warning("{}: {} records wait in {} for the next run", self._transport.name, left, self._outbox.path)
            if in_memory:
                logger.error("{}: {} are lost: {}", self._transport.name, _events(in_memory), self._backlog.trouble)
            self._outbox.leave()

    def _put(self, messages: Sequence[QueuedMessage]) -> None:
        if messages:
            self._backlog.put(messages)
            self._say_disk()
            self._lost += self._backlog.made_room()
            self._news.set()
        if self._clock.now_s() - self._said_lost_s >= _SAY_EVERY_S:
            self._say_lost()

    def _say_lost(self) -> None:
        if self._lost:
            logger.warning("{}: the queue is full, the {} oldest records were lost", self._transport.name, self._lost)
            self._said_lost_s, self._lost = self._clock.now_s(), 0

    def _say_disk(self) -> None:
        trouble, now_s = self._backlog.trouble, self._clock.now_s()
        if trouble is not None and now_s - self._said_disk_s >= _SAY_EVERY_S:
            self._said_disk_s = now_s
            logger.error("{}: {}; until then they are kept in memory", self._transport.name, trouble)
        elif trouble is None and self._said_disk_s >= 0:
            self._said_disk_s = -_SAY_EVERY_S
            logger.info("{}: the queue is on disk again", self._transport.name)

    # The thread that delivers.

    def _deliver(self) -> None:
        """Send letters in order, until there are none when closing, or one fails then."""
        while True:
            self._news.clear()
            try:
                self._backlog.save()
                self._send_all()
                self._down = _Backoff()
                self._outbox.tidy()
            except (NotDelivered, SinkError) as reason:
                self._failed(str(reason))
            except Exception as mistake:  # whatever it is, it must not end the delivery without a word
                self._failed(_mistake(mistake))
            self._say_disk()
            if self._closing.is_set():
                return
            self._wait()

    def _failed(self, reason: str) -> None:
        if self._down.failed(reason, self._clock.now_s()) and not self._closing.is_set():
            waiting = self._backlog.waiting()
            logger.warning("{}: not delivered: {}; {} wait, trying again", self._transport.name, reason, _events(waiting))

    def _wait(self) -> None:
        """Wait until there is something to send, or it is time to try again what failed."""
        now_s = self._clock.now_s()
        if self._down.failures:
            self._clock.wait(self._closing, max(0.0, self._down.due_s - now_s))
            return
        waits_s = [each.due_s - now_s for each in self._refused.values()]
        if self._backlog.trouble is not None:
            waits_s.append(_DISK_AGAIN_S)
        if waits_s:
            self._clock.wait(self._news, max(0.0, min(waits_s)))
        else:
            self._news.wait()

    def _send_all(self) -> None:
        """Send what waits, the oldest first; what the receiver refuses of a channel holds back that channel alone."""
        now_s = self._clock.now_s()
        refused = {channel for channel, backoff in self._refused.items() if backoff.due_s > now_s}
        while (waiting := self._backlog.first(refused)) is not None:
            message = waiting.message
            try:
                self._tell_lost(message)
                self._transport.send(message)
            except NotDelivered as reason:
                if reason.is_of_channel and not reason.is_final:
                    self._lost_note = None  # told through another channel
                    refused.add(message.channel)
                    self._refuse(message.channel, str(reason))
                    continue
                if not reason.is_final:
                    raise
                logger.error("{}: record {} is given up: {}", self._transport.name, message.key, reason)
            self._sent(message.channel)
            self._backlog.done(waiting)

    def _tell_lost(self, next_letter: QueuedMessage) -> None:
        """Tell the receiver how many records it will never get, before the next event.

        What was told once is told again as the same letter until the receiver has it, and what is lost meanwhile as another.
        """
        camera, kind = next_letter.channel
        while kind == "events" and (lost := self._backlog.lost()):
            if self._lost_note is None:
                self._lost_note = lost_message(camera, lost), lost
            message, lost = self._lost_note
            try:
                self._transport.send(message)
            except NotDelivered as reason:
                if not reason.is_final:
                    raise
                logger.error("{}: record {} is given up: {}", self._transport.name, message.key, reason)
            self._lost_note = None
            self._backlog.told_lost(lost)

    def _sent(self, channel: Channel) -> None:
        had_failed = self._refused.pop(channel, None) is not None or self._down.failures > 0
        self._down = _Backoff()
        if had_failed:
            logger.info("{}: delivering again", self._transport.name)

    def _refuse(self, channel: Channel, reason: str) -> None:
        backoff = self._refused.setdefault(channel, _Backoff())
        if backoff.failed(reason, self._clock.now_s()):
            logger.warning("{}: not delivered: {}; kept, and tried again", self._transport.name, reason)


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number} events"


def _mistake(error: Exception) -> str:
    """Return what went wrong and where; the text of the error is left out, for it may hold an address with its token."""
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
    return f"internal error, {type(error).__name__} in {' '.join(places[-4:])}; please report it"
