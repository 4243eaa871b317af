import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from loguru import logger

from maskstream import Analyzer, load_config
from maskstream.cli.run import summary
from maskstream.clock import MONOTONIC, Clock
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.errors import SinkClosed, SinkError, StreamLost
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import StateChange
from maskstream.types import BgrImage, Detection, Frame, FrameResult, Label, Output, SourceInfo
from tests.clocks import ManualClock
from tests.conftest import make_detection, make_frame
from tests.inference.test_analyzer import GivenClassifier, GivenDetector
from tests.receivers import wait_until
from tests.slowness import LONGEST_S, promised

_ACTS = "acts when something holds"


class ListSource:
    """Frames out of memory, with an error at the end where one is given."""

    def __init__(
        self,
        count: int,
        name: str = "a",
        live: bool = False,
        error: Exception | None = None,
        wait_s: float = 0,
        stills: bool = False,
    ) -> None:
        images = tuple(f"{index}.jpg" for index in range(count)) if stills else ()
        self.info = SourceInfo(name, 64, 48, live, average_fps=25, images=images)
        self.closed = threading.Event()
        self._count, self._error, self._wait_s = count, error, wait_s

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            self.closed.wait(self._wait_s)
            if self.closed.is_set():
                return
            yield replace(make_frame(index, source_id=self.info.source_id), captured_at_s=time.monotonic())
        if self._error:
            raise self._error

    def close(self) -> None:
        self.closed.set()


class ListSink:
    """Remembers everything."""

    def __init__(self, wants_every_frame: bool = True, fail_at: int | None = None, error: Exception | None = None) -> None:
        self.wants_every_frame = wants_every_frame
        self.outputs: list[Output] = []
        self.ended: list[str] = []
        self.closed = 0
        self.thread: int | None = None
        self._fail_at, self._error = fail_at, error or SinkError("disk full")

    def write(self, output: Output) -> None:
        self.thread = threading.get_ident()
        if self._fail_at == len(self.outputs):
            raise self._error
        self.outputs.append(output)

    def source_ended(self, source_id: str) -> None:
        self.ended.append(source_id)

    def close(self) -> None:
        self.closed += 1

    def indices(self, source_id: str = "a") -> list[int]:
        return [output.frame.index for output in self.outputs if output.frame.source_id == source_id]


class SlowDetector(GivenDetector):
    def __init__(self, seconds: float, raises: Exception | None = None) -> None:
        super().__init__([make_detection()])
        self.batches: list[int] = []
        self._seconds, self._raises = seconds, raises

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        self.batches.append(len(images_bgr))
        time.sleep(self._seconds)
        if self._raises:
            raise self._raises
        return super().detect(images_bgr)


def paint(frame: Frame, _result: FrameResult) -> BgrImage:
    return frame.bgr


def config(**stream: Any) -> Config:
    return load_config(layers=[Layer("test", {"stream": stream})])


def engine(
    sources: list[ListSource],
    sinks: list[ListSink | SinkBinding],
    detector: GivenDetector | None = None,
    batch_size: int = 1,
    attend: Callable[[], bool] | None = None,
    clock: Clock = MONOTONIC,
    **stream: Any,
) -> Engine:
    settings = config(**stream)
    analyzer = Analyzer(detector or GivenDetector([make_detection()]), GivenClassifier(), settings)
    bindings = [sink if isinstance(sink, SinkBinding) else SinkBinding(sink, None) for sink in sinks]
    made = Engine(analyzer, paint, settings.stream, batch_size, EngineHooks(attend or (lambda: False)), SourceStates(clock))
    made.add(sources, bindings)
    return made


def when(holds: Callable[[], bool], act: Callable[[], object]) -> None:
    """Do something in another thread, as soon as something holds."""

    def wait() -> None:
        wait_until(holds)
        act()

    threading.Thread(target=wait, name=_ACTS, daemon=True).start()


def within(seconds: float, act: Callable[[], object]) -> None:
    thread = threading.Thread(target=act, daemon=True)
    with promised(seconds):
        thread.start()
        thread.join(LONGEST_S)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    for thread in threading.enumerate():
        if thread.name == _ACTS:  # it has acted, and may not have ended yet
            thread.join(LONGEST_S)
    assert threading.active_count() <= before


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_file_loses_no_frame_and_keeps_its_order(batch_size: int) -> None:
    source, sink = ListSource(50), ListSink()
    report = engine([source], [sink], batch_size=batch_size).run()
    assert sink.indices() == list(range(50))
    assert (report.frames, report.analysed, report.faces, report.dropped, report.threads_left) == (50, 50, 50, 0, 0)
    assert (sink.ended, sink.closed, source.closed.is_set()) == (["a"], 1, True)
    assert sink.thread == threading.get_ident()


