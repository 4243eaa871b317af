"""Sources that come, go, fall silent and are slower or faster than the models."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from maskstream.analyzer import Analyzer
from maskstream.errors import ModelError, OutOfMemory, SinkError
from maskstream.states import SourceState, StateChange
from maskstream.stream import capture
from maskstream.stream.board import StatusBoard
from maskstream.stream.engine import Attendants, Engine
from maskstream.stream.outlets import SinkBinding
from maskstream.types import BgrImage, Detection, Frame
from tests.conftest import make_detection
from tests.stream.test_engine import ListSink, ListSource, SlowDetector, config, paint, within
from tests.test_analyzer import GivenClassifier, GivenDetector

CONNECTING, ONLINE, STALLED, RECONNECTING, OFFLINE, ENDED = SourceState


class Camera(ListSource):
    """A live source whose frames come when `gaps_s` says so, and which ends after the last."""

    def __init__(self, gaps_s: Sequence[float], name: str = "a") -> None:
        super().__init__(len(gaps_s), name, live=True)
        self._gaps_s = gaps_s

    def __iter__(self) -> Iterator[Frame]:
        for gap_s, frame in zip(self._gaps_s, super().__iter__(), strict=True):
            if self.closed.wait(gap_s):
                return
            yield replace(frame, captured_at_s=time.monotonic())


class Listener:
    def __init__(self, error: SinkError | None = None) -> None:
        self.changes: list[StateChange] = []
        self.removed: list[str] = []
        self._error = error

    def state_changed(self, change: StateChange) -> None:
        if self._error:
            raise self._error
        self.changes.append(change)

    def source_removed(self, source_id: str) -> None:
        self.removed.append(source_id)

    def states(self, source_id: str = "a") -> list[SourceState]:
        return [change.state for change in self.changes if change.source_id == source_id]


def live_engine(
    sources: Sequence[ListSource],
    sinks: Sequence[ListSink],
    listener: Listener,
    detector: GivenDetector | None = None,
    maintain: Callable[[Engine], None] | None = None,
    batch_size: int = 1,
    **stream: float,
) -> Engine:
    settings = config(**stream)
    analyzer = Analyzer(detector or GivenDetector([make_detection()]), GivenClassifier(), settings)
    attendants = Attendants(listeners=[listener], maintain=maintain)
    made = Engine(analyzer, paint, settings.stream, batch_size, attendants, StatusBoard())
    made.add(sources, [SinkBinding(sink, None) for sink in sinks])
    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second without a frame is a stall."""
    monkeypatch.setattr(capture, "_QUIET_S", 0.5)


def test_a_camera_that_falls_silent_is_stalled_until_it_goes_on(quick: None, said: list[str]) -> None:
    listener = Listener()
    live_engine([Camera([0.05] * 5 + [1.0] + [0.05] * 5)], [ListSink()], listener).run()
    assert listener.states() == [CONNECTING, ONLINE, STALLED, ONLINE, ENDED]
    stalled = listener.changes[2]
    assert stalled.cause.startswith("no frame for 0.")
    assert listener.changes[3].before_s == pytest.approx(0.5, abs=0.25)
    assert sum("a: stalled: no frame for" in line and line.startswith("WARNING") for line in said) == 1


def test_a_slow_camera_is_not_stalled(quick: None) -> None:
    listener = Listener()
    live_engine([Camera([0.0, 0.45, 0.8, 0.8])], [ListSink()], listener).run()
    assert listener.states()[-2:] == [ONLINE, ENDED]
    assert listener.states().count(STALLED) <= 1  # before its interval was known


def test_states_of_a_file_are_told_too() -> None:
    listener = Listener()
    live_engine([ListSource(5)], [ListSink()], listener).run()
    assert listener.states() == [CONNECTING, ONLINE, ENDED]
    assert listener.changes[-1].cause == "its end was reached"


def test_a_run_that_is_stopped_says_so() -> None:
    listener = Listener()
    running = live_engine([Camera([0.02] * 10_000)], [ListSink()], listener)
    threading.Timer(0.2, running.stop).start()
    within(3, running.run)
    assert listener.changes[-1].state is ENDED
    assert listener.changes[-1].cause == "stopped"


def test_a_listener_that_fails_is_said_and_left_out(said: list[str]) -> None:
    bad, sink = Listener(SinkError("status.jsonl: disk full")), ListSink()
    with pytest.raises(SinkError, match="disk full"):
        live_engine([Camera([0.02] * 20)], [sink], bad).run()
    assert sink.indices()[-1] == 19
    assert sum("disk full" in line for line in said) == 1


def test_sources_come_and_go_while_it_runs() -> None:
    first, second, sink, own, listener = Camera([0.02] * 10_000), Camera([0.02] * 20, "b"), ListSink(), ListSink(), Listener()
    stages: list[Callable[[Engine], None]] = [
        lambda running: running.add([second], [SinkBinding(own, "b")]),
        lambda running: running.remove("a", "removed from the list"),
    ]
    at_s = [time.monotonic() + 0.3, time.monotonic() + 0.5]

    def maintain(running: Engine) -> None:
        while stages and time.monotonic() > at_s[-len(stages)]:
            stages.pop(0)(running)

    report = live_engine([first], [sink], listener, maintain=maintain).run()
    assert (listener.states("a"), listener.removed) == ([CONNECTING, ONLINE, ENDED], ["a"])
    assert listener.states("b") == [CONNECTING, ONLINE, ENDED]
    assert own.indices("b") == sink.indices("b")
    assert sink.indices("b")[-1] == 19
    assert 5 < len(sink.indices("a")) < 60
    assert (first.closed.is_set(), own.closed, report.threads_left) == (True, 1, 0)


