"""Change light, colour and quality of an image as cameras and codecs do. Both trainers use this augmentation.

Every function takes an image (H, W, 3) uint8 BGR, does not modify it, and returns an image of the same size.
"""

import cv2
import numpy as np

from maskstream.types import BgrImage

_LEVELS = np.linspace(0, 1, 256, dtype=np.float32)


def photometric(image_bgr: BgrImage, rng: np.random.Generator, strength: float = 1.0, dark_share: float = 0.1) -> BgrImage:
    """Return an image as another camera could have recorded it.

    Args:
        image_bgr: Not modified.
        rng: The only source of randomness.
        strength: Factor for the probability of each change: 0 is never, 1 is for training.
        dark_share: Fraction of images that are darkened.
    """
    changed = image_bgr
    is_dark = rng.random() < dark_share * strength
    if is_dark or rng.random() < 0.8 * strength:
        changed = np.asarray(cv2.LUT(changed, _light(rng, is_dark=is_dark)), np.uint8)
    if rng.random() < 0.5 * strength:
        changed = _saturation(changed, rng)
    if rng.random() < 0.06 * strength:
        changed = np.asarray(cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)
    if rng.random() < 0.15 * strength:
        changed = _blur(changed, rng)
    if rng.random() < 0.15 * strength:
        changed = downscaled(changed, float(rng.uniform(0.35, 0.8)))
    if rng.random() < (0.5 if is_dark else 0.12) * strength:
        noise = rng.standard_normal(changed.shape, np.float32) * rng.uniform(3, 18)
        changed = np.asarray((changed + noise).clip(0, 255), np.uint8)
    if rng.random() < 0.25 * strength:
        quality = int(rng.integers(20, 90))
        _, jpeg = cv2.imencode(".jpg", changed, [cv2.IMWRITE_JPEG_QUALITY, quality])
        changed = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return changed


def shadowed(image_bgr: BgrImage, rng: np.random.Generator) -> BgrImage:
    """Return an image with a shadow on one side of a line: below it in half of the images, in any direction in the others."""
    height, width = image_bgr.shape[:2]
    direction = np.pi / 2 if rng.random() < 0.5 else rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:height, :width]
    along = (columns / width - 0.5) * np.cos(direction) + (rows / height - 0.5) * np.sin(direction)
    depth = 1 / (1 + np.exp((rng.uniform(-0.15, 0.2) - along) / rng.uniform(0.01, 0.08)))
    return np.asarray(image_bgr * (1 - rng.uniform(0.3, 0.85) * depth[..., None]), np.uint8)


def in_coloured_light(image_bgr: BgrImage, rng: np.random.Generator) -> BgrImage:
    """Return an image in strongly coloured light, as that of a stage or a darkroom."""
    light = np.exp(rng.normal(0, 0.5, 3))
    table = (_LEVELS[:, None] * 255 * light / light.max() * rng.uniform(0.8, 1.3)).clip(0, 255)
    return np.asarray(cv2.LUT(image_bgr, table.astype(np.uint8)[None]), np.uint8)


def downscaled(image_bgr: BgrImage, scale: float) -> BgrImage:
    """Return an image that was scaled down and up again."""
    height, width = image_bgr.shape[:2]
    small = (max(round(width * scale), 1), max(round(height * scale), 1))
    shrunk = cv2.resize(image_bgr, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _light(rng: np.random.Generator, *, is_dark: bool) -> BgrImage:
    """Return a lookup table (1, 256, 3) for exposure, contrast, gamma and colour of the light."""
    gamma = float(rng.uniform(1.3, 2.2) if is_dark else np.exp(rng.uniform(-0.35, 0.35)))
    gain = float(rng.uniform(0.35, 0.8) if is_dark else rng.uniform(0.75, 1.3))
    contrast = float(rng.uniform(0.7, 1.3))
    tint = np.exp(rng.normal(0, 0.25 if rng.random() < 0.15 else 0.06, 3)).astype(np.float32)
    curve = ((_LEVELS**gamma * gain - 0.45) * contrast + 0.45)[:, None] * tint
    return np.asarray((curve * 255).clip(0, 255), np.uint8)[None]


def _saturation(image_bgr: BgrImage, rng: np.random.Generator) -> BgrImage:
    """Change saturation, and shift the hue slightly."""
    hsv = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2HSV)
    steps = np.arange(256)
    hue = ((steps + rng.integers(-6, 7)) % 180).astype(np.uint8)
    saturation = (steps * rng.uniform(0.5, 1.5)).clip(0, 255).astype(np.uint8)
    table = np.stack([hue, saturation, steps.astype(np.uint8)], axis=1)[None]
    return np.asarray(cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2BGR), np.uint8)


def _blur(image_bgr: BgrImage, rng: np.random.Generator) -> BgrImage:
    """Blur as a lens out of focus does, or as motion along a line does."""
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image_bgr, (0, 0), float(rng.uniform(0.5, 1.8))), np.uint8)
    length, angle = int(rng.integers(3, 9)), float(rng.uniform(0, np.pi))
    kernel = np.zeros((length, length), np.float32)
    middle, reach = (length - 1) / 2, (length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
    start, end = (middle - reach).round().astype(int), (middle + reach).round().astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 1.0)
    kernel = np.asarray(kernel / kernel.sum(), np.float32)
    return np.asarray(cv2.filter2D(image_bgr, -1, kernel), np.uint8)
