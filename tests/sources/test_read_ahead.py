from collections.abc import Iterator
from threading import Event, Thread

import pytest

from maskstream.errors import StreamLost
from maskstream.sources.read_ahead import ReadAhead
from tests.receivers import wait_until
from tests.slowness import LONGEST_S, promised


class Sender:
    """Yield some packets, then wait until it is released, then break off or end."""

    def __init__(self, packets: int, error: StreamLost | None = None) -> None:
        self.taken = 0
        self.closed = 0
        self.released = Event()
        self._packets = packets
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self._packets):
            self.taken += 1
            yield bytes([number])
        self.released.wait(LONGEST_S)
        if self._error:
            raise self._error

    def close(self) -> None:
        self.closed += 1

    def ahead(self, max_bytes: int = 1000) -> ReadAhead[bytes]:
        return ReadAhead(iter(self), len, self.close, max_bytes=max_bytes)


def test_all_items_are_read_before_they_are_requested() -> None:
    sender = Sender(20)
    ahead = sender.ahead()
    wait_until(lambda: sender.taken == 20)
    sender.released.set()
    taken = list(ahead)
    assert [item for item, _ in taken] == [bytes([number]) for number in range(20)]
    assert [at_s for _, at_s in taken] == sorted(at_s for _, at_s in taken)
    ahead.close()
    assert sender.closed == 1


def test_a_break_follows_what_came_before() -> None:
    sender = Sender(3, StreamLost("cam: lost"))
    sender.released.set()
    ahead = sender.ahead()
    items = []
    with pytest.raises(StreamLost, match="cam: lost"):
        items.extend(item for item, _ in ahead)
    assert len(items) == 3
    ahead.close()


def test_the_size_of_waiting_items_is_limited() -> None:
    sender = Sender(20)
    sender.released.set()
    ahead = sender.ahead(max_bytes=5)
    wait_until(lambda: sender.taken == 6)  # the sixth waits for room
    items = iter(ahead)
    next(items)
    wait_until(lambda: sender.taken == 7)
    assert len(list(items)) == 19
    ahead.close()


def test_close_ends_a_waiting_reader_although_the_read_hangs() -> None:
    sender = Sender(1)
    ahead = sender.ahead()
    items: list[bytes] = []
    reader = Thread(target=lambda: items.extend(item for item, _ in ahead))
    reader.start()
    wait_until(lambda: len(items) == 1)
    with promised(0.2):
        ahead.stop()
        reader.join(LONGEST_S)
    ahead.close()
    assert sender.closed == 0  # nothing is closed under who reads it
    sender.released.set()
    wait_until(lambda: sender.closed == 1)
    ahead.close()
    assert sender.closed == 1


def test_items_before_the_last_key_frame_are_skipped() -> None:
    sender = Sender(20)
    ahead = sender.ahead()
    wait_until(lambda: sender.taken == 20)
    sender.released.set()
    items = iter(ahead)
    assert next(items)[0] == bytes([0])
    assert ahead.skip_to_last(lambda item: item[0] % 7 == 0) == 13
    assert ahead.skip_to_last(lambda item: item[0] == 255) == 0
    assert [item[0] for item, _ in items] == list(range(14, 20))
    ahead.close()
