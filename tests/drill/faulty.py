"""Run run_stream.py with injected faults.

Usage: faulty.py FAULT ... -- OPTIONS_OF_RUN_STREAM

slow_detector=S      the detector needs S more seconds per call
odd_faces            the detector returns faces of size 0, outside the image, and with keypoints that are NaN
memory_for=N         the detector runs out of memory with more than N images per call
slow_sink=S          writing a JSON record takes S seconds
raising_webhook=N    posting an event raises an unexpected error, the first N times
raising_close=N      closing the Nth video raises an unexpected error
raising_sink=N       the CSV sink raises an unexpected error, with its Nth frame
webcams=VIDEO        webcams show a video; 0, 1 and 2 report a wrong frame rate, and number 3 is unplugged while the file
                     VIDEO.unplugged exists
"""

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import run_stream
from maskstream.cli import file_sinks, opening
from maskstream.events.messages import QueuedMessage
from maskstream.events.webhook import Webhook
from maskstream.models import DETECTORS
from maskstream.protocols import Detector
from maskstream.sources import SOURCES, WebcamSource
from maskstream.types import FACE_KEYPOINTS, BgrImage, Detection, Output
from tests.end_to_end.webcam_child import VideoDevice

Detect = Callable[[Sequence[BgrImage]], list[list[Detection]]]
REPORTED_FPS = {0: 0.0, 1: math.nan, 2: 1000.0}
UNPLUGGED = 3


def change_detector(change: Callable[[Any], None]) -> None:
    """Change the detector after it is loaded."""
    load = DETECTORS["face_mobilenet"]

    def changed(options: Any) -> Detector:
        detector = load(options)
        change(detector)
        return detector

    DETECTORS["face_mobilenet"] = changed


def slow_detector(seconds: str) -> None:
    def change(detector: Any) -> None:
        detect: Detect = detector.detect

        def slowly(images: Sequence[BgrImage]) -> list[list[Detection]]:
            time.sleep(float(seconds))
            return detect(images)

        detector.detect = slowly

    change_detector(change)


def odd_faces(_: str) -> None:
    nan, inf = math.nan, math.inf

    def face(box: Sequence[float], points: Sequence[Sequence[float]], scores: Sequence[float] = (1, 1, 1)) -> Detection:
        return Detection(
            box_xyxy=np.array(box, np.float32),
            score=0.99,
            keypoints_xy=np.array(points, np.float32),
            keypoint_scores=np.array(scores, np.float32),
            keypoint_names=FACE_KEYPOINTS,
        )

    def odd(images: Sequence[BgrImage]) -> list[list[Detection]]:
        good = [[50, 60], [60, 40], [40, 40]]
        return [
            [
                face([50, 50, 50, 50], [[50, 50]] * 3),
                face([30, 20, 30, 90], good),
                face([90, 90, 30, 30], good),
                face([-500, -500, -400, -400], [[-450, -440], [-430, -460], [-470, -460]]),
                face([5000, 5000, 5100, 5100], [[5050, 5060], [5060, 5040], [5040, 5040]]),
                face([-1e9, -1e9, 1e9, 1e9], [[0, 0], [1e9, -1e9], [-1e9, -1e9]]),
                face([30, 20, 70, 90], [[nan, nan], [nan, 40], [40, nan]]),
                face([30, 20, 70, 90], good, [nan, nan, nan]),
                face([30, 20, 70, 90], [[inf, -inf]] * 3),
                face([nan, nan, nan, nan], good),
                face([30, 20, 70, 90], good),
            ]
            for _ in images
        ]

    change_detector(lambda detector: setattr(detector, "detect", odd))


def memory_for(images: str) -> None:
    """Raise torch's own error inside the network, where the real one is raised."""
    import torch

    def change(detector: Any) -> None:
        forward = detector.module.backbone.forward

        def limited(batch: torch.Tensor) -> Any:
            if len(batch) > int(images):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation.")
            return forward(batch)

        detector.module.backbone.forward = limited

    change_detector(change)


def slow_sink(seconds: str) -> None:
    class SlowSink(file_sinks.JsonlSink):
        def write(self, output: Output) -> None:
            time.sleep(float(seconds))
            super().write(output)

    file_sinks.JsonlSink = SlowSink  # type: ignore[misc]


def raising_sink(number: str) -> None:
    class RaisingSink(file_sinks.CsvSink):
        frames = 0

        def write(self, output: Output) -> None:
            self.frames += 1
            if self.frames == int(number):
                raise ZeroDivisionError("a broken sink")
            super().write(output)

    file_sinks.CsvSink = RaisingSink  # type: ignore[misc]


def raising_webhook(times: str) -> None:
    send, left = Webhook.send, [None] * int(times)

    def raising(hook: Webhook, message: QueuedMessage) -> None:
        if left:
            left.pop()
            raise ZeroDivisionError("a broken webhook")
        send(hook, message)

    Webhook.send = raising  # type: ignore[method-assign]


def raising_close(number: str) -> None:
    class RaisingVideo(opening.VideoSink):
        opened = 0

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            RaisingVideo.opened += 1
            self._number = RaisingVideo.opened

        def close(self) -> None:
            if self._number == int(number):
                raise ZeroDivisionError("a broken video")
            super().close()

    opening.VideoSink = RaisingVideo  # type: ignore[misc]


class WrongRateDevice(VideoDevice):
    """A webcam that reports a given frame rate, and may be unplugged."""

    def __init__(self, video: str, index: int) -> None:
        super().__init__(video)
        self._fps = REPORTED_FPS.get(index, 25.0)
        self._unplugged = Path(f"{video}.unplugged") if index == UNPLUGGED else Path("/nowhere")

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return not self._unplugged.exists()

    def get(self, prop: int) -> float:
        return self._fps if prop == cv2.CAP_PROP_FPS else super().get(prop)

    def read(self) -> tuple[bool, BgrImage | None]:
        return (False, None) if self._unplugged.exists() else super().read()


def webcams(video: str) -> None:
    SOURCES["webcam"] = lambda index, source_id, config: WebcamSource(
        int(index), config.webcam, source_id, partial(WrongRateDevice, video)
    )


FAULTS = {
    fault.__name__: fault
    for fault in (slow_detector, odd_faces, memory_for, slow_sink, raising_sink, webcams, raising_webhook, raising_close)
}

if __name__ == "__main__":
    end = sys.argv.index("--")
    for fault in sys.argv[1:end]:
        name, _, value = fault.partition("=")
        FAULTS[name](value)
    code = run_stream.main(sys.argv[end + 1 :])
    sys.stdout.flush()
    os._exit(code)  # as run_stream.py itself
