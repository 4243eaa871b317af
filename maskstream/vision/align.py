"""Cut an aligned square crop of a face out of an image. Training, evaluation and stream use the same code.

A similarity transform (rotation, one scale, shift) makes the line of the eyes horizontal and moves the centre of the eyes to a
fixed position of the crop. For a frontal face the eye distance gives the scale, so that both eyes have fixed positions. The crop
is at least 1.2 face widths wide and as high as the face, so that it contains forehead, chin and the complete mask. In a profile
the eyes nearly coincide and give neither scale nor rotation: then the scale comes from the face box, and the crop is not rotated.
Where a detector has confused left and right eye, the position of the nose corrects the rotation by 180 degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from maskstream.types import BgrImage, Detection, FloatArray
from maskstream.vision.geometry import are_pixels

EYE_DISTANCE: Final = 0.32
"""Distance between the eyes of a frontal face, as a fraction of the crop's side."""
EYE_LEVEL: Final = 0.36
"""Distance of the line of the eyes from the top of the crop, as a fraction of its side."""
WIDTH_MARGIN: Final = 1.2
"""Minimum width of the crop, in face widths."""
PROFILE_BELOW: Final = 0.2
"""A face is a profile when its eye distance divided by its width is below this."""
_MAX_SUPERSAMPLING: Final = 8
PADDING_BGR: Final = (104, 117, 124)
"""Colour outside the image: the ImageNet mean, which the classifier normalises to zero."""


@dataclass(frozen=True)
class AlignRules:
    """The conditions under which a face is classified."""

    min_face_px: float
    """Minimum length of the shorter side of the tight face box."""
    min_keypoint_score: float
    """Minimum keypoint score that at least one eye must have."""


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """An aligned crop and its outline."""

    bgr: BgrImage
    """(S, S, 3) uint8."""
    quad_xy: FloatArray
    """(4, 2) frame pixels: upper left, upper right, lower right, lower left corner of the crop."""


def align_face(
    frame_bgr: BgrImage, detection: Detection, face_box_xyxy: FloatArray, size_px: int, rules: AlignRules
) -> AlignedFace | None:
    """Cut an aligned square crop of a face out of a frame.

    Args:
        frame_bgr: (H, W, 3) uint8; not modified.
        detection: Its keypoints nose, left_eye, right_eye are used, in pixels of the frame.
        face_box_xyxy: (4,) the tight face box.
        size_px: Side of the crop.
        rules: The conditions for a crop.

    Returns:
        The crop with its outline, or None where the face is too small or the scores of both eyes are too low.
    """
    quad_xy = crop_quad(detection, face_box_xyxy, rules)
    return None if quad_xy is None else AlignedFace(cut_quad(frame_bgr, quad_xy, size_px), quad_xy)


def cut_faces(images_bgr: Sequence[BgrImage], quads_xy: Sequence[Sequence[FloatArray]], size_px: int) -> Sequence[BgrImage]:
    """Return the crops of all faces of all images, in this order.

    Args:
        images_bgr: (H, W, 3) uint8; not modified.
        quads_xy: The outlines (4, 2) of the crops of each image.
        size_px: Side of a crop.
    """
    return [cut_quad(image, quad, size_px) for image, quads in zip(images_bgr, quads_xy, strict=True) for quad in quads]


def crop_quad(detection: Detection, face_box_xyxy: FloatArray, rules: AlignRules) -> FloatArray | None:
    """Return the outline (4, 2) of the square that `align_face` would cut, or None where `align_face` returns None."""
    if not are_pixels(face_box_xyxy):
        return None
    width, height = (float(side) for side in face_box_xyxy[2:] - face_box_xyxy[:2])
    if min(width, height) < rules.min_face_px:
        return None
    eyes = _usable_eyes(detection, rules.min_keypoint_score)
    if eyes is None:
        return None
    left_eye, right_eye = eyes
    eye_distance = float(np.hypot(*(left_eye - right_eye)))
    is_profile = eye_distance < PROFILE_BELOW * width
    across = np.array([1.0, 0.0]) if is_profile else _level_axis(detection, left_eye, right_eye)
    side = max(eye_distance / EYE_DISTANCE, WIDTH_MARGIN * width, height)
    down = np.array([-across[1], across[0]])
    middle = (left_eye + right_eye) / 2
    corners = np.array([[-0.5, -EYE_LEVEL], [0.5, -EYE_LEVEL], [0.5, 1 - EYE_LEVEL], [-0.5, 1 - EYE_LEVEL]]) * side
    return np.asarray(middle + corners @ np.stack([across, down]), np.float32)


def _usable_eyes(detection: Detection, min_score: float) -> tuple[FloatArray, FloatArray] | None:
    """Return left and right eye (2,); twice the same eye where the score of the other is too low; None where both are."""
    left_eye, left_score = detection.keypoint("left_eye")
    right_eye, right_score = detection.keypoint("right_eye")
    use_left, use_right = left_score >= min_score, right_score >= min_score
    if not (use_left or use_right) or not (are_pixels(left_eye) and are_pixels(right_eye)):
        return None
    return (left_eye if use_left else right_eye), (right_eye if use_right else left_eye)


def _level_axis(detection: Detection, left_eye: FloatArray, right_eye: FloatArray) -> FloatArray:
    """Return the unit vector (2,) from the left to the right side of the crop, in frame coordinates."""
    across = (left_eye - right_eye) / np.hypot(*(left_eye - right_eye))
    nose = detection.keypoint("nose")[0]
    eyes_are_swapped = are_pixels(nose) and (nose - (left_eye + right_eye) / 2) @ np.array([-across[1], across[0]]) < 0
    return np.asarray(-across if eyes_are_swapped else across, np.float32)


def supersampling(side_px: float, size_px: int) -> int:
    """Return how many times larger than the crop a face is cut before it is averaged."""
    return min(max(int(side_px / size_px), 1), _MAX_SUPERSAMPLING)


def cut_quad(frame_bgr: BgrImage, quad_xy: FloatArray, size_px: int, margin_px: int = 0) -> BgrImage:
    """Resample the square `quad_xy` (4, 2) of an image to (size_px, size_px, 3), padded outside the image.

    A large face is first cut at a multiple of the size and then averaged, to prevent aliasing.

    Args:
        frame_bgr: (H, W, 3) uint8; not modified.
        quad_xy: Upper left, upper right, lower right, lower left.
        size_px: Side of the crop.
        margin_px: Width of a margin around the square that is cut too, in pixels of the crop. The result is larger by twice this.
    """
    side = float(np.hypot(*(quad_xy[1] - quad_xy[0])))
    multiple = supersampling(side, size_px)
    inner = size_px * multiple
    inner_corners = np.array([[0, 0], [inner, 0], [inner, inner]], np.float32) - 0.5  # cv2 counts from pixel centres
    inner_to_frame = cv2.getAffineTransform(inner_corners, quad_xy[:3] - np.float32(0.5))
    inner_to_frame[:, 2] -= inner_to_frame[:, :2] @ np.full(2, margin_px * multiple)
    side_px = size_px + 2 * margin_px
    crop = cv2.warpAffine(
        frame_bgr,
        inner_to_frame,
        (side_px * multiple, side_px * multiple),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=PADDING_BGR,
    )
    if multiple > 1:
        crop = cv2.resize(crop, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8)
