"""Assign faces to zones: named polygons in the image of a camera."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from maskstream.types import Face


class Zones:
    """The zones of one source."""

    def __init__(self, polygons: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Begin with the polygons of a source.

        Args:
            polygons: Corners (N, 2) as fractions of the width and height of the frame, by the names of the zones. A face in
                several zones is in the first one.
        """
        self._polygons = {name: np.asarray(corners, np.float32) for name, corners in polygons.items()}

    def __bool__(self) -> bool:
        return bool(self._polygons)

    def of(self, face: Face, width: int, height: int) -> str | None:
        """Return the name of the zone that contains the middle of a face, in a frame of this size; None outside of all zones."""
        x1, y1, x2, y2 = face.face_box_xyxy.tolist()
        middle = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
        if not np.isfinite(middle).all():
            return None
        for name, corners in self._polygons.items():
            if cv2.pointPolygonTest(corners, middle, measureDist=False) >= 0:
                return name
        return None
