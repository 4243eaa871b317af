"""Gather what has arrived from all sources into batches."""

from collections.abc import Sequence
from itertools import cycle
from typing import Generic, TypeVar

from maskstream.stream.channel import Channel

T = TypeVar("T")


class Batcher(Generic[T]):
    """Takes turns between channels, so that no source starves another.

    It never waits for a batch to fill up: a frame that is there is worth more than a full batch.
    """

    def __init__(self, channels: Sequence[Channel[T]], batch_size: int) -> None:
        """Read from channels that share one `changed` condition.

        Args:
            channels: At least one.
            batch_size: Most items in a batch.
        """
        self._channels = channels
        self._batch_size = batch_size
        self._turns = cycle(channels)
        self._changed = channels[0].changed

    def next_batch(self) -> list[T]:
        """Wait for at least one item; an empty list means that all channels are exhausted."""
        with self._changed:
            self._changed.wait_for(lambda: any(map(len, self._channels)) or all(c.exhausted for c in self._channels))
            batch: list[T] = []
            empty_in_a_row = 0
            while len(batch) < self._batch_size and empty_in_a_row < len(self._channels):
                item = next(self._turns).poll()
                empty_in_a_row = empty_in_a_row + 1 if item is None else 0
                if item is not None:
                    batch.append(item)
            return batch