def test_stride_repeats_the_last_faces_with_judged_false() -> None:
    video, records = ListSink(), ListSink(wants_every_frame=False)
    report = engine([ListSource(7)], [video, records], stride=3).run()
    assert video.indices() == list(range(7))
    assert [output.analysed for output in video.outputs] == [True, False, False, True, False, False, True]
    assert [output.result.faces[0].judged for output in video.outputs] == [output.analysed for output in video.outputs]
    assert [output.result.index for output in video.outputs] == list(range(7))
    assert (report.frames, report.analysed) == (7, 3)


def test_frames_between_are_not_carried_where_nobody_wants_them() -> None:
    records = ListSink(wants_every_frame=False)
    engine([ListSource(7)], [records], stride=3).run()
    assert records.indices() == [0, 3, 6]


def test_frames_of_each_source_have_a_number_of_their_opening() -> None:
    """A file is opened once; two files of a run are two openings."""
    sink = ListSink()
    engine([ListSource(5, "a"), ListSource(5, "b")], [sink]).run()
    numbers = {name: {output.frame.connection for output in sink.outputs if output.frame.source_id == name} for name in "ab"}
    assert sorted(map(len, numbers.values())) == [1, 1]
    assert len(numbers["a"] | numbers["b"]) == 2
    assert 0 not in numbers["a"] | numbers["b"]


def test_answers_that_are_no_numbers_are_counted_and_said_once(said: list[str]) -> None:
    settings, sink = config(), ListSink()
    analyzer = Analyzer(GivenDetector([make_detection(), make_detection()]), GivenClassifier((float("nan"),) * 4), settings)
    running = Engine(analyzer, paint, settings.stream, 1)
    running.add([ListSource(4, "a"), ListSource(3, "b", live=True)], [SinkBinding(sink, None)])
    report = running.run()
    assert {face.label for output in sink.outputs for face in output.result.faces} == {Label.UNKNOWN}
    assert report.unusable == 2 * report.analysed > 8
    assert f"{report.unusable} outputs of the models not finite" in summary(report)
    assert [line for line in said if "WARNING" in line and "not finite" in line] != []
    assert sum("not finite" in line for line in said) == 1
    unusable = {each.source_id: each.unusable for each in running.health()}
    assert sum(unusable.values()) == report.unusable
    assert all("outputs of the models not finite" in str(each) for each in running.health())
    assert "not finite" not in summary(engine([ListSource(2)], [ListSink()]).run())


def test_max_frames_stops_each_source_but_is_not_its_end() -> None:
    sink = ListSink()
    engine([ListSource(50), ListSource(50, "b")], [sink], max_frames=5).run()
    assert (sink.indices("a"), sink.indices("b"), sink.ended) == (list(range(5)), list(range(5)), [])


def test_several_sources_share_batches_and_go_to_their_own_sinks() -> None:
    first, second = ListSink(), ListSink()
    detector = SlowDetector(0.01)
    sources = [ListSource(20, "a"), ListSource(20, "b")]
    bindings: list[ListSink | SinkBinding] = [SinkBinding(first, "a"), SinkBinding(second, "b")]
    engine(sources, bindings, detector, batch_size=4).run()
    assert (first.indices("a"), first.indices("b")) == (list(range(20)), [])
    assert (second.indices("a"), second.indices("b")) == ([], list(range(20)))
    assert max(detector.batches) > 1


def test_realtime_plays_at_its_own_speed_and_drops() -> None:
    sink = ListSink()
    with promised(3):
        started_s = time.monotonic()
        report = engine([ListSource(25)], [sink], SlowDetector(0.1), realtime=True).run()
    assert time.monotonic() - started_s > 0.9
    assert report.dropped + report.frames >= 24
    assert report.dropped > 5
    assert sink.indices() == sorted(sink.indices())


