"""Deliver records over a network, each at least once: they wait on disk until the receiver has them."""

import json
from collections.abc import Sequence
from random import uniform
from threading import Event, Thread
from typing import Any, Final, Protocol
from uuid import uuid4

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkError
from maskstream.events import Happening, MaskEvent, Phase
from maskstream.sinks.event_records import event_record
from maskstream.sinks.outbox import Letter, Outbox
from maskstream.states import StateChange

_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_SAY_EVERY_S: Final = 60.0


class NotDelivered(Exception):
    """A record could not be delivered."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        """Say why; `is_final` where trying again is of no use."""
        super().__init__(reason)
        self.is_final = is_final


class Carrier(Protocol):
    """Brings letters to one receiver. `send` is called by one thread, all else by the main thread."""

    key: str
    """Names the receiver in the outbox; the same in every run, without passwords."""
    name: str
    """Names it to people, without passwords."""

    def send(self, letter: Letter) -> None:
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


class Delivery:
    """A receiver behind a network: what it is to be told goes to disk at once, and from there by a thread of its own."""

    def __init__(self, carrier: Carrier, outbox: Outbox, clock: Clock = MONOTONIC) -> None:
        """Begin to deliver what an earlier run left; events that it left open are ended, as `interrupted`.

        Args:
            carrier: Brings them to the receiver.
            outbox: Keeps them until then.
            clock: Times the waits after a failure.

        Raises:
            SinkError: The outbox cannot be written.
        """
        self._carrier = carrier
        self._clock = clock
        self._outbox = outbox
        self._news = Event()
        self._closing = Event()
        self._said_lost_s = -_SAY_EVERY_S
        self._lost = 0
        self._put([_interrupted(letter) for letter in outbox.going_on(carrier.key)])
        outbox.join()
        left = outbox.waiting(carrier.key)
        if left:
            logger.info("{}: {} records of an earlier run are delivered now", carrier.name, left)
        self._thread = Thread(target=self._deliver, name=f"deliver {carrier.key}", daemon=True)
        self._thread.start()

    def take(self, happenings: Sequence[Happening]) -> None:
        """Put records on disk; the receiver is not waited for."""
        self._put([_letter(happening) for happening in happenings])

    def state_changed(self, change: StateChange) -> None:
        """Hand on what becomes of a source."""
        self._carrier.state_changed(change)

    def close(self) -> None:
        """Deliver what can be delivered in a moment, and leave the rest on disk. A second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._news.set()
        self._thread.join(self._outbox.time_left_s())
        self._carrier.close()
        self._say_lost()
        left = self._outbox.waiting(self._carrier.key)
        if left:
            logger.warning("{}: {} records wait in {} for the next run", self._carrier.name, left, self._outbox.path)
        self._outbox.leave()

    def _put(self, letters: Sequence[Letter]) -> None:
        if letters:
            self._lost += self._outbox.put(self._carrier.key, letters)
            self._news.set()
        if self._clock.now_s() - self._said_lost_s >= _SAY_EVERY_S:
            self._say_lost()

    def _say_lost(self) -> None:
        if self._lost:
            logger.warning("{}: the queue is full, the {} oldest records were lost", self._carrier.name, self._lost)
            self._said_lost_s, self._lost = self._clock.now_s(), 0

    def _deliver(self) -> None:
        """Send letters in order, until there are none when closing, or one fails then."""
        failures = 0
        while True:
            self._news.clear()
            try:
                self._send_all(had_failed=failures > 0)
                failures = 0
            except NotDelivered as reason:
                failures += 1
                if failures == 1:
                    logger.warning("{}: not delivered: {}; trying again", self._carrier.name, reason)
            except SinkError as error:
                logger.error("{}: {}", self._carrier.name, error)
                return
            if self._closing.is_set():
                return
            if failures:
                wait_s = min(_FIRST_WAIT_S * 2 ** (failures - 1), _LONGEST_WAIT_S)
                self._clock.wait(self._closing, wait_s * uniform(0.8, 1.2))  # noqa: S311 (so that not all come at once)
            else:
                self._news.wait()

    def _send_all(self, had_failed: bool) -> None:
        key, name = self._carrier.key, self._carrier.name
        while (found := self._outbox.first(key)) is not None:
            number, letter = found
            if lost := self._outbox.lost(key):
                self._carrier.send(_lost_letter(letter.camera, lost))
                self._outbox.told_lost(key, lost)
            try:
                self._carrier.send(letter)
            except NotDelivered as reason:
                if not reason.is_final:
                    raise
                logger.error("{}: record {} is given up: {}", name, letter.key, reason)
            if had_failed:
                had_failed = False
                logger.info("{}: delivering again", name)
            self._outbox.done(key, number)


def _letter(happening: Happening) -> Letter:
    record = event_record(happening)
    if isinstance(happening, MaskEvent):
        key = f"{happening.event_id}-{happening.sequence}"
        return Letter(happening.source_id, key, _body(record), happening.event_id, happening.phase is not Phase.END)
    return Letter(happening.source_id, f"counts-{uuid4().hex}", _body(record))


def _interrupted(letter: Letter) -> Letter:
    """Return the end of an event whose program did not live to end it."""
    record = json.loads(letter.body)
    ended = {"ended_s": record["last_s"], "ended_utc": record["last_utc"], "cause": "interrupted"}
    record |= {"sequence": record["sequence"] + 1, "phase": Phase.END.value, **ended}
    return Letter(letter.camera, f"{record['event_id']}-{record['sequence']}", _body(record), record["event_id"])


def _lost_letter(camera: str, records: int) -> Letter:
    return Letter(camera, f"lost-{uuid4().hex}", _body({"type": "lost", "records": records}))


def _body(record: dict[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False).encode()
