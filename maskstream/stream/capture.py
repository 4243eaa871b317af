"""From a source into its channel: what one capture thread does."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from threading import Event
from time import monotonic
from typing import Final

from maskstream.config import StreamConfig
from maskstream.errors import MaskStreamError
from maskstream.protocols import Source
from maskstream.stream.channel import Channel
from maskstream.types import Frame, FrameResult, SourceInfo

_HELD_POLL_S: Final = 0.02


@dataclass(frozen=True, eq=False)
class Captured:
    """A frame on its way through the stages."""

    frame: Frame
    analyse: bool
    """False for a frame that `stride` leaves out and that only travels along for the video."""
    result: FrameResult | None = None


@dataclass(frozen=True)
class Ended:
    """The end of a source; travels behind its last frame."""

    source_id: str
    complete: bool
    """Whether it came to its own end."""
    error: MaskStreamError | None = None


@dataclass(frozen=True)
class Crashed:
    """A mistake in a thread, to be raised again in the caller's."""

    error: BaseException


Item = Captured | Ended | Crashed


@dataclass(eq=False)
class Lane:
    """A source and its way to the inference thread."""

    source: Source
    channel: Channel[Item]
    config: StreamConfig
    pass_every_frame: bool
    """Whether frames that are not analysed travel along."""
    held: Event
    """Set while the user pauses the stream; one for all lanes."""
    stopped: Event = field(default_factory=Event)

    @property
    def info(self) -> SourceInfo:
        """What is known of the source."""
        return self.source.info

    def stop(self) -> None:
        """End the capture soon and drop what waits."""
        self.stopped.set()
        self.channel.close()

    def capture(self) -> None:
        """Read the source until it ends, fails or is stopped; its end follows its frames into the channel."""
        ended: Item
        try:
            ended = Ended(self.info.source_id, complete=self._feed())
        except MaskStreamError as error:
            ended = Ended(self.info.source_id, complete=False, error=error)
        except BaseException as error:  # raised again in the caller's thread
            ended = Crashed(error)
        self.channel.finish(ended)

    def _feed(self) -> bool:
        """Put frames into the channel; return whether the source came to its own end."""
        limit = self.config.max_frames
        for frame in self._paced():
            analyse = frame.index % self.config.stride == 0
            if (analyse or self.pass_every_frame) and not self.channel.put(Captured(frame, analyse)):
                return False
            if limit is not None and frame.index + 1 >= limit:
                return False
        return not self.stopped.is_set()

    def _paced(self) -> Iterator[Frame]:
        """Yield frames as fast as they come, or a file's at its own speed."""
        if not self.config.realtime or self.info.live:
            yield from takewhile(lambda _: not self.stopped.is_set(), self.source)
            return
        zero_s: float | None = None
        for frame in self.source:
            zero_s = monotonic() - frame.time_s if zero_s is None else zero_s
            self.stopped.wait(max(0.0, zero_s + frame.time_s - monotonic()))
            held_at_s = monotonic()
            while self.held.is_set() and not self.stopped.wait(_HELD_POLL_S):
                pass
            zero_s += monotonic() - held_at_s
            if self.stopped.is_set():
                return
            yield frame
