"""Where people stand: named polygons in a camera's picture."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from maskstream.types import Face


class Zones:
    """The zones of one source. Without any, everywhere is inside, in no zone."""

    def __init__(self, polygons: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Remember them.

        Args:
            polygons: Corners (N, 2) as shares of the picture's width and height, by name. The first that holds a face names it.
        """
        self._polygons = {name: np.asarray(corners, np.float32) for name, corners in polygons.items()}

    def __bool__(self) -> bool:
        return bool(self._polygons)

    def of(self, face: Face, width: int, height: int) -> str | None:
        """Return the name of the zone in which the middle of a face lies, in a picture of this size; None for none."""
        x1, y1, x2, y2 = face.face_box_xyxy.tolist()
        middle = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
        if not np.isfinite(middle).all():
            return None
        holds = (
            name for name, corners in self._polygons.items() if cv2.pointPolygonTest(corners, middle, measureDist=False) >= 0
        )
        return next(holds, None)
