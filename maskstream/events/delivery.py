"""Deliver records over a network, each at least once. They stay in the outbox until the receiver has acknowledged them."""

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
from maskstream.events.messages import Channel, QueuedMessage, interrupted_message, lost_message, message_of
from maskstream.events.outbox import Outbox
from maskstream.events.receiver_queue import ReceiverQueue
from maskstream.events.types import EventOrCounts
from maskstream.events.waiting_times import WaitingTimes
from maskstream.stream.states import StateChange

_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_JITTER: Final = 0.2
_DISK_RETRY_S: Final = 5.0
_LOG_EVERY_S: Final = 60.0
_REPEAT_REASON_S: Final = 600.0
"""An unchanged reason is logged again after this time."""


class NotDelivered(Exception):
    """The receiver has not acknowledged a record."""

    def __init__(self, reason: str, *, is_final: bool = False, is_of_channel: bool = False) -> None:
        """Create the error.

        Args:
            reason: What is wrong, and what to do.
            is_final: Whether the receiver will never accept this record, so that it is discarded.
            is_of_channel: Whether only this channel (camera and kind) is refused, so that others are still sent.
        """
        super().__init__(reason)
        self.is_final = is_final
        self.is_of_channel = is_of_channel


class Transport(Protocol):
    """Sends messages to one receiver. One thread calls `send`; the main thread calls the rest."""

    key: str
    """Identifies the receiver in the outbox: the same in each run, without passwords."""
    former_keys: tuple[str, ...]
    """Keys that earlier runs may have used for this receiver."""
    name: str
    """Shown in the log, without passwords."""

    def send(self, message: QueuedMessage) -> None:
        """Send a message, and return when the receiver has acknowledged it.

        Raises:
            NotDelivered: It was not acknowledged.
        """
        ...

    def state_changed(self, change: StateChange) -> None:
        """Take the new state of a source; must not block."""
        ...

    def close(self) -> None:
        """Disconnect in bounded time."""
        ...


@dataclass(frozen=True)
class DeliveryStatus:
    """The records that wait for one receiver."""

    receiver: str
    """Its name, without passwords."""
    waiting: int
    oldest_s: float | None
    """How long the oldest record waits, in seconds since this run added or found it; None where none waits."""
    lost: int
    """Records that were dropped since the start of the run, because the queue was full."""
    reason: str
    """Why the latest attempt failed; empty where none did."""


@dataclass
class _Backoff:
    """When to retry after failures: after 1 s, 2 s, 4 s ... 30 s, plus or minus 20 %."""

    failures: int = 0
    retry_at_s: float = 0.0
    reason: str = ""
    logged_at_s: float = 0.0

    def failed(self, reason: str, now_s: float) -> bool:
        """Count a failure, and return whether its reason should be logged."""
        wait_s = min(_FIRST_WAIT_S * 2 ** min(self.failures, 10), _LONGEST_WAIT_S)
        self.failures += 1
        self.retry_at_s = now_s + wait_s * uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 (clients must not retry in step)
        should_log = reason != self.reason or now_s - self.logged_at_s >= _REPEAT_REASON_S
        if should_log:
            self.reason, self.logged_at_s = reason, now_s
        return should_log


