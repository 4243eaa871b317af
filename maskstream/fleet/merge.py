"""Merge the results of all files of an archive into tables, one JSON file and one page.

One pass in the order of the paths: the files do not depend on the order in which the results were made, and memory does not grow
with what the results contain.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, Final

from maskstream.fleet.archive_report import ArchiveReport
from maskstream.fleet.archive_results import EVENT_FIELDS, FileResult, read_result, result_folder
from maskstream.fleet.archive_results import ArchiveTotals as ArchiveTotals
from maskstream.fleet.archive_results import FailedJob as FailedJob
from maskstream.fleet.archive_results import MergedJob as MergedJob
from maskstream.io.files import FileReplacement, csv_text, one_line, plain_text
from maskstream.types import Label

FILES: Final = "archive.csv"
EVENTS: Final = "events.csv"
FAILURES: Final = "failures.csv"
JSON: Final = "archive.json"
PAGE: Final = "archive.html"
OUTPUTS: Final = (FILES, EVENTS, FAILURES, JSON, PAGE)
"""What `merge` writes."""
_COLUMNS: Final = {
    FILES: (
        *("path", "source", "folder", "size_bytes", "frames", "video_s", "people", *(f"people_{label}" for label in Label)),
        *(*(f"{label}_s" for label in Label), "mask_share", "events", "events_s", "longest_event_s"),
    ),
    EVENTS: ("path", *EVENT_FIELDS, "folder"),
    FAILURES: ("path", "state", "error", "last_line"),
}


def merge(folder: Path, jobs: Sequence[MergedJob], failures: Sequence[FailedJob], *, bom: bool = False) -> ArchiveTotals:
    """Write archive.csv, events.csv, failures.csv, archive.json and archive.html.

    The order of `jobs` and `failures` does not change a byte of the files. A committed result that cannot be read is one more
    failure. No file is replaced before all are complete.

    Args:
        folder: The archive; the results are in its `result_folder`s.
        jobs: Files with a result.
        failures: Files without a result.
        bom: Whether the CSV files begin with a byte order mark, which Excel needs to read UTF-8.

    Returns:
        The sums; `failed` includes the results that cannot be read.

    Raises:
        SinkError: A file cannot be written. The earlier files remain.
    """
    totals, failed = ArchiveTotals(), list(failures)
    report = ArchiveReport([*(job.path for job in jobs), *(failure.path for failure in failures)])
    with ExitStack() as stack:
        outputs = {name: stack.enter_context(FileReplacement(folder / name)) for name in OUTPUTS}
        for name, columns in _COLUMNS.items():
            outputs[name].write(csv_text([columns], bom=bom).encode())
        outputs[JSON].write(b'{\n"files": [')
        for job, result in _results(folder, jobs, failed):
            for name, text in _texts(job, result, is_first=not totals.files).items():
                outputs[name].write(_bytes(text))
            report.add(job, result.totals)
            totals.add(result.totals)
        totals.failed = len(failed)
        failed.sort(key=lambda failure: (failure.path, failure.state, failure.error, failure.last_lines))
        outputs[FAILURES].write(_bytes(csv_text(_failure_row(failure) for failure in failed)))
        outputs[JSON].write(_bytes(f"\n],\n{_end_of_json(failed, totals)}"))
        outputs[PAGE].write(report.page(folder, totals, failed))
        for output in outputs.values():
            output.complete()
        for output in outputs.values():
            output.commit()
    return totals


def _results(folder: Path, jobs: Sequence[MergedJob], failed: list[FailedJob]) -> Iterator[tuple[MergedJob, FileResult]]:
    """Yield the results, the files of a folder together; those that cannot be read are added to `failed`."""
    for job in sorted(jobs, key=lambda job: (str(PurePosixPath(job.path).parent), job.path, job.job_id)):
        try:
            yield job, read_result(folder, job)
        except (OSError, ValueError) as error:
            path = one_line(str(result_folder(folder, job.job_id)))
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            message = f"its result cannot be read: {one_line(reason)}; delete {path} and run the same command again"
            failed.append(FailedJob(job.path, "failed", message))


def _texts(job: MergedJob, result: FileResult, *, is_first: bool) -> Mapping[str, str]:
    """Return what one file adds to each output."""
    record = {"path": job.path, "source": result.source, "folder": _link(job), **result.totals.record()}
    return {
        FILES: csv_text([_file_row(job, result)]),
        EVENTS: csv_text((job.path, *event, _link(job)) for event in result.events),
        JSON: f"{'' if is_first else ','}\n{json.dumps(record, allow_nan=False)}",
    }


def _link(job: MergedJob) -> str:
    return result_folder(Path(), job.job_id).as_posix()


def _bytes(text: str) -> bytes:
    """Return text with the bytes of file names, also where they are not UTF-8."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a name in a list of cameras may contain half of a character
        return plain_text(text).encode()


def _file_row(job: MergedJob, result: FileResult) -> list[Any]:
    totals = result.totals
    return [
        *(job.path, result.source, _link(job), totals.size_bytes, totals.frames, round(totals.video_s, 3)),
        *(sum(totals.people.values()), *totals.people.values()),
        *(round(seconds, 3) for seconds in totals.person_s.values()),
        *(totals.mask_share, sum(totals.events.values()), round(sum(totals.event_s.values()), 3)),
        round(max(totals.longest_event_s.values()), 3),
    ]


def _failure_row(failure: FailedJob) -> list[str]:
    return [failure.path, failure.state, failure.error, failure.last_lines[-1] if failure.last_lines else ""]


def _end_of_json(failed: Sequence[FailedJob], totals: ArchiveTotals) -> str:
    """Return the part of archive.json after the files."""
    lines = [
        json.dumps({"path": each.path, "state": each.state, "error": each.error, "last_lines": each.last_lines})
        for each in failed
    ]
    failures = "".join(f"\n{line}{'' if line is lines[-1] else ','}" for line in lines)
    sums = {"files": totals.files, "failed": totals.failed, **totals.record()}
    return f'"failures": [{failures}\n],\n"totals": {json.dumps(sums, allow_nan=False)}\n}}\n'
