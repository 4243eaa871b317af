"""Sources that come, go, fall silent and are slower or faster than the models."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import ModelError, OutOfMemory, SinkError
from maskstream.inference.analyzer import Analyzer
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.health import Rate
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceState, StateChange
from maskstream.types import BgrImage, Detection, Frame, Output
from tests.clocks import ManualClock
from tests.conftest import make_detection
from tests.inference.test_analyzer import GivenClassifier, GivenDetector
from tests.receivers import wait_until
from tests.slowness import LONGEST_S, slowness
from tests.stream.test_engine import ListSink, ListSource, config, paint, when, within

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


class Told(ListSource):
    """A live source on a clock that stands still but before each frame, when the source is told which one is next."""

    def __init__(self, count: int, clock: ManualClock, before: Callable[[int], None]) -> None:
        super().__init__(count, live=True)
        self._clock, self._before = clock, before

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            self._before(frame.index)
            yield replace(frame, captured_at_s=self._clock.now_s())


class InStep(ListSource):
    """A live source that gives a frame each 20 ms of a clock, for as long as it is asked for more."""

    def __init__(self, count: int, clock: ManualClock) -> None:
        super().__init__(count, live=True)
        self._clock = clock
        self._given, self._asked = 0, 1
        self.has_ended = False

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            wait_until(lambda: self._given < self._asked)
            self._clock.advance(0.02)
            yield replace(frame, captured_at_s=self._clock.now_s())
            self._given += 1  # it is in its channel
        self.has_ended = True

    @property
    def given(self) -> int:
        """How many frames are in their channel, or were."""
        return self._given

    def give(self, frames: int) -> None:
        """Let so many more come, and wait for them."""
        self._asked = self._given + frames
        wait_until(lambda: self.has_ended or self._given == self._asked)


class Looks:
    """The looks of the engine after its sources; it takes one each 100 ms of its clock."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._begun = self._ended = 0

    def maintain(self, running: Engine) -> None:
        with self._changed:
            self._begun += 1

    def window(self) -> bool:
        """Take note that a look has ended: the engine turns to the window after each."""
        with self._changed:
            self._ended = self._begun
            self._changed.notify_all()
        return False

    def after(self, seconds: float, clock: ManualClock) -> None:
        """Let time pass, and wait until the engine has looked."""
        with self._changed:
            before = self._begun
            clock.advance(seconds)
            assert self._changed.wait_for(lambda: self._ended > before, LONGEST_S)


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
    window: Callable[[], bool] = lambda: False,
    batch_size: int = 1,
    clock: Clock = MONOTONIC,
    **stream: float,
) -> Engine:
    settings = config(**stream)
    analyzer = Analyzer(detector or GivenDetector([make_detection()]), GivenClassifier(), settings)
    hooks = EngineHooks(window, [listener], maintain)
    made = Engine(analyzer, paint, settings.stream, batch_size, hooks, SourceStates(clock))
    made.add(sources, [SinkBinding(sink, None) for sink in sinks])
    return made


def test_a_camera_that_falls_silent_is_stalled_until_it_goes_on(said: list[str]) -> None:
    clock, listener = ManualClock(), Listener()

    def before(index: int) -> None:
        if index != 5:
            clock.advance(0.05)
            return
        clock.advance(2.25)
        wait_until(lambda: STALLED in listener.states())
        clock.advance(0.5)

    live_engine([Told(11, clock, before)], [ListSink()], listener, clock=clock).run()
    assert listener.states() == [CONNECTING, ONLINE, STALLED, ONLINE, ENDED]
    assert listener.changes[2].cause == "no frame for 2.2 s"
    assert listener.changes[3].before_s == pytest.approx(0.5)
    assert sum("a: stalled: no frame for" in line and line.startswith("WARNING") for line in said) == 1


def test_a_slow_camera_is_not_stalled() -> None:
    clock, looks, listener = ManualClock(), Looks(), Listener()
    gaps_s = [0.2, 1.8, 3.2, 3.2]
    camera = Told(4, clock, lambda index: looks.after(gaps_s[index], clock))
    live_engine([camera], [ListSink()], listener, maintain=looks.maintain, window=looks.window, clock=clock).run()
    assert listener.states() == [CONNECTING, ONLINE, ENDED]


def test_a_camera_that_says_how_slow_it_is_is_not_stalled_before_its_second_image() -> None:
    """One that is asked for an image every 5 s."""
    clock, looks, listener = ManualClock(), Looks(), Listener()
    camera = Told(3, clock, lambda index: looks.after(5 if index else 0.1, clock))
    camera.info = replace(camera.info, average_fps=0.2)
    live_engine([camera], [ListSink()], listener, maintain=looks.maintain, window=looks.window, clock=clock).run()
    assert listener.states() == [CONNECTING, ONLINE, ENDED]


