"""Read one source in a thread of its own, and put its frames into a channel."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from threading import Event
from typing import Final

from maskstream.clock import Clock
from maskstream.config.schema import StreamConfig
from maskstream.errors import MaskStreamError
from maskstream.protocols import Source
from maskstream.stream.channel import Channel
from maskstream.stream.health import Meter, SourceHealth, SourceTotals
from maskstream.stream.rates import CLOCK_TOLERANCE_S
from maskstream.stream.states import SourceState, SourceStatus
from maskstream.types import Frame, FrameResult, SourceInfo

_HELD_POLL_S: Final = 0.02
_QUEUED_BYTES: Final = 256 * 2**20
"""The maximum memory for the frames of one source that wait for inference."""
_QUIET_S: Final = 2.0
_QUIET_INTERVALS: Final = 2
_HOUR_S: Final = 3600.0
_LONGEST_WAIT_S: Final = 60.0
"""With `--realtime`: a file whose time jumps by more continues at once."""
_WAITING: Final = frozenset({SourceState.CONNECTING, SourceState.STALLED})


@dataclass(frozen=True, eq=False)
class Captured:
    """A frame on its way through the stages."""

    worker: "CaptureWorker"
    """The worker that captured it. By the time of rendering, another worker may have a source of the same name."""
    frame: Frame
    analyse: bool
    """False for a frame that `stream.stride` leaves out, and that is only needed for the video."""
    result: FrameResult | None = None


@dataclass(frozen=True)
class Ended:
    """The end of a source. It follows the last frame."""

    worker: "CaptureWorker"
    complete: bool
    """Whether the source has reached its end."""
    error: MaskStreamError | None = None


@dataclass(frozen=True)
class Crashed:
    """An internal error in a thread. It is raised again in the caller's thread."""

    error: BaseException


Item = Captured | Ended | Crashed


@dataclass(eq=False)
class CaptureWorker:
    """A source, its thread, and its channel to the inference thread."""

    source: Source
    status: SourceStatus
    channel: Channel[Item]
    config: StreamConfig
    pass_every_frame: bool
    """Whether frames that are not analysed are passed on too, where none are dropped."""
    held: Event
    """Set while the user pauses the stream. All workers share it."""
    max_waiting: int
    """The maximum number of waiting frames of a source that drops none, if memory allows."""
    clock: Clock
    connection: int = 0
    """`Frame.connection` for a source that is opened once and does not set it."""
    has_predecessor: bool = False
    """Whether a removed source had this name, whose state in the analyzer is not forgotten yet."""
    stopped: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        """Create the meter."""
        self.meter = Meter(self.clock)

    @property
    def dropped(self) -> int:
        """Number of frames that were captured and not analysed in time."""
        return self.channel.dropped + self.meter.stale

    @property
    def info(self) -> SourceInfo:
        """What is known of the source now."""
        return self.source.info

    def watch(self, now_s: float) -> None:
        """Mark a live source as stalled after two frame intervals, measured or stated, and at least 2 s without a frame."""
        last_s = self.meter.last_frame_at_s
        if not self.info.live or last_s is None:
            return
        stated_s = 1 / self.info.average_fps if self.info.average_fps else 0.0  # before the second frame nothing is measured
        limit_s = max(_QUIET_S, _QUIET_INTERVALS * max(stated_s, self.meter.arrivals.interval_s()))
        if now_s - last_s > limit_s:
            self.status.change(SourceState.STALLED, f"no frame for {now_s - last_s:.1f} s", {SourceState.ONLINE})

    def health(self, now_s: float) -> SourceHealth:
        """Return the health of the source."""
        last_s, status = self.meter.last_frame_at_s, self.status.last
        reconnects_since: Callable[[float], int] | None = getattr(self.source, "reconnects_since", None)
        return SourceHealth(
            source_id=self.info.source_id,
            state=status.state,
            state_s=now_s - status.at_s,
            cause=status.cause,
            fps_in=self.meter.arrivals.per_second(now_s),
            fps_out=self.meter.fps_out(now_s),
            dropped=self.totals().dropped,
            frame_age_s=None if last_s is None else now_s - last_s,
            reconnects_last_hour=reconnects_since(now_s - _HOUR_S) if reconnects_since else 0,
            stage_ms=self.meter.stage_ms(),
            unusable=self.meter.unusable,
            rested=self.meter.rested(),
        )

    def totals(self) -> SourceTotals:
        """Return the numbers of received and dropped frames."""
        dropped = {
            "overload": self.channel.dropped,
            "stale": self.meter.stale,
            "decode": getattr(self.source, "damaged", 0),
        }
        return SourceTotals(self.meter.received, dropped)

    def stop(self) -> None:
        """End the capture soon, and drop the waiting frames."""
        self.stopped.set()
        self.channel.close()

    def capture(self) -> None:
        """Read the source until it ends, fails or is stopped. Its end follows its frames into the channel."""
        ended: Item
        try:
            complete = self._feed()
            ended, cause = Ended(self, complete), "its end was reached" if complete else "stopped"
        except MaskStreamError as error:
            ended, cause = Ended(self, complete=False, error=error), str(error)
        except BaseException as error:  # raised again in the thread that renders
            ended, cause = Crashed(error), f"internal error: {error!r}"
        self.status.change(SourceState.ENDED, cause)
        self.channel.finish(ended)

    def _feed(self) -> bool:
        """Put the frames into the channel. Returns whether the source has reached its end."""
        limit = self.config.max_frames
        pass_every_frame = False
        for number, frame in enumerate(self._paced()):
            if number == 0:
                pass_every_frame = self._keep_all(frame) and self.pass_every_frame
            if not frame.connection:
                frame = replace(frame, connection=self.connection)
            self.meter.captured(frame)
            self.status.change(SourceState.ONLINE, "frames arrive", _WAITING)
            analyse = frame.index % self.config.stride == 0
            if (analyse or pass_every_frame) and not self.channel.put(Captured(self, frame, analyse)):
                return False
            if limit is not None and frame.index + 1 >= limit:
                return False
        return not self.stopped.is_set()

    def _keep_all(self, first: Frame) -> bool:
        """Let the channel drop no frame of a file or folder. Returns whether frames that are not analysed may repeat faces."""
        stills = bool(self.info.images)
        if self.info.live or (self.config.realtime and not stills):
            return False
        self.channel.keep(max(1, min(self.max_waiting, _QUEUED_BYTES // first.bgr.nbytes)))
        return not stills  # the faces of one image are not repeated on the next

    def _paced(self) -> Iterator[Frame]:
        """Yield frames as they arrive; with `--realtime`, those of a file at its own speed."""
        zero_s: float | None = None
        last_s = 0.0
        for frame in takewhile(lambda _: not self.stopped.is_set(), self.source):
            if not self.config.realtime or self.info.live:
                yield frame
                continue
            is_another_clock = not -CLOCK_TOLERANCE_S <= frame.time_s - last_s <= _LONGEST_WAIT_S
            if zero_s is None or is_another_clock:
                zero_s = self.clock.now_s() - frame.time_s
            last_s = frame.time_s
            self.clock.wait(self.stopped, max(0.0, zero_s + frame.time_s - self.clock.now_s()))
            held_at_s = self.clock.now_s()
            while self.held.is_set() and not self.clock.wait(self.stopped, _HELD_POLL_S):
                pass
            zero_s += self.clock.now_s() - held_at_s
            if self.stopped.is_set():
                return
            yield replace(frame, captured_at_s=self.clock.now_s())
