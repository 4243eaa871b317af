"""Describe what an engine does for the supervisor: the health of each assigned camera."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from time import time

from maskstream.events.types import EventOrCounts, MaskEvent, Phase
from maskstream.fleet.wire import Assignment, CameraHealth
from maskstream.stream.health import SourceHealth
from maskstream.stream.states import SourceState
from maskstream.types import Output


@dataclass
class _Opened:
    """A camera of the engine, for one assignment."""

    epoch: int
    first_frame_utc: float | None = None
    open_events: set[str] = field(default_factory=set)


class OpenedCameras:
    """What is known of the cameras that were opened: their assignments, first frames and open events.

    Threads that open cameras, the thread that renders and that of the agent call it. It is also a sink of analysed frames.
    """

    wants_every_frame = False

    def __init__(self) -> None:
        """Begin without cameras."""
        self._lock = Lock()
        self._opened: dict[str, _Opened] = {}

    def opened(self, camera: str, epoch: int) -> None:
        """Count what follows for an assignment of a camera: its records, and its first frame."""
        with self._lock:
            self._opened[camera] = _Opened(epoch)

    def epoch(self, camera: str) -> int:
        """Return the assignment for which a camera was opened last; 0 before that."""
        with self._lock:
            found = self._opened.get(camera)
        return found.epoch if found else 0

    def write(self, output: Output) -> None:
        """Note the first analysed frame of a camera."""
        found = self._opened.get(output.frame.source_id)
        if found is not None and found.first_frame_utc is None:
            wall_time = output.frame.wall_time  # None for a file
            found.first_frame_utc = time() if wall_time is None else wall_time.timestamp()

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Note which events begin and end."""
        with self._lock:
            for item in items:
                found = self._opened.get(item.source_id)
                if found is None or not isinstance(item, MaskEvent):
                    continue
                if item.phase is Phase.END:
                    found.open_events.discard(item.event_id)
                else:
                    found.open_events.add(item.event_id)

    def source_ended(self, source_id: str) -> None:
        """Do nothing: the camera stays assigned."""

    def close(self) -> None:
        """Forget the cameras: the engine has ended."""
        with self._lock:
            self._opened.clear()

    def healths(
        self,
        assignments: Sequence[Assignment],
        sources: Mapping[str, SourceHealth],
        failures: Mapping[str, str],
        stride: int,
    ) -> tuple[CameraHealth, ...]:
        """Return the health of each assigned camera.

        Args:
            assignments: What the supervisor wants of this machine.
            sources: The health of the sources in the engine, by name.
            failures: Why cameras are not in the engine, by name.
            stride: Of `stride` captured frames one is analysed.
        """
        with self._lock:
            opened = dict(self._opened)
        return tuple(
            _camera_health(each, opened.get(each.camera), sources.get(each.camera), failures.get(each.camera), stride)
            for each in assignments
        )


def _camera_health(
    assignment: Assignment, opened: _Opened | None, source: SourceHealth | None, failure: str | None, stride: int
) -> CameraHealth:
    if opened is None or opened.epoch != assignment.epoch or source is None:
        state = SourceState.CONNECTING if failure is None else SourceState.OFFLINE
        return CameraHealth(assignment.camera, assignment.epoch, state.value, 0.0, 0.0, 0.0, failure or "", 0, None)
    wanted_fps = source.fps_in / stride
    return CameraHealth(
        camera=assignment.camera,
        epoch=assignment.epoch,
        state=source.state.value,
        captured_fps=round(source.fps_in, 2),
        analysed_fps=round(source.fps_out, 2),
        dropped_share=round(max(0.0, 1 - source.fps_out / wanted_fps), 3) if wanted_fps else 0.0,
        reason="" if source.state is SourceState.ONLINE else source.cause,
        open_events=len(opened.open_events),
        first_frame_utc=opened.first_frame_utc,
        wanted_fps=round(wanted_fps, 2),
    )
