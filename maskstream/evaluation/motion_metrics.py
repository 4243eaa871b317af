"""Compare runs over a video with and without rests of the detector (`detector.motion`)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import Any, Final

import numpy as np

from maskstream.events.types import EventOrCounts, MaskEvent, Phase
from maskstream.protocols import FrameAnalyzer
from maskstream.types import Face, FloatArray, Frame, FrameResult
from maskstream.vision.geometry import box_iou

_SAME_IOU: Final = 0.5
Published = Sequence[tuple[float, EventOrCounts]]
"""Events and counts, each with the time of its frame."""


class RememberingAnalyzer:
    """Wraps an analyzer, analyses each frame of a video once, and counts the requests. One video at a time."""

    def __init__(self, analyzer: FrameAnalyzer) -> None:
        """Begin without results."""
        self._analyzer = analyzer
        self._results: dict[int, FrameResult] = {}
        self.requested: list[int] = []
        """Indices of the frames of all requests."""
        self.cpu_s = 0.0
        """Processor time of the analyzer."""

    def forget(self, source_id: str) -> None:
        """Forget the requests, but not the results."""
        self._analyzer.forget(source_id)
        self.requested = []

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order."""
        self.requested += [frame.index for frame in frames]
        others = [frame for frame in frames if frame.index not in self._results]
        started_s = process_time()
        for result in self._analyzer.analyze(others) if others else ():
            self._results[result.index] = result
        self.cpu_s += process_time() - started_s
        return [self._results[frame.index] for frame in frames]

    @property
    def cpu_ms(self) -> float:
        """Mean processor time of the analyzer, in milliseconds per frame."""
        return 1000 * self.cpu_s / max(len(self._results), 1)


@dataclass
class MotionMetrics:
    """What rests of the detector change in one video, or in several."""

    duration_s: float = 0.0
    detections: int = 0
    """Frames that the detector runs on without rests."""
    detections_with_rests: int = 0
    faces: int = 0
    """Tracked people without rests."""
    late_s: list[float] = field(default_factory=list)
    """How long a face was not found that is found without rests, for each such time."""
    events: int = 0
    """Starts of events without rests."""
    changed_events: list[str] = field(default_factory=list)
    """Records of events that only one of both runs has, and those at another time."""

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as `json.dumps` takes them."""
        return {
            "duration_s": round(self.duration_s, 2),
            "detections": self.detections,
            "detections_with_rests": self.detections_with_rests,
            "saved": round((self.detections - self.detections_with_rests) / max(self.detections, 1), 3),
            "faces": self.faces,
            "late_faces": len(self.late_s),
            "late_max_s": round(max(self.late_s, default=0.0), 3),
            "events": self.events,
            "changed_events": self.changed_events,
        }

    def add(self, other: "MotionMetrics") -> None:
        """Add the metrics of another video."""
        self.duration_s += other.duration_s
        self.detections += other.detections
        self.detections_with_rests += other.detections_with_rests
        self.faces += other.faces
        self.late_s += other.late_s
        self.events += other.events
        self.changed_events += other.changed_events


def compare(
    without: tuple[Sequence[FrameResult], Published], with_rests: tuple[Sequence[FrameResult], Published]
) -> MotionMetrics:
    """Compare results and events of two runs over one video. The numbers of detections are not filled in.

    Args:
        without: All results, in order, and the events and counts of a run without rests.
        with_rests: The same of a run with rests.
    """
    results = without[0]
    found = MotionMetrics(duration_s=results[-1].time_s - results[0].time_s if results else 0.0)
    found.faces = len({face.track_id for result in results for face in result.faces} - {None})
    found.late_s = _late_s(results, with_rests[0])
    expected, got = Counter(_records(without[1])), Counter(_records(with_rests[1]))
    found.events = sum(count for record, count in expected.items() if record.startswith(Phase.START.value))
    found.changed_events = sorted(((expected - got) + (got - expected)).elements())
    return found


def _late_s(without: Sequence[FrameResult], with_rests: Sequence[FrameResult]) -> list[float]:
    """Return for each time in which a face was not found: from its first frame to the frame in which it is found, or is gone."""
    since_s: dict[int | None, float] = {}
    late_s = []
    for one, other in zip(without, with_rests, strict=True):
        missing = {face.track_id for face in _unmatched(one.faces, other.faces)}
        late_s += [one.time_s - since_s.pop(track_id) for track_id in since_s.keys() - missing]
        for track_id in missing:
            since_s.setdefault(track_id, one.time_s)
    return late_s + [without[-1].time_s - began_s for began_s in since_s.values()]


def _unmatched(faces: Sequence[Face], others: Sequence[Face]) -> Iterable[Face]:
    """Yield the faces that are at no place of another face."""
    if not faces:
        return
    if not others:
        yield from faces
        return
    best = box_iou(_boxes(faces), _boxes(others)).max(1)
    yield from (face for face, iou in zip(faces, best.tolist(), strict=True) if iou < _SAME_IOU)


def _boxes(faces: Sequence[Face]) -> FloatArray:
    return np.stack([face.face_box_xyxy for face in faces])


def _records(published: Published) -> list[str]:
    """Return the starts and ends of events as text, for a comparison. The number of the person may differ."""
    return [
        f"{event.phase.value} {event.label.value} at {time_s:.2f} s"
        for time_s, event in published
        if isinstance(event, MaskEvent) and event.phase is not Phase.UPDATE
    ]
