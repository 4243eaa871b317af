"""Anonymise faces in frames. A face is filled with one colour, so that nothing of it can be restored."""

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
"""Fraction of the box on each side, for hair and for movement of the face."""
_ANONYMISED: Final[dict[Blur, frozenset[Label]]] = {
    "none": frozenset(),
    "all": frozenset(Label),
    "masked": frozenset({Label.MASK, Label.UNKNOWN}),
    "unmasked": frozenset({Label.NO_MASK, Label.INCORRECT, Label.UNKNOWN}),
}


def is_anonymised(face: Face, blur: Blur) -> bool:
    """Return whether `privacy.blur` anonymises a face. It stays visible only if its label and its steady label both allow it."""
    return bool({face.label, face.shown_label} & _ANONYMISED[blur])


def anonymise(bgr: BgrImage, result: FrameResult, blur: Blur) -> None:
    """Fill the faces that `privacy.blur` anonymises, hidden ones included. The rest of the frame stays as it is.

    Each fill contains the unfiltered quad of the face and its box with a margin. It does not depend on smoothed outlines.

    Args:
        bgr: (H, W, 3) uint8, modified in place.
        result: The faces, and the region in which the detector ran. Everything outside of this region is filled too.
        blur: The value of `privacy.blur`.
    """
    if blur != "none" and result.region_xyxy is not None:
        left, top, right, bottom = result.region_xyxy
        for outside in (bgr[:top], bgr[bottom:], bgr[:, :left], bgr[:, right:]):
            outside[:] = _FILL_BGR
    hidden: Iterable[Face] = () if blur == "none" else result.hidden
    for face in (*(face for face in result.faces if is_anonymised(face, blur)), *hidden):
        x1, y1, x2, y2 = face.face_box_xyxy
        box = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        corners = np.concatenate([box + (box - box.mean(0)) * 2 * _MARGIN, face.quad_xy])
        corners = corners[np.isfinite(corners).all(1)]
        if len(corners):
            outline = np.clip(corners, -30000, 30000).round().astype(np.int32)
            cv2.fillConvexPoly(bgr, cv2.convexHull(outline), _FILL_BGR)


def stored_crop(output: Output, face: Face, privacy: PrivacyConfig) -> bytes | None:
    """Return the crop of a face that was classified, as JPEG, or None if it must not be stored.

    Other faces in the crop are anonymised too. If such a face may be anywhere in the frame (`FrameResult.unseen`), the result is
    None.
    """
    if not privacy.store_crops or is_anonymised(face, privacy.blur):
        return None
    if privacy.blur != "none" and output.result.unseen:
        return None
    bgr = output.frame.bgr
    if privacy.blur != "none":
        bgr = bgr.copy()
        anonymise(bgr, output.result, privacy.blur)
    crop = cut_faces([bgr], [[face.quad_xy]], _CROP_PX)[0]
    return cv2.imencode(".jpg", crop)[1].tobytes()
