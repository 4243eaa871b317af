"""Settings for images: nobody waits for the next one as for the next frame of a video."""

from typing import Final

from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config

_MEASURED: Final = "face_mobilenet"
"""The detector with which `auto` was measured to find more faces."""


def for_images(config: Config) -> Config:
    """Return the settings for images: `detector.short_side: auto` where it is null and the detector is face_mobilenet."""
    if config.detector.short_side is not None or config.detector.name != _MEASURED:
        return config
    return refine(config, Layer.of_key("images", "detector.short_side", "auto"))