class Delivery:
    """Receives events and counts for one network receiver: writes them to the outbox at once, and sends them from a thread.

    Each failure is logged and retried. Only `close` ends the delivery.
    """

    def __init__(self, transport: Transport, outbox: Outbox, clock: Clock = MONOTONIC, *, events_continue: bool = False) -> None:
        """Begin to send what an earlier run left, and end its open events with cause `interrupted`.

        Args:
            transport: Sends messages to the receiver.
            outbox: Stores them until the receiver has acknowledged them.
            clock: Measures the waits after a failure.
            events_continue: Whether the events of a killed run may continue, as those of a fleet, which its nodes end.

        Raises:
            SinkError: The outbox cannot be read.
        """
        self._transport = transport
        self._clock = clock
        self._outbox = outbox
        self._queue = ReceiverQueue(outbox, transport.key)
        self._has_work = Event()
        self._closing = Event()
        self._backoff = _Backoff()
        self._refused: dict[Channel, _Backoff] = {}
        self._lost_message: tuple[QueuedMessage, int] | None = None
        """The message about lost records that is being sent, and the number in it."""
        self._lost = 0
        """Records that were lost since the last log line about it."""
        self._lost_logged_s = self._disk_logged_s = -_LOG_EVERY_S
        self._times = WaitingTimes(self._queue.waiting_count(), clock.now_s())
        if not events_continue:
            self._add([interrupted_message(message) for message in outbox.open_events(transport.key)])
        outbox.attach()
        waiting = self._queue.waiting_count()
        if waiting:
            logger.info("{}: {} records of an earlier run are sent now", transport.name, waiting)
        self._thread = Thread(target=self._run, name=f"deliver {transport.key}", daemon=True)
        self._thread.start()

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Write records to the outbox; does not wait for the receiver."""
        self._add([message_of(item) for item in items])

    def state_changed(self, change: StateChange) -> None:
        """Pass on the state of a source."""
        self._transport.state_changed(change)

    def health(self) -> str:
        """Return one line about how many records wait and why; empty where none wait."""
        waiting = self._queue.waiting_count()
        if not waiting:
            return ""
        reasons = [each.reason for each in (self._backoff, *tuple(self._refused.values())) if each.failures]
        if self._queue.disk_error is not None:
            reasons.append(str(self._queue.disk_error))
        line = f"{self._transport.name}: {_events(waiting)} wait"
        return f"{line}: {'; '.join(reasons)}" if reasons else line

    def is_saved(self) -> bool:
        """Return whether all records that were taken and not delivered are on the disk."""
        return self._queue.is_saved()

    def status(self) -> DeliveryStatus:
        """Return what waits, without a wait for the disk. May be called from any thread."""
        reasons = [each.reason for each in (self._backoff, *tuple(self._refused.values())) if each.failures]
        times = self._times
        return DeliveryStatus(
            receiver=self._transport.name,
            waiting=times.waiting(),
            oldest_s=times.oldest_s(self._clock.now_s()),
            lost=times.lost,
            reason="; ".join(reasons),
        )

    def close(self) -> None:
        """Send what can be sent in 0.8 s, and leave the rest in the outbox. A second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._has_work.set()
        try:
            self._thread.join(self._outbox.closing_time_left_s())
            self._transport.close()
        finally:
            on_disk, in_memory = self._queue.close()
            self._count_lost()
            self._log_lost()
            if on_disk:
                logger.warning("{}: {} records wait in {} for the next run", self._transport.name, on_disk, self._outbox.path)
            if in_memory:
                logger.error("{}: {} are lost: {}", self._transport.name, _events(in_memory), self._queue.disk_error)
            self._outbox.detach()

    def _add(self, messages: Sequence[QueuedMessage]) -> None:
        if messages:
            for message in messages:  # before they can be delivered
                self._times.add(message.key, self._clock.now_s())
            self._queue.add(messages)
            self._log_disk_state()
            self._count_lost()
            self._has_work.set()
        if self._clock.now_s() - self._lost_logged_s >= _LOG_EVERY_S:
            self._log_lost()

    def _count_lost(self) -> None:
        lost = self._queue.newly_lost()
        self._lost += lost
        self._times.drop_oldest(lost)

    def _log_lost(self) -> None:
        if self._lost:
            logger.warning("{}: the queue is full, the {} oldest records were lost", self._transport.name, self._lost)
            self._lost_logged_s, self._lost = self._clock.now_s(), 0

    def _log_disk_state(self) -> None:
        error, now_s = self._queue.disk_error, self._clock.now_s()
        if error is not None and now_s - self._disk_logged_s >= _LOG_EVERY_S:
            self._disk_logged_s = now_s
            logger.error("{}: {}; until then events are kept in memory", self._transport.name, error)
        elif error is None and self._disk_logged_s >= 0:
            self._disk_logged_s = -_LOG_EVERY_S
            logger.info("{}: the queue is on disk again", self._transport.name)

    # The methods below are called by the delivery thread.

    def _run(self) -> None:
        """Send messages in order. After `close`, stop when none are left or one fails."""
        while True:
            self._has_work.clear()
            try:
                self._queue.save()
                self._send_all()
                self._backoff = _Backoff()
                self._outbox.truncate_log()
            except (NotDelivered, SinkError) as error:
                self._failed(str(error))
            except Exception as error:  # an unexpected one must be logged, and must not end the thread
                # Its text is left out: it may contain an address with a token.
                places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
                self._failed(f"internal error, {type(error).__name__} in {' '.join(places[-4:])}; please report it")
            self._log_disk_state()
            if self._closing.is_set():
                return
            self._wait()

    def _failed(self, reason: str) -> None:
        if self._backoff.failed(reason, self._clock.now_s()) and not self._closing.is_set():
            waiting = _events(self._queue.waiting_count())
            logger.warning("{}: not delivered: {}; {} wait, trying again", self._transport.name, reason, waiting)

    def _wait(self) -> None:
        """Wait until a message is added, or until the next retry."""
        now_s = self._clock.now_s()
        if self._backoff.failures:
            self._clock.wait(self._closing, max(0.0, self._backoff.retry_at_s - now_s))
            return
        waits_s = [each.retry_at_s - now_s for each in self._refused.values()]
        if self._queue.disk_error is not None:
            waits_s.append(_DISK_RETRY_S)
        if waits_s:
            self._clock.wait(self._has_work, max(0.0, min(waits_s)))
        else:
            self._has_work.wait()

    def _send_all(self) -> None:
        """Send all waiting messages, the oldest first. A refused channel is left out until its retry; the others continue."""
        now_s = self._clock.now_s()
        refused = {channel for channel, backoff in self._refused.items() if backoff.retry_at_s > now_s}
        while (waiting := self._queue.oldest(refused)) is not None:
            message = waiting.message
            try:
                self._report_lost(message)
                self._send(message)
            except NotDelivered as error:
                if not error.is_of_channel:
                    raise
                self._lost_message = None  # reported again through another channel
                refused.add(message.channel)
                if self._refused.setdefault(message.channel, _Backoff()).failed(str(error), self._clock.now_s()):
                    logger.warning("{}: not delivered: {}; the records are kept, trying again", self._transport.name, error)
                continue
            had_failed = self._refused.pop(message.channel, None) is not None or self._backoff.failures > 0
            self._backoff = _Backoff()
            if had_failed:
                logger.info("{}: delivering again", self._transport.name)
            self._queue.delivered(waiting)
            self._times.remove(message.key)

    def _send(self, message: QueuedMessage) -> None:
        """Send a message, and discard it where the receiver will never accept it.

        Raises:
            NotDelivered: A retry may succeed.
        """
        try:
            self._transport.send(message)
        except NotDelivered as error:
            if not error.is_final:
                raise
            logger.error("{}: record {} is discarded: {}", self._transport.name, message.key, error)

    def _report_lost(self, next_message: QueuedMessage) -> None:
        """Report to the receiver how many records are lost, before the next event.

        A report is sent as the same message until it is acknowledged; records that are lost meanwhile get another one.
        """
        camera, kind = next_message.channel
        while kind == "events" and (lost := self._queue.lost_count()):
            if self._lost_message is None:
                self._lost_message = lost_message(camera, lost), lost
            message, reported = self._lost_message
            self._send(message)
            self._lost_message = None
            self._queue.lost_reported(reported)


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number} events"