def test_states_of_a_file_are_told_too() -> None:
    listener = Listener()
    live_engine([ListSource(5)], [ListSink()], listener).run()
    assert listener.states() == [CONNECTING, ONLINE, ENDED]
    assert listener.changes[-1].cause == "its end was reached"


def test_a_run_that_is_stopped_says_so() -> None:
    listener = Listener()
    sink = ListSink()
    running = live_engine([Camera([0.02] * 10_000)], [sink], listener)
    when(lambda: len(sink.outputs) > 5, running.stop)
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
    seen_by_then: list[int] = []

    def maintain(running: Engine) -> None:
        seen = len(sink.indices("a"))
        if stages and seen >= [10, 6][-len(stages)] + sum(seen_by_then):
            stages.pop(0)(running)
            seen_by_then.append(seen)

    report = live_engine([first], [sink], listener, maintain=maintain).run()
    assert (listener.states("a"), listener.removed) == ([CONNECTING, ONLINE, ENDED], ["a"])
    assert listener.states("b") == [CONNECTING, ONLINE, ENDED]
    assert own.indices("b") == sink.indices("b")
    assert sink.indices("b")[-1] == 19
    assert len(sink.indices("a")) == seen_by_then[1]
    assert (first.closed.is_set(), own.closed, report.threads_left) == (True, 1, 0)


def test_a_camera_may_be_replaced_by_one_of_the_same_name() -> None:
    listener, sink, added = Listener(), ListSink(), Camera([0.02] * 10)

    def maintain(running: Engine) -> None:
        if len(sink.outputs) > 5 and not listener.removed:
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


@pytest.mark.slow
def test_ten_cameras_that_hang_delay_neither_another_nor_the_end() -> None:
    stuck, sink = [Stuck(f"stuck {number}") for number in range(10)], ListSink()

    def maintain(running: Engine) -> None:
        if len(sink.outputs) > 10:
            running.stop()

    running = live_engine([*stuck, Camera([0.02] * 10_000)], [sink], Listener(), maintain=maintain)
    within(3, running.run)
    assert len(sink.indices()) > 10
    assert running.report.threads_left == 20
    for source in stuck:
        source.release.set()
    time.sleep(0.1)


def test_frames_that_waited_too_long_are_dropped_and_counted() -> None:
    class Late(ListSource):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                wait_until(lambda done=frame.index: len(sink.outputs) + running.health()[0].dropped["stale"] == done)
                yield replace(frame, captured_at_s=clock.now_s() - (5.0 if frame.index % 2 else 0.0))

    clock, sink = ManualClock(), ListSink()
    running = live_engine([Late(20, live=True)], [sink], Listener(), clock=clock, max_staleness_s=1.0)
    running.run()
    assert sink.indices() == list(range(0, 20, 2))
    assert running.health()[0].dropped == {"overload": 0, "stale": 10, "decode": 0}
    assert running.report.dropped == 10


def test_health_tells_what_is_going_on() -> None:
    """At 50 frames per second, of which each fifth is analysed."""

    class FiveFramesSlow(GivenDetector):
        def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
            wait_until(lambda: len(sink.outputs) == len(took_ms))
            began_s = time.perf_counter()
            camera.give(5)
            found = super().detect(images_bgr)
            took_ms.append(1000 * (time.perf_counter() - began_s))
            if len(took_ms) == 14:
                wait_until(lambda: len(sink.outputs) == 13)
                healths.extend(running.health())
            return found

    clock, sink, took_ms, healths = ManualClock(), ListSink(), [], []
    camera = InStep(100, clock)
    running = live_engine([camera], [sink], Listener(), FiveFramesSlow([make_detection()]), clock=clock)
    running.run()
    (health,) = healths
    assert (health.source_id, health.state, health.cause) == ("a", ONLINE, "frames arrive")
    assert health.fps_in == pytest.approx(50)
    assert health.fps_out == pytest.approx(10)
    assert health.dropped["overload"] == 4 * 14
    assert health.frame_age_s == 0
    assert health.state_s == pytest.approx(1.4)
    assert sum(took_ms[:13]) / 13 <= health.stage_ms["detect"] < sum(took_ms[:13]) / 13 + 40 * slowness()
    assert set(health.stage_ms) == {"capture", "detect", "align", "classify"}
    line = str(health)
    assert line.startswith("a: online for 1 s, ")
    assert "overload, 0 stale, 0 decode, last frame 0." in line


def test_health_is_logged_now_and_then(said: list[str]) -> None:
    clock, looks = ManualClock(), Looks()
    camera = Told(12, clock, lambda _: looks.after(0.125, clock))
    attended = {"maintain": looks.maintain, "window": looks.window}
    live_engine([camera], [ListSink()], Listener(), clock=clock, health_s=0.375, **attended).run()
    assert sum("fps in" in line for line in said) == 12 // 3


