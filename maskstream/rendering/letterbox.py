"""A picture of any size inside one of another."""

import imutils
import numpy as np

from maskstream.types import BgrImage


def letterbox(bgr: BgrImage, size: tuple[int, int]) -> BgrImage:
    """Return a picture, as large as it fits into `size`, centred on black.

    Args:
        bgr: (H, W, 3) uint8; it is not modified.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8; all black where the picture is so thin that nothing of it can be seen.
    """
    height, width = bgr.shape[:2]
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    if min(width, height) * min(size[0] / width, size[1] / height) < 1:
        return canvas
    wide = size[0] * height <= size[1] * width
    fitted = imutils.resize(bgr, width=size[0]) if wide else imutils.resize(bgr, height=size[1])
    left, above = (size[0] - fitted.shape[1]) // 2, (size[1] - fitted.shape[0]) // 2
    canvas[above : above + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return canvas