class HastySink(ListSink):
    """Stops the run in the middle of a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.stop: Callable[[], None] = lambda: None
        self.hurried = 0

    def write(self, output: Output) -> None:
        super().write(output)
        if len(self.outputs) == 3:
            self.stop()

    def hurry(self) -> None:
        self.hurried += 1


def test_a_sink_is_told_at_once_that_the_run_is_stopped() -> None:
    sink, plain = HastySink(), ListSink()
    running = engine([ListSource(50)], [sink, plain])
    sink.stop = running.stop
    running.run()
    assert (sink.hurried, len(sink.outputs), sink.closed) == (1, 3, 1)


class JumpingSource(ListSource):
    """Its clock is set while it plays."""

    def __iter__(self) -> Iterator[Frame]:
        for frame, time_s in zip(super().__iter__(), (0.0, 0.5, 36_000.0, 36_000.5, 1.0, 1.5, 2.0, 50.0), strict=True):
            yield replace(frame, time_s=time_s)


def test_realtime_waits_for_no_clock_that_jumps() -> None:
    clock, sink = ManualClock(), ListSink()
    engine([JumpingSource(8)], [sink], realtime=True, clock=clock).run()
    waited_s = [wait_s for wait_s in clock.waits_s if wait_s > 0.1]
    assert max(waited_s) == pytest.approx(48.0, abs=1.0)
    assert 47 < sum(waited_s) < 52


def test_realtime_with_stride_still_analyses() -> None:
    report = engine([ListSource(25)], [ListSink()], SlowDetector(0.05), realtime=True, stride=2).run()
    assert report.analysed == report.frames > 5


def test_a_live_source_gives_its_newest_frame() -> None:
    sink = ListSink()
    report = engine([ListSource(60, live=True, wait_s=0.005)], [sink], SlowDetector(0.05)).run()
    assert report.dropped > 20
    assert sink.indices() == sorted(set(sink.indices()))


def test_sinks_are_told_what_was_dropped() -> None:
    sink = ListSink()
    report = engine([ListSource(60, live=True, wait_s=0.005)], [sink], SlowDetector(0.05)).run()
    dropped = [output.dropped for output in sink.outputs]
    assert dropped == sorted(dropped)
    assert 0 < dropped[-1] <= report.dropped


@pytest.mark.parametrize("realtime", [False, True])
def test_images_are_never_dropped_and_do_not_inherit_faces(realtime: bool) -> None:
    sink = ListSink()
    report = engine([ListSource(9, stills=True)], [sink], SlowDetector(0.01), realtime=realtime, stride=2).run()
    assert sink.indices() == [0, 2, 4, 6, 8]
    assert all(output.analysed for output in sink.outputs)
    assert report.dropped == 0


def test_a_source_that_breaks_ends_the_run_after_its_frames() -> None:
    sink = ListSink()
    with pytest.raises(StreamLost, match="cable"):
        engine([ListSource(5, error=StreamLost("cable"))], [sink]).run()
    assert (sink.indices(), sink.ended, sink.closed) == (list(range(5)), [], 1)


def test_a_source_that_breaks_does_not_stop_another() -> None:
    sink = ListSink()
    with pytest.raises(StreamLost):
        engine([ListSource(2, "a", error=StreamLost("cable")), ListSource(20, "b")], [sink]).run()
    assert (sink.indices("b"), sink.ended) == (list(range(20)), ["b"])


def test_a_sink_that_fails_ends_a_file_and_everything_is_closed() -> None:
    bad, good = ListSink(fail_at=3), ListSink()
    with pytest.raises(SinkError, match="disk full"):
        engine([ListSource(500)], [bad, good]).run()
    assert len(good.outputs) < 100
    assert (bad.closed, good.closed) == (1, 1)


def test_a_sink_that_fails_does_not_stop_a_live_source() -> None:
    bad, good = ListSink(fail_at=3), ListSink()
    said: list[str] = []
    handler = logger.add(lambda message: said.append(str(message)), level="ERROR")
    with pytest.raises(SinkError):
        engine([ListSource(20, live=True, wait_s=0.01)], [bad, good]).run()
    logger.remove(handler)
    assert len(said) == 1
    assert "disk full" in said[0]
    assert len(bad.outputs) == 3
    assert good.indices()[-1] == 19


def test_the_output_of_one_file_does_not_end_another() -> None:
    bad, good = ListSink(fail_at=3), ListSink()
    with pytest.raises(SinkError):
        engine([ListSource(50, "a"), ListSource(50, "b")], [SinkBinding(bad, "a"), SinkBinding(good, "b")]).run()
    assert good.indices("b") == list(range(50))


def test_a_reader_that_leaves_ends_the_run_quietly() -> None:
    sink = ListSink(fail_at=3, error=SinkClosed("reader left"))
    report = engine([ListSource(500)], [sink]).run()
    assert report.frames < 100
    assert sink.closed == 1


def test_a_crash_in_a_thread_is_raised_in_the_caller() -> None:
    sink = ListSink()
    with pytest.raises(ZeroDivisionError):
        engine([ListSource(50)], [sink], SlowDetector(0, raises=ZeroDivisionError())).run()
    with pytest.raises(KeyError):
        engine([ListSource(5, error=KeyError("bug"))], [ListSink()]).run()
    assert sink.closed == 1


def test_stop_leaves_soon_with_everything_closed() -> None:
    source, sink = ListSource(100_000, wait_s=0.01), ListSink()
    running = engine([source], [sink])
    when(lambda: len(sink.outputs) > 10, running.stop)
    within(3, running.run)
    assert (source.closed.is_set(), sink.closed, sink.ended) == (True, 1, [])
    assert sink.outputs


@pytest.mark.parametrize(("slow", "waiting"), [("detector", {"capture", "rendering"}), ("sink", {"capture", "inference"})])
def test_the_report_says_who_waited(slow: str, waiting: set[str]) -> None:
    class SlowSink(ListSink):
        def write(self, output: Output) -> None:
            time.sleep(0.02 * (slow == "sink"))

    report = engine([ListSource(40)], [SlowSink()], SlowDetector(0.02 * (slow == "detector"))).run()
    most = {thread for thread, waited_s in report.waited_s.items() if waited_s > 0.6 * report.elapsed_s}
    assert (most, set(report.waited_s)) == (waiting, {"capture", "inference", "rendering"})


def test_memory_is_bounded_when_sinks_are_slow() -> None:
    alive: list[int] = []

    class SlowSink(ListSink):
        def write(self, output: Output) -> None:
            time.sleep(0.01)
            alive.append(produced[0] - output.frame.index)

    produced = [0]

    class CountingSource(ListSource):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                produced[0] = frame.index
                yield frame

    engine([CountingSource(60)], [SlowSink()], batch_size=2).run()
    assert max(alive) <= 2 * (2 * 2) + 2 * 2 + 2  # two channels, a batch in work, one in each hand


class FallingSink(ListSink):
    """Makes a mistake when it is closed."""

    def close(self) -> None:
        super().close()
        raise ZeroDivisionError("while closing")


@pytest.mark.parametrize("fails", ["at its end", "in a write before"])
def test_a_sink_that_makes_a_mistake_in_closing_keeps_no_other_from_being_closed(fails: str, said: list[str]) -> None:
    source = ListSource(20)
    sinks = [ListSink(), FallingSink(fail_at=3 if fails == "in a write before" else None), ListSink()]
    made = engine([source], list(sinks))
    with pytest.raises(SinkError, match=r"ZeroDivisionError|disk full"):
        made.run()
    assert [sink.closed for sink in sinks] == [1, 1, 1]
    assert source.closed.is_set()
    assert made.report.threads_left == 0
    assert not [thread for thread in threading.enumerate() if thread.name in ("inference", "capture a")]
    assert any("FallingSink: internal error" in line for line in said)


class Listener:
    """Raises an internal error when it is notified."""

    def state_changed(self, change: StateChange) -> None:
        raise ZeroDivisionError("while listening")

    def source_removed(self, source_id: str) -> None:
        raise ZeroDivisionError("while listening")


@pytest.mark.parametrize("when", ["a source changes its state", "a source is removed"])
def test_a_listener_that_makes_a_mistake_ends_nothing_else(when: str) -> None:
    settings, sink = config(), ListSink()
    listener = Listener()
    if when == "a source is removed":
        listener.state_changed = lambda change: None  # type: ignore[method-assign]
    removed = threading.Event()

    def maintain(made: Engine) -> None:
        if len(sink.outputs) > 5 and not removed.is_set():
            removed.set()
            made.remove("gone", "removed")

    analyzer = Analyzer(GivenDetector([make_detection()]), GivenClassifier(), settings)
    made = Engine(analyzer, paint, settings.stream, 1, EngineHooks(listeners=[listener], maintain=maintain), SourceStates())
    made.add(
        [ListSource(40, live=True, wait_s=0.02), ListSource(10_000, "gone", live=True, wait_s=0.02)], [SinkBinding(sink, "a")]
    )
    with pytest.raises(SinkError, match="Listener: internal error"):
        made.run()
    assert removed.is_set()
    assert sink.closed == 1
    assert sink.indices()[-1] > 20


class WaitingSink(ListSink):
    def health(self) -> str:
        return "a broker: 3 events wait"


def test_what_waits_for_a_receiver_is_said_beside_the_health_of_cameras(said: list[str]) -> None:
    engine([ListSource(20, live=True, wait_s=0.02)], [WaitingSink()], health_s=0.1).run()
    assert any(line == "INFO a broker: 3 events wait\n" for line in said)