def test_the_rate_of_a_camera_that_gives_an_image_every_15_seconds() -> None:
    rare, quick = Rate(), Rate()
    for index in range(4):
        rare.count(15.0 * index)
    for index in range(64):
        quick.count(45 - 0.04 * (63 - index))
    assert rare.per_second(46) == pytest.approx(1 / 15)
    assert quick.per_second(45.04) == pytest.approx(25)
    assert rare.per_second(75) == pytest.approx(1 / 30)
    assert quick.per_second(75) < 0.05
    assert Rate().per_second(1) == 0


def test_health_before_the_first_frame() -> None:
    running = live_engine([Camera([0.5])], [ListSink()], Listener())
    (health,) = running.health()
    assert (health.state, health.frame_age_s, health.fps_in, health.stage_ms) == (CONNECTING, None, 0.0, {})
    assert "last frame none yet" in str(health)
    running.run()


class Cramped(GivenDetector):
    """Has memory for N images at a time."""

    def __init__(self, room: int) -> None:
        super().__init__([make_detection()])
        self.room = room
        self.batches: list[int] = []

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        time.sleep(0.02)
        if len(images_bgr) > self.room:
            raise OutOfMemory("cuda: out of memory")
        self.batches.append(len(images_bgr))
        return super().detect(images_bgr)


def test_where_memory_is_short_batches_halve_and_nothing_is_lost(said: list[str]) -> None:
    detector, sink = Cramped(3), ListSink()
    live_engine([ListSource(60)], [sink], Listener(), detector, batch_size=8).run()
    assert sink.indices() == list(range(60))
    last = [line.strip() for line in said if "at a time" in line][-1]
    assert last in [f"WARNING cuda: out of memory; continuing with {count} at a time" for count in (2, 3)]  # of 4, 5 or 6, 7, 8
    assert max(detector.batches) <= int(last.split()[-4])


def test_where_there_is_no_memory_for_one_frame_the_run_ends() -> None:
    with pytest.raises(ModelError, match="out of memory"):
        live_engine([ListSource(10)], [ListSink()], Listener(), Cramped(0), batch_size=4).run()


@pytest.mark.parametrize("batch_size", [1, 12])
def test_a_slow_sink_makes_frames_drop_and_not_pile_up(batch_size: int) -> None:
    """Ten frames come while one is written."""

    class Slow(ListSink):
        def write(self, output: Output) -> None:
            camera.give(10)
            super().write(output)
            ages_in_frames.append(camera.given - output.frame.index)

    ages_in_frames: list[int] = []
    clock = ManualClock()
    camera = InStep(200, clock)
    report = live_engine([camera], [Slow()], Listener(), clock=clock, batch_size=batch_size, max_staleness_s=60).run()
    assert report.dropped > 100
    assert max(ages_in_frames) < 80


def test_a_listener_that_fails_when_a_source_is_removed_ends_neither_the_others_nor_the_run(said: list[str]) -> None:
    class Bad(Listener):
        def source_removed(self, source_id: str) -> None:
            raise SinkError("events.jsonl: disk full")

    bad, good, sink = Bad(), Listener(), ListSink()

    def maintain(running: Engine) -> None:
        if sink.outputs and not good.removed:
            running.remove("a", "removed")

    hooks = EngineHooks(listeners=[bad, good], maintain=maintain)
    settings = config()
    analyzer = Analyzer(GivenDetector([make_detection()]), GivenClassifier(), settings)
    running = Engine(analyzer, paint, settings.stream, 1, hooks)
    running.add([Camera([0.02] * 10_000), Camera([0.02] * 20, "b")], [SinkBinding(sink, None)])
    with pytest.raises(SinkError, match="disk full"):
        running.run()
    assert good.removed == ["a"]
    assert sink.indices("b")[-1] == 19


def test_a_source_that_was_never_added_may_be_removed() -> None:
    states, listener = SourceStates(), Listener()
    settings = config()
    analyzer = Analyzer(GivenDetector([]), GivenClassifier(), settings)
    running = Engine(analyzer, paint, settings.stream, 1, EngineHooks(listeners=[listener]), states)
    states.status("opening")
    running.remove("opening", "removed")
    running.remove("unknown", "removed")
    assert (listener.states("opening"), listener.states("unknown")) == ([CONNECTING, ENDED], [])
    assert states.status("opening").last.state is CONNECTING


def test_frames_of_a_source_that_was_removed_are_not_analysed() -> None:
    class Watching(GivenDetector):
        def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
            if not removed.is_set():
                wait_until(lambda: len(sink.outputs) == 0 and removed.is_set())
            shown.append(len(images_bgr))
            return super().detect(images_bgr)

    removed, shown, sink, listener = threading.Event(), [], ListSink(), Listener()

    def maintain(running: Engine) -> None:
        if not removed.is_set():
            running.remove("a", "removed")
            running.add([Camera([0.0] * 2)], [])
            removed.set()

    live_engine([ListSource(500)], [sink], listener, Watching([make_detection()]), maintain, batch_size=4).run()
    assert sum(shown) <= 4 + 2  # one batch was under way
    assert {output.frame.index for output in sink.outputs} <= {0, 1}
