"""Results as records for other programs: JSON lines and CSV."""

import csv
import errno
import io
import json
import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from stat import S_ISFIFO
from typing import Any, Final, Literal, TextIO

import numpy as np
from loguru import logger

from maskstream.errors import SinkClosed, SinkError
from maskstream.io.files import abandon, csv_text, tighten
from maskstream.io.output_paths import is_file, is_stdout, require_writable
from maskstream.stream.states import StateChange
from maskstream.types import Detection, Face, FloatArray, FrameResult, Output

Mode = Literal["w", "a"]
_LONGEST_LINE: Final = 1 << 20
_DESCRIPTOR: Final = re.compile(r"(?:/dev|/proc/self)/(?:fd/(\d+)|stderr)")
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
    _has_quotes = False
    """Whether a line may be torn within quotes, which would swallow the lines that follow."""

    def __init__(self, path: str, mode: Mode = "w") -> None:
        """Create the file; with mode `w` an existing one is replaced, with `a` it is continued.

        A pipe (FIFO) is opened once, and waits for its reader.

        Raises:
            SinkError: It cannot be written there.
        """
        self._path = path
        self._stays_open = is_stdout(path)
        require_writable(path)
        self.is_continued = mode == "a" and not self._stays_open and is_file(path) and Path(path).stat().st_size > 0
        """Whether there is something in the file that stays."""
        if self._stays_open:
            if isinstance(sys.stdout, io.TextIOWrapper):  # whatever the system's language
                sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
            self._file: TextIO = sys.stdout
            return
        try:
            self._file = open(path, mode, encoding="utf-8", errors="surrogateescape", newline="", opener=_opened)  # noqa: SIM115 (closed by close; Path.open takes no opener)
        except OSError as error:
            raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
        tighten(self._file.fileno())
        if self.is_continued:
            logger.info("{}: continued after the {:.1f} kB that are there", path, Path(path).stat().st_size / 1000)
            self.put(_missing_end(path, self._has_quotes))

    def source_ended(self, source_id: str) -> None:
        """Nothing to finish."""

    def close(self) -> None:
        """Close the file, or leave standard output flushed.

        Raises:
            SinkError: The disk says only now that it is full.
        """
        if not self._stays_open:
            with self._errors():
                self._file.close()

    def put(self, text: str) -> None:
        """Write a text, at once.

        Raises:
            SinkClosed: The reader has left.
            SinkError: It cannot be written.
        """
        with self._errors():
            self._file.write(text)
            self._file.flush()

    @contextmanager
    def _errors(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            self._give_up()
            if isinstance(error, BrokenPipeError):
                raise SinkClosed(f"{self._path}: the reader has left") from error
            raise SinkError(f"{self._path}: cannot be written: {error.strerror}; make room or choose another place") from error

    def _give_up(self) -> None:
        """Drop what could not be written: closing the file, or the interpreter's end, would try to write it again."""
        if self._stays_open:
            abandon(self._file)
        else:
            with suppress(OSError):
                self._file.close()


def _opened(path: str, flags: int) -> int:
    """Open a file as `open` does. A pipe waits for its reader: say so where there is none.

    What the shell has opened already (`/dev/fd/3`, `/dev/stderr`) is written to as the shell wants it, and not opened anew.
    """
    already = _DESCRIPTOR.fullmatch(os.path.abspath(path))  # noqa: PTH100 (`resolve` follows the link)
    if already:
        return os.dup(int(already[1] or 2))
    if not S_ISFIFO(os.stat(path).st_mode if os.path.exists(path) else 0):  # noqa: PTH110, PTH116 (of the name that `open` was given)
        return os.open(path, flags, 0o666)
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        logger.warning("{}: waits for a reader of this pipe", path)
        return os.open(path, flags)
    os.set_blocking(descriptor, True)
    return descriptor


def _missing_end(path: str, has_quotes: bool) -> str:
    """Return what ends the last line of a file that a killed run has torn: a newline, after a quote that is open."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (as above)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_LINE))
            last = file.read().rpartition(b"\n")[2]
    except PermissionError:  # it may be written alone
        return ""
    open_quote = '"' if has_quotes and last.count(b'"') % 2 else ""
    return f"{open_quote}\n" if last else ""


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

    _has_quotes = True

    def __init__(self, path: str, mode: Mode = "w", *, bom: bool = False) -> None:
        """Create the file and write the header, or go on after what is there.

        Args:
            path: `-` is standard output.
            mode: `w`, or `a` to continue a file.
            bom: Whether a file begins with a byte order mark, without which Excel does not read UTF-8.

        Raises:
            SinkError: It cannot be written there, or has other columns.
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
    """Refuse to continue a file of rows that mean something else.

    Raises:
        SinkError: It has another header, or cannot be read.
    """
    if is_stdout(path) or not is_file(path) or not Path(path).stat().st_size:
        return
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # noqa: PTH123 (as above)
            header = next(csv.reader([file.readline(_LONGEST_LINE)]), [])
    except OSError as error:
        raise SinkError(f"{path}: cannot be read, to be continued: {error.strerror}; give --overwrite or another name") from error
    if tuple(header) != CSV_COLUMNS:
        raise SinkError(f"{path}: begins with other columns than those of --csv, so it is not continued; choose another name")


def _csv_row(result: FrameResult, face: Face) -> tuple[Any, ...]:
    return (
        *(result.source_id, result.file, result.index, round(result.time_s, 6), iso_8601(result.wall_time)),
        *(face.track_id, face.label.value, rounded(face.confidence)),
        *(face.steady_label and face.steady_label.value, rounded(face.steady_confidence)),
        *(rounded(face.detection.score), *_pixels(face.face_box_xyxy)),
    )
