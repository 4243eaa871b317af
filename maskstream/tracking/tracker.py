"""Track faces from frame to frame with ByteTrack.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (2022), as implemented in `trackers`. Boxes
are compared with a margin, because faces are small and may move by more than their width between two detections: Yang et al.,
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

_REFERENCE_FPS: Final = 30.0  # the time unit of ByteTrack
_MARGIN: Final = 0.5
_LEAST_OVERLAP: Final = 0.1
_CERTAIN_SCORE: Final = 0.4
"""Detections with at least this score begin a track. Others can only continue one."""
_REPEAT_AFTER_S: Final = 1e-4
_LARGEST_SIDE_PX: Final = 64.0
_SHARP: Final = 120.0
_SIDE_PX: Final = 48
_LEAST_WEIGHT: Final = 0.1


class Tracker:
    """Assigns track ids to the faces of one source, from 1 on. An id is never used again."""

    def __init__(self) -> None:
        """Begin without people."""
        self._given = 0
        self.forget()

    def forget(self) -> None:
        """Forget all people."""
        self._before = self._given
        self._tracker = ByteTrackTracker(
            frame_rate=_REFERENCE_FPS,
            track_activation_threshold=_CERTAIN_SCORE,
            minimum_consecutive_frames=2,
            minimum_iou_threshold=_LEAST_OVERLAP,
            high_conf_det_threshold=_CERTAIN_SCORE,
            iou=BIoU(_MARGIN),
        )

    def update(self, time_s: float, faces: Sequence[Face], lost_s: float) -> list[int | None]:
        """Return the track id of each face; None where the score is too low to begin a track.

        Args:
            time_s: The time of the frame, later than the one before.
            faces: All faces of the frame.
            lost_s: A person who was not seen for longer gets another track id.
        """
        self._tracker.maximum_time_without_update = lost_s
        boxes = np.array([face.face_box_xyxy for face in faces], np.float32).reshape(-1, 4)
        scores = np.array([face.detection.score for face in faces], np.float32)
        has_area = np.array([is_box(box) and bool((box[2:] > box[:2]).all()) for box in boxes], bool)
        usable = np.flatnonzero(has_area & np.isfinite(scores))
        found = supervision.Detections(boxes[usable], confidence=scores[usable], class_id=usable)
        track_ids = self._track_ids(found, time_s)
        begin = [index not in track_ids and scores[index] >= _CERTAIN_SCORE for index in usable.tolist()]
        if any(begin):  # ByteTrack assigns an id with the second detection
            repeated = supervision.Detections(boxes[usable][begin], confidence=scores[usable][begin], class_id=usable[begin])
            track_ids |= self._track_ids(repeated, time_s + _REPEAT_AFTER_S)
        self._given = max([self._given, *track_ids.values()])
        return [track_ids.get(index) for index in range(len(faces))]

    def _track_ids(self, found: supervision.Detections, time_s: float) -> dict[int, int]:
        """Return the track ids of the detections that have one, by class id, which is the index of the face."""
        tracked = self._tracker.update(found, timestamp=time_s)
        if tracked.class_id is None or tracked.tracker_id is None:
            return {}
        pairs = zip(tracked.class_id.tolist(), tracked.tracker_id.tolist(), strict=True)
        return {index: self._before + number + 1 for index, number in pairs if number >= 0}


def quality(bgr: BgrImage, face: Face) -> float:
    """Return the reliability of the classification of a face, in [0, 1], from its size, its eyes' scores, and its sharpness.

    Sharpness is the variance of the Laplacian of the face, scaled to one size: Pech-Pacheco et al., "Diatom Autofocusing in
    Brightfield Microscopy" (2000).

    Args:
        bgr: (H, W, 3) uint8 BGR, the frame.
        face: A face in this frame.
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
