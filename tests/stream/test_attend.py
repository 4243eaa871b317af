"""The user in front of the window: holding and leaving."""

import time
from collections.abc import Iterator
from itertools import count, pairwise
from threading import Event

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkClosed
from maskstream.types import Frame, Output
from tests.clocks import ManualClock
from tests.receivers import wait_until
from tests.slowness import measured_slowness
from tests.stream.test_engine import ListSink, ListSource, SlowDetector, engine, within

HELD_S = 0.4


class Timed(ListSink):
    """Remembers when each frame was written."""

    def __init__(self, clock: Clock = MONOTONIC) -> None:
        super().__init__()
        self.written_s: list[float] = []
        self._clock = clock

    def write(self, output: Output) -> None:
        super().write(output)
        self.written_s.append(self._clock.now_s())


class Held:
    """A user who holds the run once so many frames were written, for `HELD_S`."""

    def __init__(self, sink: ListSink, count: int, clock: Clock = MONOTONIC) -> None:
        self.written: set[int] = set()
        """How many frames were written, each time that the run was held."""
        self.holds = False
        self._sink, self._count, self._clock = sink, count, clock
        self._until_s: float | None = None

    def attend(self) -> bool:
        if len(self._sink.outputs) == self._count and self._until_s is None:
            self._until_s = self._clock.now_s() + HELD_S
        self.holds = self._until_s is not None and self._clock.now_s() < self._until_s
        if self.holds:
            self.written.add(len(self._sink.outputs))
        return self.holds


def test_a_held_file_goes_on_where_it_was() -> None:
    sink = Timed()
    held = Held(sink, 5)
    report = engine([ListSource(12)], [sink], attend=held.attend).run()
    assert held.written == {5}
    assert max(after - before for before, after in pairwise(sink.written_s)) >= HELD_S * 0.9
    assert (sink.indices(), report.dropped) == (list(range(12)), 0)


def test_a_held_file_in_real_time_goes_on_where_it_was() -> None:
    """On a clock that goes on once the frames before are written, so that no other frame than what was on its way is dropped."""

    class Counting(ListSource):
        given = 0

        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                yield frame
                self.given += 1  # it is in its channel

    class Patient(ManualClock):
        def wait(self, event: Event, timeout_s: float) -> bool:
            wait_until(lambda: held.holds or len(sink.outputs) >= source.given - 2 * bool(held.written))
            event.wait(0.001)
            return super().wait(event, timeout_s)

    clock, source = Patient(), Counting(12)
    sink = Timed(clock)
    held = Held(sink, 5, clock)
    report = engine([source], [sink], attend=held.attend, clock=clock, realtime=True).run()
    assert held.written == {5}
    assert max(after - before for before, after in pairwise(sink.written_s)) >= HELD_S * 0.9
    assert len(sink.outputs) + report.dropped == 12
    assert report.dropped <= 2  # what was on its way when it was held
    assert sink.written_s[-1] - sink.written_s[0] >= HELD_S + 11 / 25 * 0.9


def test_the_user_is_attended_to_while_no_frame_comes() -> None:
    class Waiting(ListSource):
        def __iter__(self) -> Iterator[Frame]:
            wait_until(lambda: len(calls) > 5)
            yield from super().__iter__()

    calls: list[float] = []

    def attend() -> bool:
        calls.append(time.monotonic())
        return False

    with measured_slowness() as slowest:
        engine([Waiting(1)], [ListSink()], attend=attend).run()
        allowed_s = 5 * 0.3 * slowest()
    assert calls[5] - calls[0] < allowed_s


def test_a_user_who_leaves_ends_the_run_quietly_although_nothing_comes() -> None:
    def attend() -> bool:
        raise SinkClosed("the window was closed")

    source, sink = ListSource(1000, wait_s=0.01), ListSink()
    within(3, engine([source], [sink], SlowDetector(0.01), attend=attend).run)
    assert (source.closed.is_set(), sink.closed) == (True, 1)


def test_stop_leaves_a_held_run() -> None:
    sink, calls = ListSink(), count()

    def attend() -> bool:
        if next(calls) == 10:
            running.stop()
        return True

    running = engine([ListSource(100)], [sink], attend=attend, realtime=True)
    within(3, running.run)
    assert (sink.outputs, sink.closed) == ([], 1)
