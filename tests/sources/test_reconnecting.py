from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from threading import Event, Thread

import pytest

from maskstream.clock import Clock
from maskstream.errors import SourceError, SourceOpenError, SourceRefused, SourceUnreadable, StreamLost
from maskstream.sources import reconnecting
from maskstream.sources.reconnecting import ReconnectingSource, ReconnectPolicy, delay_s
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceState, SourceStatus, StateChange
from maskstream.types import Frame, SourceInfo
from tests.clocks import ManualClock
from tests.conftest import make_frame
from tests.slowness import LONGEST_S

CONNECTING, ONLINE, STALLED, RECONNECTING, OFFLINE, ENDED = SourceState


@dataclass
class Connection:
    """A source of some frames that then ends or breaks off."""

    frames: int = 3
    error: SourceError | None = None
    size: tuple[int, int] = (64, 48)
    live: bool = True
    closed: bool = False
    frame_s: float = 0.04
    time_step_s: float | None = None
    """Of the source's own clock; None: as `frame_s`."""
    is_over: bool = False
    clock: Clock = field(default_factory=ManualClock)

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("door", *self.size, live=self.live, average_fps=25)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.frames):
            if self.closed:
                return
            frame = make_frame(index, *self.size, "door")
            self.clock.wait(Event(), self.frame_s)
            time_s = index * (self.time_step_s or self.frame_s)
            yield replace(frame, time_s=time_s, captured_at_s=self.clock.now_s())
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed = True


@dataclass
class Camera:
    """Answer each attempt with the next item: a source, or an error to raise."""

    answers: list[Connection | SourceError]
    told: list[StateChange] = field(default_factory=list)
    asked_at_s: list[float] = field(default_factory=list)
    clock: ManualClock = field(default_factory=ManualClock)

    def open(self) -> Connection:
        self.asked_at_s.append(self.clock.now_s())
        answer = self.answers[len(self.asked_at_s) - 1]
        if isinstance(answer, SourceError):
            raise answer
        answer.clock = self.clock
        return answer

    def source(self, max_reconnects: int | None = None, refusal_ends: bool = False) -> ReconnectingSource:
        policy = ReconnectPolicy(max_reconnects, refusal_ends)
        return ReconnectingSource("door", self.open, policy, SourceStatus("door", self.told.append, self.clock), self.clock)

    def states(self) -> list[SourceState]:
        return [each.state for each in self.told]


def taken(source: ReconnectingSource, count: int) -> list[Frame]:
    """Return the first frames, and close the source as its owner does: while it is being read."""
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == count:
            source.close()
    return frames


def test_index_and_time_continue_over_connections() -> None:
    camera = Camera([Connection(3, StreamLost("door: lost: no picture")), Connection(2), Connection(2, size=(32, 16))])
    frames = taken(camera.source(), 6)
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.width for frame in frames] == [64] * 5 + [32]
    times_s = [frame.time_s for frame in frames]
    assert times_s == sorted(times_s)
    assert times_s[3] - times_s[2] >= 0.8  # the wait is part of it
    assert [each.closed for each in camera.answers if isinstance(each, Connection)] == [True] * 3


def test_within_a_connection_the_clock_is_that_of_the_source() -> None:
    """A stream that plays slightly too fast or too slowly."""
    camera = Camera([Connection(3, frame_s=1.0, time_step_s=4.0), Connection(4, frame_s=5.0, time_step_s=0.5)])
    times_s = [frame.time_s for frame in taken(camera.source(), 7)]
    steps_s = [after - before for before, after in pairwise(times_s)]
    assert [*steps_s[:2], *steps_s[3:]] == pytest.approx([4.0, 4.0, 0.5, 0.5, 0.5])
    assert steps_s[2] >= 0  # ahead of the time that had passed
    assert times_s[3] < 3 * 4.0 + 5.0


def test_a_live_stream_that_has_ended_for_good_is_not_opened_again() -> None:
    camera = Camera([Connection(2, StreamLost("door: lost")), Connection(3, is_over=True)])
    assert len(list(camera.source())) == 5
    assert len(camera.asked_at_s) == 2


def test_an_unreadable_source_is_not_opened_again_beside_others() -> None:
    camera = Camera([SourceUnreadable("door: cannot be read without seeking")])
    with pytest.raises(SourceUnreadable):
        list(camera.source(refusal_ends=False))
    assert len(camera.asked_at_s) == 1


def test_each_connection_has_a_number_of_its_own() -> None:
    """Also after a camera was removed and added again: the numbers come from the source states."""
    board = SourceStates(ManualClock())
    numbers = []
    for _ in range(2):
        camera = Camera([Connection(2, StreamLost("door: lost")), SourceOpenError("door: refused"), Connection(3)])
        status, policy = SourceStatus("door", camera.told.append, camera.clock), ReconnectPolicy(None, refusal_ends=False)
        source = ReconnectingSource("door", camera.open, policy, status, camera.clock, next_connection=board.next_connection)
        numbers.append([frame.connection for frame in taken(source, 5)])
    assert numbers == [[1, 1, 2, 2, 2], [3, 3, 4, 4, 4]]


def test_a_recorded_video_on_a_server_has_a_number_too() -> None:
    assert [frame.connection for frame in taken(Camera([Connection(2, live=False)]).source(), 2)] == [1, 1]


