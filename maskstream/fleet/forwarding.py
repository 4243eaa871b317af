"""Pass the committed records of a site to its receivers: a file, MQTT, webhooks, the store."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Final, Protocol

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkClosed, SinkError
from maskstream.events.event_records import parse_record
from maskstream.events.sink import Receiver
from maskstream.events.types import EventOrCounts, MaskEvent
from maskstream.fleet.collector import Collector
from maskstream.fleet.collector_tables import Outgoing
from maskstream.fleet.forwarded_file import ForwardedFile

_BATCH: Final = 500
_UNSAVED: Final = 5_000
"""Records that a receiver gets before it has saved them. The others go on."""
_LOG_EVERY_S: Final = 60.0
_POLL_S: Final = 0.02


class SavingReceiver(Receiver, Protocol):
    """A receiver that says when records would survive a kill. It accepts a record again that it had before it was killed."""

    def is_saved(self) -> bool:
        """Return whether everything that was taken is on the disk or delivered."""
        ...


@dataclass
class _Progress:
    """How far one receiver has come."""

    receiver: SavingReceiver
    taken: int = 0
    """The highest number that it has taken."""
    saved: int = 0
    """The highest number that it has saved."""
    unsaved: int = 0
    """Records between the two."""
    error: str = ""
    logged_s: float | None = None


class Forwarding:
    """Gives each receiver every committed record in order. One thread calls.

    A record is marked as delivered when all receivers have saved it. After a kill, the others are given again: network receivers
    know them by their key, the store by event and sequence, and a file by its lines. A receiver that fails does not hold up the
    others.
    """

    def __init__(self, collector: Collector, receivers: Sequence[SavingReceiver], clock: Clock = MONOTONIC) -> None:
        """Begin with the records that were not delivered.

        Args:
            collector: Stays open when the forwarding is closed.
            receivers: Belong to the forwarding, which closes them. `Delivery` and `StoreSink` need `events_continue`.
            clock: Measures the times between log lines.

        Raises:
            SinkError: The collector cannot be written.
        """
        self._collector = collector
        self._clock = clock
        self._receivers = [_Progress(each) for each in receivers]
        self._delivered = 0
        self._is_closed = False
        files = [each for each in receivers if isinstance(each, ForwardedFile)]
        collector.delivered(0, {each.name: each.position for each in files if each.position is not None})

    def step(self) -> int:
        """Settle hand-overs, give the receivers what is new, and return how many records all of them have saved now.

        Raises:
            SinkClosed: The reader of standard output has closed it.
            SinkError: The disk of the collector is full or fails.
        """
        self._collector.settle()
        for each in self._receivers:
            self._give(each)
        return self._confirm()

    def health(self) -> str:
        """Return one line for each receiver with a problem or with records that wait."""
        lines = [each.error or each.receiver.health() for each in self._receivers]
        return "; ".join(line for line in lines if line)

    def close(self, timeout_s: float = 1.0) -> None:
        """Give and confirm what is there, in bounded time, and close the receivers. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._finish(self._clock.now_s() + timeout_s)
        finally:
            for each in self._receivers:
                each.receiver.close()

    def _finish(self, until_s: float) -> None:
        never = Event()
        while True:
            self.step()
            is_done = not self._receivers or not self._collector.outgoing(limit=1)
            if is_done or self._clock.now_s() >= until_s:
                return
            self._clock.wait(never, _POLL_S)

    def _give(self, progress: _Progress) -> None:
        """Give a receiver what is new, and find out what it has saved."""
        limit = min(_BATCH, _UNSAVED - progress.unsaved)
        rows = self._collector.outgoing(limit, after=progress.taken) if limit > 0 else []
        try:
            if rows:
                progress.receiver.take([_item_of(row) for row in rows])
                progress.taken = rows[-1].number
                progress.unsaved += len(rows)
        except SinkClosed:
            raise
        except SinkError as error:
            self._failed(progress, error)
            return
        if progress.unsaved and progress.receiver.is_saved():
            progress.saved, progress.unsaved = progress.taken, 0
            if progress.error:
                logger.info("records are written again, after: {}", progress.error)
                progress.error, progress.logged_s = "", None

    def _confirm(self) -> int:
        """Mark as delivered what all receivers have saved, and return how many records that is at most."""
        if self._receivers:
            up_to = min(each.saved for each in self._receivers)
        else:
            up_to = max((row.number for row in self._collector.outgoing(_BATCH)), default=0)
        if up_to <= self._delivered:
            return 0
        self._collector.delivered(up_to, self._positions(up_to))
        newly, self._delivered = up_to - self._delivered, up_to
        return newly

    def _positions(self, up_to: int) -> dict[str, int]:
        """Return the positions of the files that have exactly the records up to a number."""
        found = {}
        for each in self._receivers:
            if isinstance(each.receiver, ForwardedFile) and each.taken == up_to:
                position = each.receiver.acknowledged()
                if position is not None:
                    found[each.receiver.name] = position
        return found

    def _failed(self, progress: _Progress, error: SinkError) -> None:
        now_s = self._clock.now_s()
        progress.error = str(error)
        if progress.logged_s is None or now_s - progress.logged_s >= _LOG_EVERY_S:
            progress.logged_s = now_s
            logger.error("{}; the records are kept, trying again", error)


def forwarded_file(path: str, collector: Collector) -> ForwardedFile:
    """Open a file for records where an earlier run has left it.

    Args:
        path: `-` is standard output.
        collector: Knows how far the file had come.

    Raises:
        SinkError: The file cannot be written.
    """
    return ForwardedFile(path, collector.position(ForwardedFile.name_of(path)))


def _item_of(row: Outgoing) -> EventOrCounts:
    item = parse_record(json.loads(row.body))
    return item if isinstance(item, MaskEvent) else replace(item, key=row.key)
