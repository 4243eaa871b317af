"""Boxes of faces and heads. All boxes are x1 y1 x2 y2 in pixels, float32."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskstream.types import FACE_KEYPOINTS, Detection, FloatArray

# The face height comes from two distances: between the eyes, which depends on how far the head is turned, and from the centre of
# the eyes to the nose, which hardly does. Fitted on 7,770 manually checked tight face boxes of at least 16 px with eyes and nose.
# On 665 held-out faces the mean IoU with the labelled box is 0.81.
_HEIGHT_PER_EYE_DISTANCE_SQUARED: Final = 1.31
_HEIGHT_PER_NOSE_DISTANCE_SQUARED: Final = 17.8
_WIDTH_PER_HEIGHT: Final = 0.82
_CENTRE_ACROSS: Final = -1.11  # in a turned head the nose is further than the eyes, and the face's centre less far
_CENTRE_DOWN: Final = 0.63
_LEVEL_BY_EYES_FROM: Final = 0.2  # eye distance / face height; below it, the eyes give no rotation

_HEAD_MARGINS: Final = np.array([-0.24, -0.37, 0.24, 0.12], np.float32)
_MAX_COORDINATE_PX: Final = 1e6


def are_pixels(coordinates: NDArray[np.floating[Any]]) -> bool:
    """Return whether coordinates (...) are finite and not larger than those of any image.

    A defective network returns other values, which could overflow in later calculations.
    """
    return bool((np.abs(coordinates) <= _MAX_COORDINATE_PX).all())  # False for NaN


def is_box(box_xyxy: NDArray[np.floating[Any]]) -> bool:
    """Return whether four numbers are a valid box, which may have no area."""
    return are_pixels(box_xyxy) and bool((box_xyxy[2:] >= box_xyxy[:2]).all())


def face_box(detection: Detection) -> FloatArray:
    """Return the tight face box (4,) of a detection, from forehead to chin, for every detector.

    For a face detector it is the detected box. For a person detector it is computed from eyes and nose.
    """
    return face_box_from_keypoints(detection) if is_person(detection) else detection.box_xyxy


def is_person(detection: Detection) -> bool:
    """Return whether a detection is a person, and not a face."""
    return len(detection.keypoint_names) > len(FACE_KEYPOINTS)


def face_box_from_keypoints(detection: Detection) -> FloatArray:
    """Return the tight face box (4,) computed from nose, left eye and right eye, whatever their scores."""
    nose, left_eye, right_eye = [detection.keypoint(name)[0] for name in ("nose", "left_eye", "right_eye")]
    middle, eye_line = (left_eye + right_eye) / 2, left_eye - right_eye
    to_nose = nose - middle
    height = np.sqrt(
        _HEIGHT_PER_EYE_DISTANCE_SQUARED * eye_line.dot(eye_line) + _HEIGHT_PER_NOSE_DISTANCE_SQUARED * to_nose.dot(to_nose)
    )
    eye_distance = float(np.hypot(*eye_line))
    across = eye_line / eye_distance if eye_distance > _LEVEL_BY_EYES_FROM * height else np.array([1.0, 0.0])
    down = np.array([-across[1], across[0]])
    centre = middle + _CENTRE_ACROSS * to_nose.dot(across) * across + _CENTRE_DOWN * to_nose.dot(down) * down
    half = np.array([_WIDTH_PER_HEIGHT * height, height]) / 2
    return np.asarray(np.concatenate([centre - half, centre + half]), np.float32)


def head_box(face_box_xyxy: FloatArray, width: int, height: int) -> FloatArray:
    """Return the boxes (..., 4) of heads with hair for tight faces (..., 4), clipped to an image of `width` x `height` pixels.

    The margins were fitted once on hand-drawn heads. They are used to evaluate on data sets that label heads.
    """
    face = np.asarray(face_box_xyxy, np.float32)
    size = np.tile(face[..., 2:] - face[..., :2], 2)
    return np.asarray(np.clip(face + _HEAD_MARGINS * size, 0, [width, height] * 2), np.float32)


def box_corners(box_xyxy: FloatArray) -> FloatArray:
    """Return the corners (4, 2) of a box: upper left, upper right, lower right, lower left."""
    x1, y1, x2, y2 = box_xyxy
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)


def box_iou(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4)."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    sides = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0)
    intersection = sides.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - intersection
    return np.asarray(np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0))


def without_repeats(is_same: NDArray[np.bool_]) -> list[int]:
    """Return the indices of those that are the same as none before that was returned, from a matrix (N, N)."""
    kept: list[int] = []
    for index in range(len(is_same)):
        if not is_same[index, kept].any():
            kept.append(index)
    return kept


def box_fraction_inside(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    """Return the fraction (N, M) of each of the boxes (N, 4) that is inside each of the boxes (M, 4)."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    intersection = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(-1)
    area = np.broadcast_to((a[..., 2:] - a[..., :2]).prod(-1), intersection.shape)
    return np.asarray(np.divide(intersection, area, out=np.zeros_like(intersection), where=area > 0))
