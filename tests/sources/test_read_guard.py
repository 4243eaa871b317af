from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Thread
from time import monotonic

import pytest

from maskstream.errors import StreamLost
from maskstream.sources.read_guard import ReadGuard
from tests.slowness import LONGEST_S, promised


class Device:
    """A device that must be released once, and not during a read."""

    def __init__(self) -> None:
        self.released = 0
        self.reading = Event()
        self.go_on = Event()
        self._busy = Lock()

    def read(self) -> str:
        with self._busy:
            self.reading.set()
            self.go_on.wait(LONGEST_S)
        return "picture"

    def release(self) -> None:
        assert self._busy.acquire(blocking=False), "released while it was read"
        self._busy.release()
        self.released += 1


def in_thread(read: Callable[[], object]) -> tuple[Thread, list[object]]:
    """Start a reader; returns it and the list that its result or error will be put into."""
    came: list[object] = []

    def run() -> None:
        try:
            came.append(read())
        except StreamLost as error:
            came.append(error)

    reader = Thread(target=run)
    reader.start()
    return reader, came


def lose() -> None:
    raise StreamLost("the camera is gone")


def test_reads_until_it_is_closed() -> None:
    device = Device()
    device.go_on.set()
    guard = ReadGuard(device.release)
    assert [guard.read(device.read), guard.read(device.read)] == ["picture", "picture"]
    guard.close()
    assert guard.read(device.read) is None
    assert device.released == 1


def test_second_close_does_nothing() -> None:
    device = Device()
    guard = ReadGuard(device.release)
    guard.close()
    guard.close()
    assert device.released == 1


def test_close_waits_for_a_short_read() -> None:
    device = Device()
    guard = ReadGuard(device.release)
    reader, came = in_thread(lambda: guard.read(device.read))
    assert device.reading.wait(LONGEST_S)
    closer = Thread(target=guard.close)
    closer.start()
    closer.join(0.1)
    assert closer.is_alive()
    device.go_on.set()
    closer.join(LONGEST_S)
    reader.join(LONGEST_S)
    assert came == [None]
    assert device.released == 1


def test_close_leaves_a_hanging_read_behind_which_then_releases() -> None:
    device = Device()
    guard = ReadGuard(device.release)
    reader, came = in_thread(lambda: guard.read(device.read))
    assert device.reading.wait(LONGEST_S)
    with promised(1.5):
        started_s = monotonic()
        guard.close()
    assert monotonic() - started_s > 0.9
    assert device.released == 0
    device.go_on.set()
    reader.join(LONGEST_S)
    assert came == [None]
    assert device.released == 1


def test_error_of_a_read_is_raised_and_nothing_is_released() -> None:
    device = Device()
    guard = ReadGuard(device.release)
    with pytest.raises(StreamLost):
        guard.read(lose)
    assert device.released == 0
    guard.close()
    assert device.released == 1


def test_an_error_caused_by_closing_is_ignored() -> None:
    device = Device()
    guard = ReadGuard(device.release)
    reader, came = in_thread(lambda: guard.read(lambda: lose() if device.read() else None))
    assert device.reading.wait(LONGEST_S)
    guard.close()
    device.go_on.set()
    reader.join(LONGEST_S)
    assert came == [None]
    assert device.released == 1


@pytest.mark.parametrize("_", range(20))
def test_released_once_however_many_read_and_close(_: int) -> None:
    device = Device()
    device.go_on.set()
    guard = ReadGuard(device.release)
    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(lambda: list(iter(lambda: guard.read(device.read), None))) for _ in range(2)]
        for closing in [threads.submit(guard.close) for _ in range(2)]:
            closing.result(LONGEST_S)
        for reader in readers:
            reader.result(LONGEST_S)
    assert device.released == 1
