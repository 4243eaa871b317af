"""Results of the files of an archive: where they are, what is read from them, and how they add up."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from maskstream.events.minute_counts import mask_share
from maskstream.types import Label

FailedState: TypeAlias = Literal["failed", "quarantined"]
"""`failed`: the file or its result cannot be read; `quarantined`: it ended its worker twice."""
SUMMARY: Final = "summary.json"
PLOT: Final = "summary.png"
EVENTS: Final = "events.jsonl"
VIDEO: Final = "out.mp4"
"""The annotated video, with `--videos`."""
EVENT_FIELDS: Final = (
    *("event_id", "label", "person", "zone", "began_s", "ended_s", "duration_s", "cause", "confidence"),
    *("best_frame", "best_time_s"),
)
"""What is kept of an ended event; names with `best_` are fields of its best frame."""


@dataclass(frozen=True)
class MergedJob:
    """A file with a committed result."""

    job_id: str
    """Hex. The result is in `result_folder(archive, job_id)`."""
    path: str
    """The video, as the manifest has it; bytes that are not text as surrogates."""
    size_bytes: int


@dataclass(frozen=True)
class FailedJob:
    """A file without a result.

    How often it was tried depends on workers that were killed, and is in the manifest alone: equal results give equal files.
    """

    path: str
    state: FailedState
    error: str
    """One line: what failed and what to do."""
    last_lines: tuple[str, ...] = ()
    """The last lines of the worker that it ended."""


def result_folder(archive: Path, job_id: str) -> Path:
    """Return the folder of the result of a job."""
    return archive / job_id[:2] / job_id


def _zeros() -> dict[Label, float]:
    return dict.fromkeys(Label, 0.0)


@dataclass
class ArchiveTotals:
    """Sums over files: one file, a folder of files, or an archive."""

    files: int = 0
    """Files with a result."""
    failed: int = 0
    """Files without a result, including those whose committed result cannot be read."""
    size_bytes: int = 0
    """Of the files with a result."""
    frames: int = 0
    """Analysed frames."""
    video_s: float = 0.0
    """Seconds from the first to the last analysed frame."""
    people: dict[Label, int] = field(default_factory=lambda: dict.fromkeys(Label, 0))
    """A person who is in two files counts twice. Each counts under the label with the longest time."""
    person_s: dict[Label, float] = field(default_factory=_zeros)
    """Seconds per label, summed over all people."""
    events: dict[Label, int] = field(default_factory=lambda: dict.fromkeys(Label, 0))
    """The number of ended events of each label."""
    event_s: dict[Label, float] = field(default_factory=_zeros)
    """Their duration in total."""
    longest_event_s: dict[Label, float] = field(default_factory=_zeros)
    """The duration of the longest one."""

    @property
    def mask_share(self) -> float | None:
        """The fraction of the known person time with a mask; None without known person time."""
        return mask_share(self.person_s)

    @property
    def not_masked_s(self) -> float:
        """The person time without a mask, or with one that is worn incorrectly."""
        return self.person_s[Label.NO_MASK] + self.person_s[Label.INCORRECT]

    def add(self, other: "ArchiveTotals") -> None:
        """Add the sums over other files."""
        self.files += other.files
        self.failed += other.failed
        self.size_bytes += other.size_bytes
        self.frames += other.frames
        self.video_s += other.video_s
        for label in Label:
            self.people[label] += other.people[label]
            self.person_s[label] += other.person_s[label]
            self.events[label] += other.events[label]
            self.event_s[label] += other.event_s[label]
            self.longest_event_s[label] = max(self.longest_event_s[label], other.longest_event_s[label])

    def record(self) -> dict[str, Any]:
        """Return the part of the JSON record that a file and all files have in common."""
        return {
            "size_bytes": self.size_bytes,
            "frames": self.frames,
            "video_s": round(self.video_s, 3),
            "people": {"all": sum(self.people.values()), **{label.value: self.people[label] for label in Label}},
            "person_s": {label.value: round(self.person_s[label], 3) for label in Label},
            "mask_share": self.mask_share,
            "events": {
                label.value: {
                    "count": self.events[label],
                    "seconds": round(self.event_s[label], 3),
                    "longest_s": round(self.longest_event_s[label], 3),
                }
                for label in Label
                if self.events[label]
            },
        }


@dataclass(frozen=True)
class FileResult:
    """What the result of one file adds to the archive."""

    source: str
    """The name of the source in its records; empty where it had no frame."""
    totals: ArchiveTotals
    events: tuple[tuple[Any, ...], ...]
    """Of each ended event: the values of `EVENT_FIELDS`."""


def read_result(archive: Path, job: MergedJob) -> FileResult:
    """Read summary.json and events.jsonl of a job.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is not JSON, or a field is missing or has a wrong value. The message is one line.
    """
    folder = result_folder(archive, job.job_id)
    try:
        sources = _SUMMARY.validate_python(json.loads((folder / SUMMARY).read_bytes()))["sources"]
        events = tuple(_ended(folder / EVENTS))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{EVENTS}: a line is no record of an event") from error
    totals = ArchiveTotals(files=1, size_bytes=job.size_bytes)
    for source in sources:
        totals.add(_of_source(source))
    return FileResult(sources[0]["source"] if sources else "", totals, events)


# What is read of a result. The limits keep sums finite.
_Seconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
_Position = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=10**15)]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


_Text = Annotated[Any, AfterValidator(_text)]
"""A text that may contain surrogates, which `str` refuses."""


class _EndedEvents(TypedDict):
    count: _Count
    seconds: _Seconds
    longest_s: _Seconds


class _Source(TypedDict):
    source: _Text
    began_s: _Position
    last_s: _Position
    frames: _Count
    people: dict[Literal["all"] | Label, _Count]
    person_s: dict[Label, _Seconds]
    events: dict[Label, _EndedEvents]


class _Summary(TypedDict):
    sources: list[_Source]


class _Best(TypedDict):
    frame: _Count
    time_s: _Position


class _Event(TypedDict):
    event_id: _Text
    label: Label
    person: _Count
    zone: _Text | None
    began_s: _Position
    ended_s: _Position
    duration_s: _Seconds
    cause: _Text
    confidence: _Position | None
    best: _Best


_SUMMARY: Final = TypeAdapter(_Summary)
_EVENT: Final = TypeAdapter(_Event)


def _of_source(summary: _Source) -> ArchiveTotals:
    ended = summary["events"]
    return ArchiveTotals(
        frames=summary["frames"],
        video_s=max(0.0, summary["last_s"] - summary["began_s"]),
        people={label: summary["people"].get(label, 0) for label in Label},
        person_s={label: summary["person_s"].get(label, 0.0) for label in Label},
        events={label: ended[label]["count"] if label in ended else 0 for label in Label},
        event_s={label: ended[label]["seconds"] if label in ended else 0.0 for label in Label},
        longest_event_s={label: ended[label]["longest_s"] if label in ended else 0.0 for label in Label},
    )


def _ended(path: Path) -> Iterator[tuple[Any, ...]]:
    with path.open("rb") as lines:
        for line in lines:
            record = json.loads(line)
            if record["type"] == "event" and record["phase"] == "end":
                event = _EVENT.validate_python(record)
                best = {f"best_{key}": value for key, value in event["best"].items()}
                yield tuple({**event, **best}[key] for key in EVENT_FIELDS)
