"""Faces that move over frames, as an analyzer would find them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from maskstream.types import Face, Frame, FrameResult, Label, Output
from tests.conftest import make_face

SIDE_PX = 80.0
_TEXTURE = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)


def frame_at(index: int, fps: float = 25.0, source_id: str = "door", time_s: float | None = None) -> Frame:
    """A frame on which every face is sharp."""
    return Frame(_TEXTURE, index, source_id, index / fps if time_s is None else time_s)


def face_at(
    x: float,
    y: float = 200.0,
    label: Label = Label.MASK,
    confidence: float | None = 0.97,
    side: float = SIDE_PX,
    score: float = 0.9,
    judged: bool = True,
) -> Face:
    """A face around a point."""
    half = side / 2
    made = make_face(label, judged, box=(x - half, y - half, x + half, y + half), score=score)
    return replace(made, confidence=None if label is Label.UNKNOWN else confidence)


class Scripted:
    """An analyzer that finds given faces in each frame."""

    def __init__(self, faces: Callable[[Frame], Sequence[Face]]) -> None:
        self._faces = faces
        self.forgotten: list[str] = []

    def forget(self, source_id: str) -> None:
        self.forgotten.append(source_id)

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        return [FrameResult(each.source_id, each.index, each.time_s, tuple(self._faces(each)), each.wall_time) for each in frames]


def output_with(frame: Frame, faces: Sequence[Face], analysed: bool = True) -> Output:
    """What a sink is given."""
    result = FrameResult(frame.source_id, frame.index, frame.time_s, tuple(faces), frame.wall_time, frame.file)
    return Output(frame, result, analysed, lambda each, _result: each.bgr)


def person(number: int, label: Label, x: float = 100.0, zone: str | None = None, side: float = SIDE_PX) -> Face:
    """A face whose person and steady label are known."""
    made = face_at(x, label=label, side=side)
    confidence = None if label is Label.UNKNOWN else 0.99
    return replace(made, track_id=number, steady_label=label, steady_confidence=confidence, zone=zone)
