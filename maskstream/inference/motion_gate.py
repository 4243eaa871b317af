"""Let the detector rest while nothing changes in the picture of a camera and no face is in view (`detector.motion`)."""

from dataclasses import dataclass, field
from math import inf
from typing import Final

from maskstream.config.detector_interval import may_rest
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.inference.analyzer import region_px
from maskstream.inference.motion import ChangeDetector
from maskstream.types import Frame, FrameResult

_AWAKE_S: Final = 3.0
"""How long the detector keeps its interval after it has last found a face, or what may be one: it may miss a face for a while.
It is `tracking.lost_s`, if that is longer: the tracks of people end as without rests."""


@dataclass
class _Scene:
    """What is known of one source."""

    changes: ChangeDetector = field(default_factory=ChangeDetector)
    detected_s: float = -inf
    """The time of the last frame that the detector ran on."""
    awake_until_s: float = -inf
    has_faces: bool = False
    """Whether the detector has found a face in that frame, or what may be one."""
    is_resting: bool = False
    """Whether the detector rested when it was last due."""
    is_pending: bool = False
    """Whether the detector was sent a frame whose result is not known yet."""


class MotionGate:
    """Decides whether the detector rests on a frame that it is due to run on. Several sources may have different settings.

    It rests while all of this holds: the change detector sees no change; the last frame with a face, or with what may be one,
    is over; the last detection is less than `detector.idle_s` ago.
    """

    def __init__(self, settings: SourceSettings) -> None:
        """Begin without a frame.

        Args:
            settings: Whether and for how long the detector of each source rests.
        """
        self._settings = settings
        self._scenes: dict[str, _Scene] = {}

    def forget(self, source_id: str) -> None:
        """Forget a source: the detector runs on its next frame."""
        self._scenes.pop(source_id, None)

    def may_rest(self, frame: Frame) -> bool:
        """Return whether the settings let the detector rest on a frame, if nothing changes."""
        return frame.file is None and may_rest(self._settings.of(frame.source_id), is_live=frame.wall_time is not None)

    def rests(self, frame: Frame) -> bool:
        """Return whether the detector rests on a frame that it is due to run on, and remember the picture.

        Frames of a source must come in their own order. Where this returns False, `detected` must follow.
        """
        if not self.may_rest(frame):
            self._scenes.pop(frame.source_id, None)
            return False
        config = self._settings.of(frame.source_id)
        scene = self._scenes.setdefault(frame.source_id, _Scene())
        has_changed = _has_changed(scene.changes, frame, config)
        is_overdue = not 0 <= frame.time_s - scene.detected_s < config.detector.idle_s
        is_awake = scene.is_pending or scene.has_faces or frame.time_s < scene.awake_until_s
        scene.is_resting = not (has_changed or is_overdue or is_awake)
        scene.is_pending |= not scene.is_resting
        return scene.is_resting

    def is_resting(self, source_id: str) -> bool:
        """Return whether the detector rested on the last frame of a source that it was due to run on."""
        scene = self._scenes.get(source_id)
        return scene is not None and scene.is_resting

    def detected(self, frame: Frame, result: FrameResult) -> None:
        """Take note of what the detector has found in a frame."""
        scene = self._scenes.get(frame.source_id)
        if scene is None:
            return
        scene.is_pending = False
        scene.detected_s = frame.time_s
        scene.has_faces = bool(result.faces or result.hidden)
        if scene.has_faces:
            scene.awake_until_s = frame.time_s + max(_AWAKE_S, self._settings.of(frame.source_id).tracking.lost_s)


def _has_changed(changes: ChangeDetector, frame: Frame, config: Config) -> bool:
    """Return whether the part of the picture that the detector sees has changed."""
    left, top, right, bottom = region_px(frame, config.detector.region or (0, 0, 1, 1))
    return changes.update(frame.bgr[top:bottom, left:right], frame.time_s, config.detector.motion_threshold)
