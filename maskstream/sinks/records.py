"""Results as records for other programs: JSON lines and CSV."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TextIO

import numpy as np

from maskstream.errors import SinkClosed, SinkError
from maskstream.files import tighten
from maskstream.sinks.paths import require_writable
from maskstream.states import StateChange
from maskstream.types import Detection, Face, FloatArray, FrameResult, Output

STDOUT: Final = "-"

CSV_COLUMNS: Final = (
    *("source", "file", "frame", "time_s", "time_utc", "id", "label", "confidence", "steady_label", "steady_confidence"),
    *("score", "x_min", "y_min", "x_max", "y_max"),
)


def to_record(result: FrameResult) -> dict[str, Any]:
    """Return the JSON record of a frame: pixels of the source frame, null where a field does not apply."""
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
    return {
        "id": face.track_id,
        "label": face.label.value,
        "confidence": rounded(face.confidence),
        "steady_label": face.steady_label and face.steady_label.value,
        "steady_confidence": rounded(face.steady_confidence),
        "judged": face.judged,
        "score": rounded(face.detection.score),
        "detection_box": box_record(face.detection.box_xyxy),
        "box": box_record(face.face_box_xyxy),
        "quad": _pixels(face.quad_xy),
        "keypoints": _keypoints_record(face.detection),
        "zone": face.zone,
    }


def box_record(box_xyxy: FloatArray) -> dict[str, float | None]:
    """Return the record of a box (4,) in pixels."""
    return dict(zip(("x1", "y1", "x2", "y2"), _pixels(box_xyxy), strict=True))


def _keypoints_record(detection: Detection) -> dict[str, list[float | None]]:
    rows = np.column_stack([detection.keypoints_xy, detection.keypoint_scores])
    return {name: [*_pixels(row[:2]), rounded(float(row[2]))] for name, row in zip(detection.keypoint_names, rows, strict=True)}


def _pixels(values: FloatArray) -> Any:
    """Return nested lists, rounded to hundredths of a pixel; what is not finite becomes null, as JSON has no other word."""
    if values.ndim:
        return [_pixels(value) for value in values]
    return round(float(values), 2) if np.isfinite(values) else None


def rounded(probability: float | None) -> float | None:
    """Return a probability as records give it; None for what is not finite."""
    return None if probability is None or not np.isfinite(probability) else round(probability, 4)


def iso_8601(moment: datetime | None) -> str | None:
    """Return a time as records give it."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")


class TextSink:
    """A text file, or standard output for `-`, that is flushed after each frame."""

    wants_every_frame = False

    def __init__(self, path: str, mode: Literal["w", "a"] = "w") -> None:
        """Create the file; with mode `w` an existing one is replaced, with `a` it is continued.

        Raises:
            SinkError: It cannot be written there.
        """
        self._path = path
        if path == STDOUT:
            if isinstance(sys.stdout, io.TextIOWrapper):  # whatever the system's language
                sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
            self._file: TextIO = sys.stdout
        else:
            require_writable(path)
            self._file = Path(path).open(mode, encoding="utf-8", errors="surrogateescape", newline="")  # noqa: SIM115 (closed by close)
            tighten(path)

    def source_ended(self, source_id: str) -> None:
        """Nothing to finish."""

    def close(self) -> None:
        """Close the file, or leave standard output flushed."""
        if self._path != STDOUT:
            self._file.close()

    def put(self, text: str) -> None:
        """Write a text, at once.

        Raises:
            SinkClosed: The reader has left.
            SinkError: It cannot be written.
        """
        try:
            self._file.write(text)
            self._file.flush()
        except BrokenPipeError as error:
            self._leave_stdout()
            raise SinkClosed(f"{self._path}: the reader has left") from error
        except OSError as error:
            with suppress(OSError):  # it would try to write the rest
                self.close()
            raise SinkError(f"{self._path}: cannot be written: {error.strerror}; make room or choose another place") from error

    def _leave_stdout(self) -> None:
        """Keep the interpreter from complaining about the broken pipe when it flushes standard output at its end."""
        if self._path == STDOUT:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class JsonlSink(TextSink):
    """One JSON record per analysed frame."""

    def write(self, output: Output) -> None:
        """Write the record of an analysed frame."""
        if output.analysed:
            self.put(json.dumps(to_record(output.result), allow_nan=False) + "\n")


class StatusSink(TextSink):
    """One JSON record per change of a source's state, and none per frame."""

    def write(self, output: Output) -> None:
        """Leave frames out."""

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
        """Nothing more to say: its end was a change."""


class CsvSink(TextSink):
    """One row per face of an analysed frame, under a header."""

    def __init__(self, path: str) -> None:
        """Create the file and write the header."""
        super().__init__(path)
        self.put(_csv_text([CSV_COLUMNS]))

    def write(self, output: Output) -> None:
        """Write a row for each face of an analysed frame."""
        if output.analysed and output.result.faces:
            self.put(_csv_text([_csv_row(output.result, face) for face in output.result.faces]))


def _csv_row(result: FrameResult, face: Face) -> tuple[Any, ...]:
    return (
        *(result.source_id, result.file, result.index, round(result.time_s, 6), iso_8601(result.wall_time)),
        *(face.track_id, face.label.value, rounded(face.confidence)),
        *(face.steady_label and face.steady_label.value, rounded(face.steady_confidence)),
        *(rounded(face.detection.score), *_pixels(face.face_box_xyxy)),
    )


def _csv_text(rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
