"""Cut a face out of an image, upright and always in the same place. Training, evaluation and stream all cut here.

A similarity transform (rotation, one scale, shift) brings the line of the eyes level and the middle of the eyes to a fixed
place of a square crop. For a face seen from the front the distance of the eyes sets the scale, which brings each eye to a fixed
place; the crop never becomes narrower than 1.2 face widths or lower than the face, so that forehead, chin and the whole mask are
inside. Where the eyes nearly coincide (profile) they tell neither scale nor tilt, and the scale comes from the box alone. The
nose tells up from down where a detector has mixed up the eyes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from maskstream.types import BgrImage, Detection, FloatArray
from maskstream.vision.geometry import are_pixels

EYE_DISTANCE: Final = 0.32
"""Distance of the eyes of a frontal face, in sides of the crop."""
EYE_LEVEL: Final = 0.36
"""Height of the line of the eyes, in sides of the crop, from its top."""
WIDTH_MARGIN: Final = 1.2
"""The crop is at least this many face widths wide."""
PROFILE_BELOW: Final = 0.2
"""Eye distance over face width under which a face counts as a profile."""
_MOST_AVERAGED: Final = 8
PADDING_BGR: Final = (104, 117, 124)
"""Colour beyond the frame's edge: the mean of ImageNet, which is zero for the classifier."""


@dataclass(frozen=True)
class AlignRules:
    """When a face is good enough to be judged."""

    min_face_px: float
    """Shorter side of the tight face box."""
    min_keypoint_score: float
    """At least one eye must be this certain."""


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """An upright crop and where it was cut."""

    bgr: BgrImage
    """(S, S, 3) uint8."""
    quad_xy: FloatArray
    """(4, 2) frame pixels: upper left, upper right, lower right, lower left corner of the crop."""


def align_face(
    frame_bgr: BgrImage, detection: Detection, face_box_xyxy: FloatArray, size_px: int, rules: AlignRules
) -> AlignedFace | None:
    """Cut an upright square face out of a frame.

    Args:
        frame_bgr: (H, W, 3) uint8; not modified.
        detection: Its keypoints nose, left_eye, right_eye are used, in pixels of the frame.
        face_box_xyxy: (4,) the tight face.
        size_px: Side of the crop.
        rules: When a face is too small or too uncertain.

    Returns:
        The crop with its outline, or None where the face is too small or neither eye is certain enough to align by.
    """
    quad_xy = crop_quad(detection, face_box_xyxy, rules)
    return None if quad_xy is None else AlignedFace(cut_quad(frame_bgr, quad_xy, size_px), quad_xy)


def cut_faces(images_bgr: Sequence[BgrImage], quads_xy: Sequence[Sequence[FloatArray]], size_px: int) -> Sequence[BgrImage]:
    """Return the crops of all faces of all images, in order.

    Args:
        images_bgr: (H, W, 3) uint8; not modified.
        quads_xy: For each image the outlines (4, 2) of its crops.
        size_px: Side of a crop.
    """
    return [cut_quad(image, quad, size_px) for image, quads in zip(images_bgr, quads_xy, strict=True) for quad in quads]


def crop_quad(detection: Detection, face_box_xyxy: FloatArray, rules: AlignRules) -> FloatArray | None:
    """Return the outline (4, 2) of the square that `align_face` would cut, or None where it would refuse."""
    if not are_pixels(face_box_xyxy):
        return None
    width, height = (float(side) for side in face_box_xyxy[2:] - face_box_xyxy[:2])
    if min(width, height) < rules.min_face_px:
        return None
    (left_eye, left_score), (right_eye, right_score) = detection.keypoint("left_eye"), detection.keypoint("right_eye")
    left_is_certain, right_is_certain = (score >= rules.min_keypoint_score for score in (left_score, right_score))
    if not (left_is_certain or right_is_certain) or not (are_pixels(left_eye) and are_pixels(right_eye)):
        return None
    if not (left_is_certain and right_is_certain):
        left_eye = right_eye = left_eye if left_is_certain else right_eye
    eye_distance = float(np.hypot(*(left_eye - right_eye)))
    is_profile = eye_distance < PROFILE_BELOW * width
    across = np.array([1.0, 0.0]) if is_profile else _level_axis(detection, left_eye, right_eye)
    side = max(eye_distance / EYE_DISTANCE, WIDTH_MARGIN * width, height)
    down = np.array([-across[1], across[0]])
    middle = (left_eye + right_eye) / 2
    corners = np.array([[-0.5, -EYE_LEVEL], [0.5, -EYE_LEVEL], [0.5, 1 - EYE_LEVEL], [-0.5, 1 - EYE_LEVEL]]) * side
    return np.asarray(middle + corners @ np.stack([across, down]), np.float32)


def _level_axis(detection: Detection, left_eye: FloatArray, right_eye: FloatArray) -> FloatArray:
    """Unit vector (2,) from the crop's left to its right, in the frame."""
    across = (left_eye - right_eye) / np.hypot(*(left_eye - right_eye))
    nose = detection.keypoint("nose")[0]
    eyes_are_mixed_up = are_pixels(nose) and (nose - (left_eye + right_eye) / 2) @ np.array([-across[1], across[0]]) < 0
    return np.asarray(-across if eyes_are_mixed_up else across, np.float32)


def supersampling(side_px: float, size_px: int) -> int:
    """Return how many pixels across a face that large are averaged to one of a crop."""
    return min(max(int(side_px / size_px), 1), _MOST_AVERAGED)


def cut_quad(frame_bgr: BgrImage, quad_xy: FloatArray, size_px: int, margin_px: int = 0) -> BgrImage:
    """Resample the square `quad_xy` (4, 2) of an image to (size_px, size_px, 3); outside the image it is padded.

    A large face is first cut at a multiple of the size and then averaged, so that it does not alias.

    Args:
        frame_bgr: (H, W, 3) uint8; not modified.
        quad_xy: Upper left, upper right, lower right, lower left.
        size_px: Side of what the square becomes.
        margin_px: What lies around the square is cut too, this wide at the same scale: the result is larger by twice that.
    """
    side = float(np.hypot(*(quad_xy[1] - quad_xy[0])))
    multiple = supersampling(side, size_px)
    inner = size_px * multiple
    inner_corners = np.array([[0, 0], [inner, 0], [inner, inner]], np.float32) - 0.5  # cv2 counts from pixel centres
    inner_to_frame = cv2.getAffineTransform(inner_corners, quad_xy[:3] - np.float32(0.5))
    inner_to_frame[:, 2] -= inner_to_frame[:, :2] @ np.full(2, margin_px * multiple)
    whole = size_px + 2 * margin_px
    crop = cv2.warpAffine(
        frame_bgr,
        inner_to_frame,
        (whole * multiple, whole * multiple),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=PADDING_BGR,
    )
    if multiple > 1:
        crop = cv2.resize(crop, (whole, whole), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8)
