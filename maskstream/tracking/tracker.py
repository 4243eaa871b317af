"""Who is whom from frame to frame, by ByteTrack.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (2022), as implemented in `trackers`. Boxes
are compared with a margin around them, for faces are small and may move by more than their width between two looks: Yang et al.,
"Hard to Track Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching Space" (2023).
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import supervision
from trackers import ByteTrackTracker
from trackers.utils.iou import BIoU

from maskstream.types import BgrImage, Face
from maskstream.vision.geometry import is_box

_REFERENCE_FPS: Final = 30.0  # of the units in which ByteTrack counts
_MARGIN: Final = 0.5
_LEAST_OVERLAP: Final = 0.1
_CERTAIN_SCORE: Final = 0.4
"""Detections as certain as this begin a track; others only go on with one."""
_AT_ONCE_S: Final = 1e-4
_LARGEST_SIDE_PX: Final = 64.0
_SHARP: Final = 120.0
_SIDE_PX: Final = 48
_LEAST_WEIGHT: Final = 0.1


class Tracker:
    """Numbers the people of one source, from 1 on; a number is never given again."""

    def __init__(self) -> None:
        """Begin without people."""
        self._given = 0
        self._begin()

    def _begin(self) -> None:
        self._before = self._given
        self._tracker = ByteTrackTracker(
            frame_rate=_REFERENCE_FPS,
            track_activation_threshold=_CERTAIN_SCORE,
            minimum_consecutive_frames=2,
            minimum_iou_threshold=_LEAST_OVERLAP,
            high_conf_det_threshold=_CERTAIN_SCORE,
            iou=BIoU(_MARGIN),
        )

    def forget(self) -> None:
        """Know nobody any more."""
        self._begin()

    def update(self, time_s: float, faces: Sequence[Face], lost_s: float) -> list[int | None]:
        """Return the number of each face; None where it is too uncertain to begin with.

        Args:
            time_s: When they were seen; always later than before.
            faces: All of a frame.
            lost_s: Who was not seen for longer comes back as another.
        """
        self._tracker.maximum_time_without_update = lost_s
        boxes = np.array([face.face_box_xyxy for face in faces], np.float32).reshape(-1, 4)
        scores = np.array([face.detection.score for face in faces], np.float32)
        has_area = np.array([is_box(box) and bool((box[2:] > box[:2]).all()) for box in boxes], bool)
        usable = np.flatnonzero(has_area & np.isfinite(scores))
        found = supervision.Detections(boxes[usable], confidence=scores[usable], class_id=usable)
        numbers = self._numbers(found, time_s)
        begin = [index not in numbers and scores[index] >= _CERTAIN_SCORE for index in usable.tolist()]
        if any(begin):  # ByteTrack gives a number at the second sight
            once_more = supervision.Detections(boxes[usable][begin], confidence=scores[usable][begin], class_id=usable[begin])
            numbers |= self._numbers(once_more, time_s + _AT_ONCE_S)
        self._given = max([self._given, *numbers.values()])
        return [numbers.get(index) for index in range(len(faces))]

    def _numbers(self, found: supervision.Detections, time_s: float) -> dict[int, int]:
        """Return the numbers of those detections that have one, by their class, which is the index of the face."""
        tracked = self._tracker.update(found, timestamp=time_s)
        if tracked.class_id is None or tracked.tracker_id is None:
            return {}
        pairs = zip(tracked.class_id.tolist(), tracked.tracker_id.tolist(), strict=True)
        return {index: self._before + number + 1 for index, number in pairs if number >= 0}


def quality(bgr: BgrImage, face: Face) -> float:
    """Return how far a look at a face can be trusted, in [0, 1]: by its size, the certainty of its eyes, and sharpness.

    Sharpness is the variance of the Laplacian of the face, scaled to one size: Pech-Pacheco et al., "Diatom Autofocusing in
    Brightfield Microscopy" (2000).

    Args:
        bgr: (H, W, 3) uint8 BGR, the frame.
        face: In it.
    """
    height, width = bgr.shape[:2]
    x1, y1, x2, y2 = np.clip(face.face_box_xyxy, 0, [width, height, width, height]).astype(int)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return 0.0
    size = min(1.0, min(x2 - x1, y2 - y1) / _LARGEST_SIDE_PX)
    eyes = min(1.0, max(0.0, *(face.detection.keypoint(name)[1] for name in ("left_eye", "right_eye"))))
    grey = cv2.cvtColor(bgr[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY)
    scaled = cv2.resize(grey, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    sharp = min(1.0, float(cv2.Laplacian(scaled, cv2.CV_32F).var()) / _SHARP)
    return max(_LEAST_WEIGHT, float(size * eyes * sharp))
