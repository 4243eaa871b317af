"""Hold an annotated frame of a camera, and encode it as JPEG images of several widths."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import cv2

from maskstream.types import BgrImage

NATIVE: Final = 0
"""The width of a tile that is not scaled."""


@dataclass(frozen=True, eq=False)
class Painted:
    """An annotated frame of a camera."""

    camera: str
    frame: int
    """`Frame.index`."""
    bgr: BgrImage
    """Annotated: faces are anonymised as `privacy.blur` says."""
    time_utc: str | None
    captured_at_s: float
    """Monotonic clock."""
    people: Mapping[str, int]
    is_allowed: Callable[[], bool]
    """Whether the frame may still be shown: the settings of its camera, such as `privacy.blur`, have not changed since."""
    tiles: "dict[int, Tile]" = field(default_factory=dict)
    """By width; filled by the encoder thread."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A JPEG image of a camera, shared by all viewers of this width."""

    painted: Painted
    width: int
    height: int
    jpeg: bytes

    def header(self, now_s: float) -> dict[str, object]:
        """Return the header of the tile with its age at a time of the monotonic clock."""
        painted = self.painted
        return {
            "type": "tile",
            "camera": painted.camera,
            "frame": painted.frame,
            "width": self.width,
            "height": self.height,
            "time_utc": painted.time_utc,
            "age_s": round(max(0.0, now_s - painted.captured_at_s), 3),
            "people": dict(painted.people),
        }


def encoded(painted: Painted, width: int, quality: int) -> Tile:
    """Return a frame as JPEG of this width, and at most of its own.

    Raises:
        cv2.error: The frame is too large for a JPEG.
    """
    height, own_width = painted.bgr.shape[:2]
    size = (own_width, height)
    if width != NATIVE and width < own_width:
        size = (width, max(1, round(height * width / own_width)))
    scaled = painted.bgr if size[0] == own_width else cv2.resize(painted.bgr, size, interpolation=cv2.INTER_AREA)
    is_encoded, jpeg = cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise cv2.error(f"{size[0]}x{size[1]} cannot be encoded as JPEG")
    return Tile(painted, *size, jpeg.tobytes())
