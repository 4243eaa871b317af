"""Hand frames, states and events of a run over to the dashboard. All methods are called by the thread that renders."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import thread_time
from typing import Final

from maskstream.config.schema import Config
from maskstream.events.types import EventOrCounts, MaskEvent
from maskstream.io.text_file import iso_8601
from maskstream.stream.states import StateChange
from maskstream.types import Label, Output
from maskstream.web.live_view import LiveView
from maskstream.web.tile_images import Painted

_MAX_ENDED: Final = 16


@dataclass(frozen=True, eq=False)
class _Newest:
    """The newest frame of a camera, and the settings of the camera when it arrived."""

    output: Output
    config: Config


class LiveSink:
    """Counts each frame, and paints it only where a viewer is ready for a tile of its camera.

    Without viewers a frame costs some microseconds. `attend` has to be called several times a second.
    """

    wants_every_frame = False

    def __init__(self, view: LiveView) -> None:
        """Begin without a frame."""
        self._view = view
        self._newest: dict[str, _Newest] = {}
        self._ended: deque[str] = deque()
        """Ended sources whose last frame is kept, in order: of a folder with many videos, few."""

    def write(self, output: Output) -> None:
        """Count a frame, and paint it where a viewer is ready for it."""
        if not output.analysed:
            return
        self._view.count(output)
        camera = output.frame.source_id
        config = self._view.settings.of(camera)
        if config.privacy.blur != "none" and (output.result.unseen or output.result.repeated):
            return  # it cannot be shown: a face may be anywhere in it
        self._newest[camera] = _Newest(output, config)
        self._offer(camera)

    def attend(self) -> None:
        """Paint the newest frame of cameras of which a viewer has no tile yet, also where no further frame arrives."""
        for camera in tuple(self._view.hub.asked):
            self._offer(camera)

    def source_ended(self, source_id: str) -> None:
        """Keep the last frame, which is shown with its age."""
        self._ended.append(source_id)
        if len(self._ended) > _MAX_ENDED:
            self._newest.pop(self._ended.popleft(), None)

    def state_changed(self, change: StateChange) -> None:
        """Pass on the state of a camera."""
        self._view.state_changed(change)

    def source_removed(self, source_id: str) -> None:
        """Forget a camera, and its frame."""
        self._newest.pop(source_id, None)
        self._view.removed(source_id)

    def close(self) -> None:
        """Forget all frames. A second call does nothing."""
        self._newest.clear()

    def _offer(self, camera: str) -> None:
        newest, view = self._newest.get(camera), self._view
        if newest is None or not view.hub.wants(camera):
            return
        output, config = newest.output, newest.config
        if view.settings.of(camera) is not config:
            return  # the settings of now may anonymise a face that is visible in it
        began_s = thread_time()
        bgr = output.annotated_bgr
        people = dict.fromkeys((label.value for label in Label), 0)
        for face in output.result.faces:
            people[face.shown_label.value] += 1
        painted = Painted(
            camera=camera,
            frame=output.frame.index,
            bgr=bgr,
            time_utc=iso_8601(output.frame.wall_time),
            captured_at_s=output.frame.captured_at_s,
            people=people,
            is_allowed=lambda: view.settings.of(camera) is config,
        )
        view.hub.put(painted, thread_time() - began_s)


class LiveEvents:
    """A receiver of an `EventSink` that counts events, and passes them to the viewers."""

    def __init__(self, view: LiveView) -> None:
        """Begin without events."""
        self._view = view

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Pass on events; the counts of minutes are in the store."""
        for item in items:
            if isinstance(item, MaskEvent):
                self._view.event(item)

    def state_changed(self, change: StateChange) -> None:
        """Do nothing: `LiveSink` passes on states."""

    def is_saved(self) -> bool:
        """Return True: nothing is kept."""
        return True

    def health(self) -> str:
        """Return nothing: no record waits."""
        return ""

    def close(self) -> None:
        """Do nothing."""
