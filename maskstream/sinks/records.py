"""Write one record per frame as JSON lines, one row per face as CSV, and one record per change of a source's state."""

import csv
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from maskstream.errors import SinkError
from maskstream.io.files import csv_text
from maskstream.io.output_paths import is_file, is_stdout
from maskstream.io.text_file import Mode, TextSink, box_record, iso_8601, pixels, rounded
from maskstream.stream.states import StateChange
from maskstream.types import Face, FrameResult, Output

_LONGEST_HEADER: Final = 1 << 20
CSV_COLUMNS: Final = (
    "source",
    "file",
    "frame",
    "time_s",
    "time_utc",
    "id",
    "label",
    "confidence",
    "steady_label",
    "steady_confidence",
    "score",
    "x_min",
    "y_min",
    "x_max",
    "y_max",
)


def to_record(result: FrameResult) -> dict[str, Any]:
    """Return the JSON record of a frame. Coordinates are pixels of the source frame; a field that does not apply is null."""
    return {
        "source": result.source_id,
        "file": result.file,
        "frame": result.index,
        "time_s": round(result.time_s, 6),
        "time_utc": iso_8601(result.wall_time),
        "faces": [_face_record(face) for face in result.faces],
        "timing_ms": {stage: round(ms, 3) for stage, ms in result.timing_ms.items()},
    }


def _face_record(face: Face) -> dict[str, Any]:
    detection = face.detection
    points = np.column_stack([detection.keypoints_xy, detection.keypoint_scores])
    keypoints = {
        name: [*pixels(point[:2]), rounded(float(point[2]))] for name, point in zip(detection.keypoint_names, points, strict=True)
    }
    return {
        "id": face.track_id,
        "label": face.label.value,
        "confidence": rounded(face.confidence),
        "steady_label": face.steady_label and face.steady_label.value,
        "steady_confidence": rounded(face.steady_confidence),
        "judged": face.judged,
        "score": rounded(detection.score),
        "detection_box": box_record(detection.box_xyxy),
        "box": box_record(face.face_box_xyxy),
        "quad": pixels(face.quad_xy),
        "keypoints": keypoints,
        "zone": face.zone,
    }


class JsonlSink(TextSink):
    """Writes one JSON record per analysed frame."""

    def write(self, output: Output) -> None:
        """Write the record of an analysed frame."""
        if output.analysed:
            self.put(json.dumps(to_record(output.result), allow_nan=False) + "\n")


class StatusSink(TextSink):
    """Writes one JSON record per change of a source's state."""

    def write(self, output: Output) -> None:
        """Write nothing: frames have no state."""

    def state_changed(self, change: StateChange) -> None:
        """Write the record of a change."""
        record = {
            "source": change.source_id,
            "state": change.state.value,
            "before": change.before.value if change.before else None,
            "before_s": round(change.before_s, 3),
            "cause": change.cause,
            "time_utc": iso_8601(change.wall_time),
        }
        self.put(json.dumps(record) + "\n")

    def source_removed(self, source_id: str) -> None:
        """Write nothing: the end of the source was a change."""


class CsvSink(TextSink):
    """Writes one row per face of an analysed frame, after a header."""

    _has_quotes = True

    def __init__(self, path: str, mode: Mode = "w", *, bom: bool = False) -> None:
        """Create the file and write the header, or continue an existing file.

        Args:
            path: `-` is standard output.
            mode: `w`, or `a` to continue a file.
            bom: Whether a file begins with a byte order mark, which Excel needs to read UTF-8.

        Raises:
            SinkError: The file cannot be written, or has other columns.
        """
        if mode == "a":
            require_same_columns(path)
        super().__init__(path, mode)
        if not self.is_continued:
            self.put(csv_text([CSV_COLUMNS], bom=bom))

    def write(self, output: Output) -> None:
        """Write a row for each face of an analysed frame."""
        if output.analysed and output.result.faces:
            self.put(csv_text([_csv_row(output.result, face) for face in output.result.faces]))


def require_same_columns(path: str) -> None:
    """Refuse to continue a CSV file with other columns.

    Raises:
        SinkError: The file has another header, or cannot be read.
    """
    if is_stdout(path) or not is_file(path) or not Path(path).stat().st_size:
        return
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # noqa: PTH123 (as above)
            header = next(csv.reader([file.readline(_LONGEST_HEADER)]), [])
    except OSError as error:
        raise SinkError(
            f"{path}: cannot be continued, because it cannot be read: {error.strerror}; give --overwrite or another name"
        ) from error
    if tuple(header) != CSV_COLUMNS:
        raise SinkError(f"{path}: begins with other columns than --csv writes, so it is not continued; choose another name")


def _csv_row(result: FrameResult, face: Face) -> list[Any]:
    """Return the values of `CSV_COLUMNS`."""
    x_min, y_min, x_max, y_max = pixels(face.face_box_xyxy)
    return [
        result.source_id,
        result.file,
        result.index,
        round(result.time_s, 6),
        iso_8601(result.wall_time),
        face.track_id,
        face.label.value,
        rounded(face.confidence),
        face.steady_label and face.steady_label.value,
        rounded(face.steady_confidence),
        rounded(face.detection.score),
        x_min,
        y_min,
        x_max,
        y_max,
    ]
