"""Collect frames of all sources into batches."""

from threading import Condition
from typing import Final, Generic, TypeVar

from maskstream.clock import MONOTONIC, Clock
from maskstream.stream.channel import Channel, Overflow, wait

T = TypeVar("T")
_QUIET_TURN_S: Final = 0.1
"""While other channels have items, a quiet one has a turn in this time. A person who comes into view is found that much later."""


class Batcher(Generic[T]):
    """Takes items from the channels in turn, so that no source blocks another.

    It never waits for a batch to fill: low latency is more important than full batches. Only where `waits_until_full` is set,
    each batch has the same frames in every run. Quiet channels, those of cameras on which the detector rests, leave their turns
    to other channels with items, but for one turn in 0.1 s.
    """

    def __init__(self, batch_size: int, clock: Clock = MONOTONIC) -> None:
        """Begin without channels.

        Args:
            batch_size: The maximum number of items in a batch. It may be changed between batches.
            clock: For the turns of quiet channels.
        """
        self.batch_size = batch_size
        self.waited_s = 0.0
        """Time spent waiting for items."""
        self.waits_until_full = False
        """Whether a batch is read when a channel has all its items, or as many as it can hold."""
        self._changed = Condition()
        self._clock = clock
        self._channels: list[Channel[T]] = []
        self._quiet: dict[Channel[T], float] = {}
        """The quiet channels, and when each had its last turn."""
        self._closed = False
        self._expecting = False

    def expect(self, more: bool) -> None:
        """Set whether more channels will be added, so that reading continues when all channels are exhausted."""
        if more is not self._expecting:
            with self._changed:
                self._expecting = more
                self._changed.notify_all()

    def channel(self) -> Channel[T]:
        """Add a channel that holds the newest item, and return it."""
        channel: Channel[T] = Channel(1, Overflow.DROP_OLDEST, self._changed)
        with self._changed:
            self._channels.append(channel)
        return channel

    def discard(self, channel: Channel[T]) -> None:
        """Remove a channel."""
        with self._changed:
            self._channels.remove(channel)
            self._quiet.pop(channel, None)
            self._changed.notify_all()

    @property
    def quiet(self) -> set[Channel[T]]:
        """The quiet channels."""
        with self._changed:
            return set(self._quiet)

    def set_quiet(self, channel: Channel[T], is_quiet: bool) -> None:
        """Set whether a channel, whose item was just processed, leaves its turns to others."""
        with self._changed:
            if not is_quiet:
                self._quiet.pop(channel, None)
            elif channel in self._channels:
                self._quiet[channel] = self._clock.now_s()

    def close(self) -> None:
        """Add no more channels: reading ends when all channels are exhausted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_over(self) -> bool:
        may_come = (self._expecting or not self._channels) and not self._closed
        return not may_come and all(channel.exhausted for channel in self._channels)

    def _is_due(self) -> bool:
        if self.waits_until_full:
            return any(channel.is_filled(self.batch_size) for channel in self._channels)
        return any(map(len, self._channels))

    def has_batch(self) -> bool:
        """Return whether `next_batch` returns without waiting."""
        with self._changed:
            return self._is_due() or self._is_over()

    def next_batch(self) -> list[T]:
        """Wait for at least one item. An empty list means that all channels are exhausted."""
        with self._changed:
            self.waited_s += wait(self._changed, lambda: self._is_due() or self._is_over())
            batch: list[T] = []
            empty_in_a_row = 0
            waiting = self._waiting_turns()
            while len(batch) < self.batch_size and empty_in_a_row < len(self._channels):
                channel = self._channels.pop(0)
                self._channels.append(channel)
                item = None if channel in waiting else channel.poll()
                empty_in_a_row = empty_in_a_row + 1 if item is None else 0
                if item is not None:
                    batch.append(item)
            return batch

    def _waiting_turns(self) -> set[Channel[T]]:
        """Return the quiet channels that leave their turn to others. Without items in others it is none."""
        now_s = self._clock.now_s()
        waiting = {channel for channel, turn_s in self._quiet.items() if now_s - turn_s < _QUIET_TURN_S}
        return waiting if any(len(channel) for channel in self._channels if channel not in waiting) else set()