def test_a_camera_may_be_replaced_by_one_of_the_same_name() -> None:
    listener, sink, added = Listener(), ListSink(), Camera([0.02] * 10)
    at_s = time.monotonic() + 0.3

    def maintain(running: Engine) -> None:
        if time.monotonic() > at_s and not listener.removed:
            running.remove("a", "changed")
            running.add([added], [])

    live_engine([Camera([0.02] * 10_000)], [sink], listener, maintain=maintain).run()
    assert listener.states() == [CONNECTING, ONLINE, ENDED, CONNECTING, ONLINE, ENDED]
    assert sink.indices()[-1] == 9


class Stuck(ListSource):
    """A source whose read hangs, and whose closing does."""

    def __init__(self, name: str) -> None:
        super().__init__(1, name, live=True)
        self.release = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        self.release.wait(30)
        yield from ()

    def close(self) -> None:
        self.release.wait(30)


def test_ten_cameras_that_hang_delay_neither_another_nor_the_end() -> None:
    stuck, sink = [Stuck(f"stuck {number}") for number in range(10)], ListSink()
    running = live_engine([*stuck, Camera([0.02] * 10_000)], [sink], Listener())
    threading.Timer(0.5, running.stop).start()
    within(3, running.run)
    assert len(sink.indices()) > 10
    assert running.report.threads_left == 20
    for source in stuck:
        source.release.set()
    time.sleep(0.1)


def test_frames_that_waited_too_long_are_dropped_and_counted() -> None:
    class Late(Camera):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                late_s = 5.0 if frame.index % 2 else 0.0
                yield replace(frame, captured_at_s=time.monotonic() - late_s)

    sink = ListSink()
    running = live_engine([Late([0.05] * 20)], [sink], Listener(), max_staleness_s=1.0)
    running.run()
    assert sink.indices() == list(range(0, 20, 2))
    assert running.health()[0].dropped == {"overload": 0, "stale": 10, "decode": 0}
    assert running.report.dropped == 10


def test_health_tells_what_is_going_on() -> None:
    sink, healths = ListSink(), []
    running = live_engine([Camera([0.02] * 100)], [sink], Listener(), SlowDetector(0.1))
    threading.Timer(1.5, lambda: healths.extend(running.health())).start()
    running.run()
    (health,) = healths
    assert (health.source_id, health.state, health.cause) == ("a", ONLINE, "frames come")
    assert 15 < health.fps_in < 55
    assert 4 < health.fps_out < 11
    assert health.dropped["overload"] > 10
    assert health.frame_age_s is not None
    assert 0 <= health.frame_age_s < 0.5
    assert health.state_s == pytest.approx(1.5, abs=0.3)
    assert health.stage_ms["detect"] == pytest.approx(100, abs=40)
    assert set(health.stage_ms) == {"capture", "detect", "align", "classify"}
    line = str(health)
    assert line.startswith("a: online for 1 s, ")
    assert "overload, 0 stale, 0 decode, last frame 0." in line


def test_health_is_logged_now_and_then(said: list[str]) -> None:
    live_engine([Camera([0.02] * 60)], [ListSink()], Listener(), health_s=0.3).run()
    assert 2 <= sum("fps in" in line for line in said) <= 5


def test_health_before_the_first_frame() -> None:
    running = live_engine([Camera([0.5])], [ListSink()], Listener())
    (health,) = running.health()
    assert (health.state, health.frame_age_s, health.fps_in, health.stage_ms) == (CONNECTING, None, 0.0, {})
    assert "last frame none yet" in str(health)
    running.run()


class Cramped(GivenDetector):
    """Has room for so many pictures at a time."""

    def __init__(self, room: int) -> None:
        super().__init__([make_detection()])
        self.room = room
        self.batches: list[int] = []

    def detect(self, pictures_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        time.sleep(0.02)
        if len(pictures_bgr) > self.room:
            raise OutOfMemory("cuda: out of memory")
        self.batches.append(len(pictures_bgr))
        return super().detect(pictures_bgr)


def test_where_memory_is_short_batches_halve_and_nothing_is_lost(said: list[str]) -> None:
    detector, sink = Cramped(3), ListSink()
    live_engine([ListSource(60)], [sink], Listener(), detector, batch_size=8).run()
    assert sink.indices() == list(range(60))
    assert max(detector.batches) in (2, 3)
    assert [line.strip() for line in said if "at a time" in line][-1] == "WARNING cuda: out of memory; going on with 2 at a time"


def test_where_there_is_no_memory_for_one_frame_the_run_ends() -> None:
    with pytest.raises(ModelError, match="out of memory"):
        live_engine([ListSource(10)], [ListSink()], Listener(), Cramped(0), batch_size=4).run()


@pytest.mark.parametrize("batch_size", [1, 12])
def test_a_slow_sink_makes_frames_drop_and_not_pile_up(batch_size: int) -> None:
    class Slow(ListSink):
        def write(self, output: object) -> None:
            time.sleep(0.1)
            super().write(output)  # type: ignore[arg-type]
            self.ages_s.append(time.monotonic() - self.outputs[-1].frame.captured_at_s)

        ages_s: list[float] = []  # noqa: RUF012 (one instance)

    sink = Slow()
    report = live_engine([Camera([0.01] * 200)], [sink], Listener(), batch_size=batch_size).run()
    assert report.dropped > 100
    assert max(sink.ages_s) < 0.8
