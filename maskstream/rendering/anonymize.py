"""Faces made unrecognisable in pictures: filled with one colour, so that nothing of them is left to be restored."""

from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np

from maskstream.config.schema import Blur, PrivacyConfig
from maskstream.types import BgrImage, Face, FrameResult, Label, Output
from maskstream.vision.align import cut_faces

_FILL_BGR: Final = (112, 112, 112)
_CROP_PX: Final = 160
_MARGIN: Final = 0.25
"""Of the box on each side: where a face moved since, and hair."""
_COVERED: Final[dict[Blur, frozenset[Label]]] = {
    "none": frozenset(),
    "all": frozenset(Label),
    "masked": frozenset({Label.MASK, Label.UNKNOWN}),
    "unmasked": frozenset({Label.NO_MASK, Label.INCORRECT, Label.UNKNOWN}),
}


def is_covered(face: Face, blur: Blur) -> bool:
    """Return whether a face must not be seen: its own label of this frame and the steady one must both allow it."""
    return bool({face.label, face.shown_label} & _COVERED[blur])


def cover(bgr: BgrImage, result: FrameResult, blur: Blur) -> None:
    """Fill all faces that must not be seen, those of whom nothing is said included.

    Args:
        bgr: (H, W, 3) uint8, changed in place.
        result: Its faces, and where the detector looked: everything outside of that is filled too.
        blur: Which of them.
    """
    if blur != "none" and result.region_xyxy is not None:
        left, top, right, bottom = result.region_xyxy
        for outside in (bgr[:top], bgr[bottom:], bgr[:, :left], bgr[:, right:]):
            outside[:] = _FILL_BGR
    hidden: Iterable[Face] = () if blur == "none" else result.hidden
    for face in (*(face for face in result.faces if is_covered(face, blur)), *hidden):
        x1, y1, x2, y2 = face.face_box_xyxy
        box = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        corners = np.concatenate([box + (box - box.mean(0)) * 2 * _MARGIN, face.quad_xy])
        corners = corners[np.isfinite(corners).all(1)]
        if len(corners):
            outline = np.clip(corners, -30000, 30000).round().astype(np.int32)
            cv2.fillConvexPoly(bgr, cv2.convexHull(outline), _FILL_BGR)


def stored_crop(output: Output, face: Face, privacy: PrivacyConfig) -> bytes | None:
    """Return the JPEG of a face, upright and square, as it was judged; None where it may not be stored.

    Others who are in the crop are covered as in any picture; where they may be anywhere, there is no crop.
    """
    if not privacy.store_crops or is_covered(face, privacy.blur):
        return None
    if privacy.blur != "none" and output.result.unseen:
        return None
    bgr = output.frame.bgr
    if privacy.blur != "none":
        bgr = bgr.copy()
        cover(bgr, output.result, privacy.blur)
    crop = cut_faces([bgr], [[face.quad_xy]], _CROP_PX)[0]
    return cv2.imencode(".jpg", crop)[1].tobytes()
