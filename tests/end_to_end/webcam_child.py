"""run_stream.py with a webcam that nobody has to plug in: OpenCV reads a video at its own speed, through the interface it has
for webcams.

Usage: webcam_child.py VIDEO OPTIONS_OF_RUN_STREAM
"""

import os
import sys
import time

import cv2

import run_stream
from maskstream.sources import SOURCES, WebcamSource
from maskstream.types import BgrImage


class VideoDevice:
    """A video as a webcam that starts again at its end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._capture = cv2.VideoCapture(path)
        self._next_s = 0.0

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self._capture.isOpened()

    def set(self, prop: int, value: float) -> bool:
        return False

    def get(self, prop: int) -> float:
        return self._capture.get(prop)

    def read(self) -> tuple[bool, BgrImage | None]:
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s = max(self._next_s, time.monotonic()) + 1 / 25
        there, bgr = self._capture.read()
        if not there:
            self._capture = cv2.VideoCapture(self._path)
            there, bgr = self._capture.read()
        return there, bgr

    def release(self) -> None:
        self._capture.release()


if __name__ == "__main__":
    video, *arguments = sys.argv[1:]
    SOURCES["webcam"] = lambda index, source_id, config: WebcamSource(
        int(index), config.webcam, source_id, lambda _: VideoDevice(video)
    )
    exit_code = run_stream.main(arguments)
    sys.stderr.flush()
    os._exit(exit_code)  # as run_stream.py leaves