def test_states_are_reported() -> None:
    lost, refused = StreamLost("door: lost: no frame within 10 s"), SourceOpenError("door: the connection was refused")
    camera = Camera([Connection(1, lost), refused, refused, Connection(1), Connection(1)])
    taken(camera.source(), 3)
    assert [(each.state, each.cause) for each in camera.told] == [
        (CONNECTING, "started"),
        (ONLINE, "64x48, 25 fps"),
        (RECONNECTING, "lost: no frame within 10 s"),
        (OFFLINE, "the connection was refused"),
        (ONLINE, "64x48, 25 fps"),
        (RECONNECTING, "lost: the stream ended; check the camera"),
        (ONLINE, "64x48, 25 fps"),
    ]


def test_a_camera_that_is_off_at_the_start_may_come_online() -> None:
    camera = Camera([SourceOpenError("door: refused"), SourceRefused("door: 404"), Connection(2)])
    source = camera.source()
    assert (source.info.width, source.info.live) == (0, True)
    assert len(taken(source, 2)) == 2
    assert camera.states() == [CONNECTING, OFFLINE, ONLINE]
    assert source.info.width == 64


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_attempts_can_be_limited(allowed: int) -> None:
    camera = Camera([SourceOpenError(f"door: refused {number}") for number in range(9)])
    with pytest.raises(SourceOpenError, match=f"refused {allowed}"):
        next(iter(camera.source(max_reconnects=allowed)))
    assert len(camera.asked_at_s) == allowed + 1
    waits_s = [after - before for before, after in pairwise(camera.asked_at_s)]
    assert waits_s == [pytest.approx(2**attempt, rel=0.2) for attempt in range(allowed)]


def test_a_steady_connection_resets_the_attempts() -> None:
    refused = SourceOpenError("door: refused")
    steady = [Connection(3, StreamLost("door: lost"), frame_s=10) for _ in range(2)]
    camera = Camera([steady[0], refused, steady[1], refused, refused, refused])
    with pytest.raises(SourceOpenError, match="refused"):
        list(camera.source(max_reconnects=2))
    assert len(camera.asked_at_s) == 5
    camera = Camera([Connection(3, StreamLost("door: lost")) for _ in range(4)])
    with pytest.raises(StreamLost):
        list(camera.source(max_reconnects=2))
    assert len(camera.asked_at_s) == 3


@pytest.mark.parametrize(("ends", "attempts"), [(True, 1), (False, 2)])
def test_a_refusal_at_the_first_attempt_ends_the_only_source(ends: bool, attempts: int) -> None:
    camera = Camera([SourceRefused("door: 401"), Connection(1)])
    source = camera.source(refusal_ends=ends)
    if ends:
        with pytest.raises(SourceRefused):
            taken(source, 1)
    else:
        taken(source, 1)
    assert len(camera.asked_at_s) == attempts


def test_a_refusal_after_it_was_online_is_temporary() -> None:
    camera = Camera([Connection(1), SourceRefused("door: 401"), Connection(1)])
    assert len(taken(camera.source(refusal_ends=True), 2)) == 2


def test_a_video_on_a_server_is_read_once_with_its_own_clock() -> None:
    camera = Camera([Connection(3, live=False)])
    frames = list(camera.source())
    assert [frame.time_s for frame in frames] == [make_frame(index, 64, 48).time_s for index in range(3)]
    assert camera.states() == [CONNECTING, ONLINE]
    broken = Camera([Connection(1, StreamLost("door: broke"), live=False), Connection(1)])
    with pytest.raises(StreamLost):
        list(broken.source())
    assert len(broken.asked_at_s) == 1


def test_waits_grow_to_half_a_minute_and_differ() -> None:
    assert [delay_s(attempt, lambda: 0.5) for attempt in (0, 1, 2, 3, 4, 5, 500)] == [1, 2, 4, 8, 16, 30, 30]
    assert (delay_s(0, lambda: 0.0), delay_s(0, lambda: 1.0)) == (0.8, 1.2)
    assert len({delay_s(3) for _ in range(10)}) > 5


@pytest.mark.parametrize("while_opening", [True, False])
def test_closing_ends_a_wait_and_an_opening(while_opening: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnecting, "_FIRST_DELAY_S", 60.0)
    asked, answer, late = Event(), Event(), Connection(1)

    def open_source() -> Connection:
        asked.set()
        if not while_opening:
            raise SourceOpenError("door: refused")
        answer.wait(LONGEST_S)
        return late

    source = ReconnectingSource("door", open_source, ReconnectPolicy(None, False), SourceStatus("door", lambda change: None))
    frames: list[Frame] = []
    reader = Thread(target=lambda: frames.extend(source))
    reader.start()
    assert asked.wait(LONGEST_S)
    source.close()
    source.close()
    answer.set()
    reader.join(LONGEST_S)
    assert not reader.is_alive()
    assert frames == []
    assert late.closed is while_opening


def test_reconnections_are_counted() -> None:
    camera = Camera([Connection(1), SourceOpenError("door: refused"), Connection(1), Connection(1)])
    source = camera.source()
    before_s = camera.clock.now_s()
    taken(source, 3)
    assert source.reconnects_since(before_s) == 2
    camera.clock.advance(1)
    assert source.reconnects_since(camera.clock.now_s()) == 0
