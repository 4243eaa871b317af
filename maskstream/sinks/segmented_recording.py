"""Annotated video of a camera, in parts: another begins where the picture changes its size, after a gap, or when one is full."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.config.schema import VideoConfig
from maskstream.sinks.video import VideoSink, new_video
from maskstream.sinks.video_formats import require_recording_path
from maskstream.stream.rates import CLOCK_TOLERANCE_S
from maskstream.types import Output, SourceInfo

_LONGEST_GAP_S: Final = 60.0
"""Nobody wants to watch a picture that stands still for longer."""
_GAP_INTERVALS: Final = 2.5
"""A camera that gives a picture every few minutes has no gap between two of them."""


class SegmentedRecordingSink:
    """One annotated video after the other, of one source whose size is known by its frames alone.

    The first part has the name that was given, the next ones have `_002`, `_003` and so on before the suffix. Names of
    files that are there are passed over, so that none is ever replaced. Each part begins at 0,
    and keeps the speed of the source whatever was dropped.
    """

    wants_every_frame = True

    def __init__(self, path: str, info: Callable[[], SourceInfo], config: VideoConfig) -> None:
        """Create nothing yet.

        Args:
            path: Of the first part.
            info: What is known of the source by then.
            config: Quality and speed of the encoder, length of the parts.

        Raises:
            SinkError: Nothing can be written there.
        """
        require_recording_path(path)
        self._path = path
        self._info = info
        self._config = config
        self._part: VideoSink | None = None
        self._number = 0
        """Of the part: those before it are not asked for again."""
        self._size = (0, 0)
        self._began_s = 0.0
        self._last_s = 0.0

    def write(self, output: Output) -> None:
        """Encode one frame, in a new part where it does not belong to the present one."""
        frame = output.frame
        if self._part is None or (reason := self._why_another(output)):
            if self._part is not None:
                self._part.close()
                self._part = self._open(output)
                logger.info("{}: the recording goes on in {}: {}", frame.source_id, Path(self._part.path).name, reason)
            else:
                self._part = self._open(output)
                if self._number > 1:
                    asked, name = Path(self._path).name, Path(self._part.path).name
                    logger.info("{}: the recording is {}, since there is a file {} already", frame.source_id, name, asked)
        self._last_s = frame.time_s
        moved = replace(frame, time_s=frame.time_s - self._began_s)
        self._part.write(replace(output, frame=moved, paint=lambda *_: output.annotated_bgr))

    def source_ended(self, source_id: str) -> None:
        """Finish the part."""
        if self._part is not None:
            self._part.source_ended(source_id)

    def close(self) -> None:
        """Finish the part."""
        if self._part is not None:
            self._part.close()

    def _why_another(self, output: Output) -> str:
        frame = output.frame
        if (frame.width, frame.height) != self._size:
            return f"{frame.width}x{frame.height} instead of {self._size[0]}x{self._size[1]}"
        if self._last_s - frame.time_s > CLOCK_TOLERANCE_S:
            return f"its time runs back by {self._last_s - frame.time_s:.0f} s"
        interval_s = 1 / (self._info().average_fps or inf)
        if frame.time_s - self._last_s > max(_LONGEST_GAP_S, _GAP_INTERVALS * interval_s):
            return f"no frame for {frame.time_s - self._last_s:.0f} s"
        segment_s = self._config.segment_s
        return f"{segment_s:g} s are full" if segment_s is not None and frame.time_s - self._began_s >= segment_s else ""

    def _open(self, output: Output) -> VideoSink:
        frame = output.frame
        self._size, self._began_s = (frame.width, frame.height), frame.time_s
        info = replace(self._info(), width=frame.width, height=frame.height, start_s=0.0)
        part, self._number = new_video(self._path, info, self._config, self._number + 1)
        return part
