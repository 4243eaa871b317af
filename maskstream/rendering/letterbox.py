"""Fit an image of any size into another size."""

import imutils
import numpy as np

from maskstream.types import BgrImage


def letterbox(bgr: BgrImage, size: tuple[int, int]) -> BgrImage:
    """Return an image scaled to fit into `size`, centred on black.

    Args:
        bgr: (H, W, 3) uint8. It is not modified.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8. It is black if less than one pixel of the image would be visible.
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
