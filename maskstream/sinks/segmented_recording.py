"""Record a live source as annotated video in segments: `--segment`, another frame size or a gap begins the next file."""

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
from maskstream.types import Frame, Output, SourceInfo

_LONGEST_GAP_S: Final = 60.0
"""After a longer gap without frames, a segment begins."""
_GAP_INTERVALS: Final = 2.5
"""The same in average intervals between frames, for a source with a frame every few minutes."""


class SegmentedRecordingSink:
    """Records one source as a sequence of annotated videos.

    The first segment has the given name; the next ones have `_002`, `_003` ... before the suffix. Names of existing files are
    skipped, so that no file is replaced. Each segment begins at 0 and keeps the times of the source, also where frames were
    dropped.
    """

    wants_every_frame = True

    def __init__(self, path: str, info: Callable[[], SourceInfo], config: VideoConfig) -> None:
        """Check the path; creates no file.

        Args:
            path: Of the first segment.
            info: Returns what is known about the source at the time of the call.
            config: Quality and speed of the encoder, length of a segment.

        Raises:
            SinkError: The path cannot be written.
        """
        require_recording_path(path)
        self._path = path
        self._info = info
        self._config = config
        self._segment: VideoSink | None = None
        self._number = 0
        """In the name of the segment; the next one has a higher number."""
        self._size = (0, 0)
        self._began_s = 0.0
        self._last_s = 0.0

    def write(self, output: Output) -> None:
        """Encode one frame; begin the next segment before it where there is a reason."""
        frame = output.frame
        if self._segment is None:
            self._segment = self._open_segment(frame)
            if self._number > 1:
                name, given = Path(self._segment.path).name, Path(self._path).name
                logger.info("{}: the recording is {}, because the file {} exists", frame.source_id, name, given)
        elif reason := self._reason_to_split(frame):
            self._segment.close()
            self._segment = self._open_segment(frame)
            name = Path(self._segment.path).name
            logger.info("{}: the recording continues in {}: {}", frame.source_id, name, reason)
        self._last_s = frame.time_s
        moved = replace(frame, time_s=frame.time_s - self._began_s)
        self._segment.write(replace(output, frame=moved, paint=lambda *_: output.annotated_bgr))

    def source_ended(self, source_id: str) -> None:
        """Finish the segment."""
        if self._segment is not None:
            self._segment.source_ended(source_id)

    def close(self) -> None:
        """Close the segment."""
        if self._segment is not None:
            self._segment.close()

    def _reason_to_split(self, frame: Frame) -> str:
        """Return why a frame begins another segment; empty where it does not."""
        if (frame.width, frame.height) != self._size:
            return f"{frame.width}x{frame.height} instead of {self._size[0]}x{self._size[1]}"
        step_s = frame.time_s - self._last_s
        if -step_s > CLOCK_TOLERANCE_S:
            return f"its time runs back by {-step_s:.0f} s"
        interval_s = 1 / (self._info().average_fps or inf)
        if step_s > max(_LONGEST_GAP_S, _GAP_INTERVALS * interval_s):
            return f"no frame for {step_s:.0f} s"
        segment_s = self._config.segment_s
        if segment_s is not None and frame.time_s - self._began_s >= segment_s:
            return f"the segment has its length of {segment_s:g} s"
        return ""

    def _open_segment(self, frame: Frame) -> VideoSink:
        self._size, self._began_s = (frame.width, frame.height), frame.time_s
        info = replace(self._info(), width=frame.width, height=frame.height, start_s=0.0)
        segment, self._number = new_video(self._path, info, self._config, self._number + 1)
        return segment
