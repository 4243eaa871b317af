"""Sources may come and go in any order while the engine runs: each gets what is its own, and everything is closed."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from maskstream import load_config
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.states import LEGAL, SourceState, StateChange
from maskstream.types import BgrImage, Frame, FrameResult, Output, SourceInfo
from tests.properties import examples

PATIENCE_S = 60.0
"""How long a thread may take to end that nothing holds back, on the busiest machine."""
IMAGE = np.zeros((2, 2, 3), np.uint8)


class Numbered:
    """Frames out of memory, each with the number of its source; then the end, or nothing until it is closed."""

    def __init__(self, number: int, name: str, count: int, *, live: bool, endless: bool) -> None:
        self.info = SourceInfo(name, 2, 2, live, average_fps=25)
        self.number, self.count, self.endless = number, count, endless
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            yield Frame(IMAGE, index, self.info.source_id, self.number, captured_at_s=monotonic())
        if self.endless:
            self.closed.wait()

    def close(self) -> None:
        self.closed.set()


class Finds:
    """An analyzer that finds no person, and checks that it forgets a source before another one of the same name."""

    def __init__(self) -> None:
        self._numbers: dict[str, float] = {}

    def forget(self, source_id: str) -> None:
        self._numbers.pop(source_id, None)

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        for frame in frames:
            assert self._numbers.setdefault(frame.source_id, frame.time_s) == frame.time_s
        return [FrameResult(frame.source_id, frame.index, frame.time_s, ()) for frame in frames]


@dataclass(eq=False)
class Log:
    """A sink and a listener: writes down what happens, source by source."""

    wants_every_frame: bool = True
    written: list[tuple[int, int]] = field(default_factory=list)
    """Number of the source and index of the frame."""
    ended: list[str] = field(default_factory=list)
    changes: list[StateChange] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    closed: int = 0

    def write(self, output: Output) -> None:
        assert not self.closed
        assert output.result.time_s == output.frame.time_s
        self.written.append((round(output.frame.time_s), output.frame.index))

    def source_ended(self, source_id: str) -> None:
        self.ended.append(source_id)

    def state_changed(self, change: StateChange) -> None:
        self.changes.append(change)

    def source_removed(self, source_id: str) -> None:
        self.removed.append(source_id)

    def close(self) -> None:
        self.closed += 1


@dataclass(frozen=True)
class Add:
    """That a source comes, unless one of its name is there."""

    name: str
    count: int
    live: bool = False
    endless: bool = False


@dataclass(frozen=True)
class Remove:
    """That a source goes, where there is one of this name."""

    name: str


@dataclass(frozen=True)
class Wait:
    """That the engine goes on."""


NAMES = st.sampled_from(["door", "lab"])
STEP = st.one_of(
    st.builds(Add, NAMES, st.integers(0, 12), st.booleans(), st.booleans()), st.builds(Remove, NAMES), st.just(Wait())
)


class Play:
    """Does one step each time the engine looks after its window."""

    def __init__(self, steps: Sequence[Add | Remove | Wait], batch_size: int, stride: int) -> None:
        self.steps = list(steps)
        self.common = Log()
        self.sources: list[Numbered] = []
        self.own: list[Log] = []
        self.there: dict[str, int] = {}
        self.ends: dict[int, int] = {}
        """How many frames had been written in all when a source was removed."""
        stream = load_config().stream.model_copy(update={"stride": stride})
        hooks = EngineHooks(self._next, [self.common])
        self.engine = Engine(Finds(), _paint, stream, batch_size, hooks)
        self.engine.add([], [SinkBinding(self.common, None)])

    def _next(self) -> bool:
        if self.steps:
            self._do(self.steps.pop(0))
        elif not self.there or self.was_stopped():
            self.engine.stop()
        return False

    def was_stopped(self) -> bool:
        """Return whether the engine was asked to leave before all sources had come to their end."""
        return any(self.sources[number].endless for number in self.there.values())

    def _do(self, step: Add | Remove | Wait) -> None:
        match step:
            case Add(name, count, live, endless) if name not in self.there:
                number = self.there[name] = len(self.sources)
                self.sources.append(Numbered(number, name, count, live=live, endless=endless))
                self.own.append(Log())
                self.engine.add([self.sources[-1]], [SinkBinding(self.own[-1], name)])
            case Remove(name) if name in self.there:
                number = self.there.pop(name)
                self.ends[number] = len(self.common.written)
                self.engine.remove(name, "the test wants it")


def _paint(frame: Frame, _result: FrameResult) -> BgrImage:
    return frame.bgr


@examples(0.5)
@given(steps=st.lists(STEP, min_size=1, max_size=8), batch_size=st.integers(1, 4), stride=st.integers(1, 3))
@example(steps=[Add("door", 3), Remove("door"), Wait()], batch_size=1, stride=1)
@example(steps=[Add("door", 8), Wait(), Remove("door"), Add("door", 3), Wait()], batch_size=4, stride=1)
@example(steps=[Add("door", 3), *[Wait()] * 3, Remove("door"), Add("door", 3, endless=True), Wait()], batch_size=4, stride=1)
def test_sources_come_and_go_in_any_order(steps: list[Add | Remove | Wait], batch_size: int, stride: int) -> None:
    before = set(threading.enumerate())
    play = Play(steps, batch_size, stride)
    report = play.engine.run()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), thread.name
    assert not play.steps or (play.there and not play.was_stopped())  # without any source it waits for others to come
    common = play.common
    assert report.frames == len(common.written)
    assert common.closed == 1
    assert common.removed == [play.sources[number].info.source_id for number in play.ends]
    for number, (source, own) in enumerate(zip(play.sources, play.own, strict=True)):
        assert source.closed.is_set()
        assert own.closed == 1
        assert own.written == [each for each in common.written if each[0] == number]  # nobody else's frames
        assert own.written == sorted(set(own.written))
        assert number not in [each for each, _ in common.written[play.ends.get(number, len(common.written)) :]]
        assert len(own.ended) <= (not source.endless)
        stays = number not in play.ends and not play.was_stopped()
        if stays and not source.info.live:
            assert [index for _, index in own.written] == list(range(source.count))
            assert own.ended == [source.info.source_id]
    _check_states(common.changes, play.sources)


def _check_states(changes: list[StateChange], sources: list[Numbered]) -> None:
    """What was told of the sources of one name are whole lives, one after the other."""
    for name in {source.info.source_id for source in sources}:
        states = [(change.before, change.state) for change in changes if change.source_id == name]
        assert states.count((None, SourceState.CONNECTING)) == sum(source.info.source_id == name for source in sources)
        last = SourceState.ENDED
        for before, state in states:
            assert last is (SourceState.ENDED if before is None else before)
            assert state is SourceState.CONNECTING if before is None else state in LEGAL[before]
            last = state
        assert last is SourceState.ENDED
