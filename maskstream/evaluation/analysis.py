"""Run a system on each image of a set once; continue where an interrupted run stopped."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Final, Protocol, Self

from maskstream.annotations.labelled_images import LabelledImage
from maskstream.errors import SinkError, SourceError
from maskstream.evaluation.predictions import from_record, to_record
from maskstream.io.files import one_line
from maskstream.io.images import read_image
from maskstream.types import BgrImage, Frame, FrameResult

_BATCHES_AHEAD: Final = 2
_TORN: Final = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""Errors that an incomplete or damaged line raises."""
Stamp = list[int]
_Decoded = tuple[LabelledImage, BgrImage | SourceError, Stamp | None]
"""An image, its pixels or the reason why they are not available, and its file's stamp before it was read."""


class System(Protocol):
    """Finds and classifies faces, as `Analyzer` does."""

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order."""
        ...


@dataclass
class AnalysisReport:
    """Counts and times of an analysis."""

    analysed: int = 0
    elapsed_s: float = 0.0
    system_s: float = 0.0
    """Part of `elapsed_s` inside the system."""
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """Name and reason of each image that could not be decoded."""


class Journal:
    """The records of a run that has not ended, on disk, one line for each image.

    A run with the same fingerprint continues with the images that are missing; any other run starts again.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Open or create the file.

        Raises:
            SinkError: The file cannot be written.
        """
        self._path = path
        self.records: dict[str, dict[str, Any]] = {}
        """By image name, in the order of analysis."""
        self._stamps: dict[str, Stamp] = {}
        try:
            good_bytes = self._read(fingerprint) if path.exists() else 0
            self._file = path.open("ab")
            self._file.truncate(good_bytes)
            if not good_bytes:
                self._put({"fingerprint": fingerprint})
        except OSError as error:
            raise SinkError(_unwritable(path, error)) from error

    def _read(self, fingerprint: str) -> int:
        """Read the complete lines and return their length in bytes; 0 if they are from another run."""
        good_bytes = 0
        with self._path.open("rb") as file:
            for line in file:
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else {}
                    if good_bytes:
                        image = from_record(entry["record"]).name
                        self._stamps[image], self.records[image] = entry["stamp"], entry["record"]
                    elif entry["fingerprint"] != fingerprint:
                        break  # written by another run
                except _TORN:
                    break
                good_bytes += len(line)
        return good_bytes

    def has(self, image: LabelledImage) -> bool:
        """Return whether an image was analysed and its file is still the same."""
        stamp = self._stamps.get(image.name)
        return stamp is not None and stamp == stamp_of(image)

    def add(self, image: LabelledImage, record: dict[str, Any], stamp: Stamp | None) -> None:
        """Write the record of an image to disk.

        Args:
            image: The image.
            record: Its predictions.
            stamp: Result of `stamp_of` before the image was read; the file may have changed since.

        Raises:
            SinkError: The file cannot be written.
        """
        self.records[image.name] = record
        try:
            self._put({"stamp": stamp, "record": record})
        except OSError as error:
            raise SinkError(_unwritable(self._path, error)) from error

    def _put(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file and keep it on disk. A second call does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def analyse(
    system: System, images: Sequence[LabelledImage], journal: Journal, batch_size: int, tick: Callable[[int], None]
) -> AnalysisReport:
    """Analyse the images that are not in the journal.

    Args:
        system: Runs on this thread, while another thread decodes the next images.
        images: All images of the evaluation.
        journal: Stores each record as soon as it exists.
        batch_size: Number of images in one call of the system.
        tick: Called with the number of images that have just been finished.

    Raises:
        SinkError: The journal cannot be written.
    """
    report, started = AnalysisReport(), perf_counter()
    todo = [image for image in images if not journal.has(image)]
    tick(len(images) - len(todo))
    for batch in _decoded([todo[start : start + batch_size] for start in range(0, len(todo), batch_size)]):
        readable = [(image, bgr, stamp) for image, bgr, stamp in batch if not isinstance(bgr, SourceError)]
        report.unreadable += [(image.name, str(reason)) for image, reason, _ in batch if isinstance(reason, SourceError)]
        frames = [Frame(bgr, 0, "evaluation", 0.0, file=image.name) for image, bgr, _ in readable]
        before = perf_counter()
        results = system.analyze(frames)
        report.system_s += perf_counter() - before
        for frame, (image, _, stamp), result in zip(frames, readable, results, strict=True):
            record = to_record(image.name, frame.width, frame.height, result.faces, result.unusable)
            journal.add(image, record, stamp)
        report.analysed += len(readable)
        tick(len(batch))
    report.elapsed_s = perf_counter() - started
    return report


def _decoded(batches: Sequence[Sequence[LabelledImage]]) -> Iterator[list[_Decoded]]:
    """Yield batches of decoded images; a thread decodes up to `_BATCHES_AHEAD` batches ahead."""
    ahead: deque[Future[list[_Decoded]]] = deque()
    with ThreadPoolExecutor(1) as reader:
        try:
            for batch in batches:
                ahead.append(reader.submit(_read_batch, batch))
                if len(ahead) > _BATCHES_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _read_batch(batch: Sequence[LabelledImage]) -> list[_Decoded]:
    decoded: list[_Decoded] = []
    for image in batch:
        stamp = stamp_of(image)
        try:
            decoded.append((image, read_image(str(image.path)), stamp))
        except SourceError as error:
            decoded.append((image, error, stamp))
    return decoded


def stamp_of(image: LabelledImage) -> Stamp | None:
    """Return size and modification time of an image's file; None if it does not exist."""
    try:
        status = image.path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _unwritable(path: Path, error: OSError) -> str:
    return f"{one_line(str(path))}: cannot be written: {error.strerror}; free disk space or choose another folder"
