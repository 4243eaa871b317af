"""The user in front of the window: holding and leaving."""

import threading
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from maskstream.errors import SinkClosed
from tests.stream.test_engine import ListSink, ListSource, SlowDetector, engine, within

HELD_S = 0.4


class Timed(ListSink):
    """Remembers when each frame was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written_s: list[float] = []

    def write(self, output: object) -> None:
        super().write(output)  # type: ignore[arg-type]
        self.written_s.append(time.monotonic())


def hold_after(sink: ListSink, count: int, seconds: float) -> Callable[[], bool]:
    """Hold for some time once `count` frames were written."""
    until: list[float] = []

    def attend() -> bool:
        if len(sink.outputs) == count and not until:
            until.append(time.monotonic() + seconds)
        return bool(until) and time.monotonic() < until[0]

    return attend


@pytest.mark.parametrize("realtime", [False, True])
def test_a_held_file_goes_on_where_it_was(realtime: bool) -> None:
    sink = Timed()
    report = engine([ListSource(12)], [sink], attend=hold_after(sink, 5, HELD_S), realtime=realtime).run()
    pauses = [after - before for before, after in pairwise(sink.written_s)]
    assert sum(pause >= HELD_S * 0.9 for pause in pauses) == 1
    assert len(sink.outputs) + report.dropped == 12
    assert report.dropped <= 2  # what was on its way when a file in real time was held
    if realtime:
        assert sink.written_s[-1] - sink.written_s[0] >= HELD_S + 11 / 25 * 0.9


def test_the_user_is_attended_to_while_no_frame_comes() -> None:
    calls: list[float] = []

    def attend() -> bool:
        calls.append(time.monotonic())
        return False

    engine([ListSource(1, wait_s=0.5)], [ListSink()], attend=attend).run()
    assert max(after - before for before, after in pairwise(calls)) < 0.3
    assert len(calls) >= 5


def test_a_user_who_leaves_ends_the_run_quietly_although_nothing_comes() -> None:
    def attend() -> bool:
        raise SinkClosed("the window was closed")

    source, sink = ListSource(1000, wait_s=0.01), ListSink()
    within(3, engine([source], [sink], SlowDetector(0.01), attend=attend).run)
    assert (source.closed.is_set(), sink.closed) == (True, 1)


def test_stop_leaves_a_held_run() -> None:
    sink = ListSink()
    running = engine([ListSource(100)], [sink], attend=lambda: True, realtime=True)
    threading.Timer(0.2, running.stop).start()
    within(3, running.run)
    assert (sink.outputs, sink.closed) == ([], 1)
