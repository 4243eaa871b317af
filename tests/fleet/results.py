"""Results of files of an archive, as its workers write them: by the sinks of a run, without models."""

import json
import os
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maskstream import load_config
from maskstream.events.detector import EventDetector, NumberedIds
from maskstream.events.sink import EventSink, JsonlEvents
from maskstream.fleet.archive_results import EVENTS, SUMMARY, FailedJob, MergedJob, result_folder
from maskstream.fleet.merge import JSON, merge
from maskstream.sinks.summary import SummarySink
from maskstream.types import Label, Output
from tests.tracking.made import frame_at, output_with, person

BROKEN = FailedJob("nas/broken.mp4", "failed", "nas/broken.mp4: no video; check the file")
QUARANTINED = FailedJob("nas/kills.mp4", "quarantined", "ended its worker twice", ("Fatal Python error: Segmentation fault",))


def outputs(labels: Sequence[Label], seconds: int) -> Iterator[Output]:
    """Return the frames of a video at 5 fps with one person of each label."""
    for index in range(seconds * 5):
        people = [person(number, label, 100.0 * number) for number, label in enumerate(labels, 1)]
        yield output_with(frame_at(index, time_s=index / 5, source_id="a file"), people)


@cache
def written(labels: tuple[Label, ...], seconds: int) -> tuple[str, str]:
    """Return what the sinks of a run write about a video: the summary, and the events."""
    with TemporaryDirectory() as folder:
        summary, events = Path(folder) / SUMMARY, Path(folder) / EVENTS
        detector = EventDetector(load_config(), new_id=NumberedIds(""))
        sinks = [EventSink(detector, JsonlEvents(str(events), "w")), SummarySink(str(summary), detector)]
        for output in outputs(labels, seconds):
            for sink in sinks:
                sink.write(output)
        for sink in sinks:
            sink.source_ended("a file")
            sink.close()
        return summary.read_text(), events.read_text()


def commit(archive: Path, path: str, labels: Sequence[Label] = (Label.NO_MASK, Label.MASK), seconds: int = 4) -> MergedJob:
    """Write the result of a file, and return its job."""
    job = MergedJob(sha256(os.fsencode(path)).hexdigest(), path, 1000 * seconds)
    folder = result_folder(archive, job.job_id)
    folder.mkdir(parents=True)
    for name, text in zip((SUMMARY, EVENTS), written(tuple(labels), seconds), strict=True):
        (folder / name).write_text(text.replace('"a file"', json.dumps(path)))
    return job


def merged_archive(archive: Path) -> dict[str, Any]:
    """Merge an archive of two files with a result and two without; return archive.json."""
    merge(archive, [commit(archive, "nas/a.mp4"), commit(archive, "nas/b.mp4")], [BROKEN, QUARANTINED])
    content: dict[str, Any] = json.loads((archive / JSON).read_text())
    return content
