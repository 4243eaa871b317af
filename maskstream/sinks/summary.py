"""Summarise a run in one JSON file (`--summary`): people, fraction of time with a mask, and events of each source."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskstream.events.detector import EventDetector
from maskstream.events.minute_counts import mask_share
from maskstream.events.sink import EventSink
from maskstream.events.types import EventOrCounts, MaskEvent, Phase, Timestamp
from maskstream.io.files import one_line, plain_text, replace_file
from maskstream.io.output_paths import image_beside, require_summary_path
from maskstream.io.text_file import iso_8601
from maskstream.rendering.palette import LABEL_TEXT
from maskstream.sinks.summary_plot import plot_timelines
from maskstream.stream.rates import CLOCK_TOLERANCE_S, Pace
from maskstream.stream.states import StateChange
from maskstream.types import FrameResult, Label, Output

_MAX_STEPS: Final = 240
_LONGEST_STEP_S: Final = 1.0
"""A longer gap between two frames with a person counts as this much."""
_GONE_S: Final = 60.0
"""A person who was not detected for longer is only a number in the counts."""
_SAVE_EVERY_S: Final = 60.0
Seconds = dict[Label, float]


def _no_seconds() -> Seconds:
    return dict.fromkeys(Label, 0.0)


@dataclass
class _Person:
    seen_s: float
    seconds: Seconds = field(default_factory=_no_seconds)

    @property
    def main_label(self) -> Label:
        """The label with the longest time; `unknown` before the second frame."""
        if not any(self.seconds.values()):
            return Label.UNKNOWN
        return max(self.seconds, key=self.seconds.__getitem__)


class SourceSummary:
    """Summary of one source, in bounded memory: time steps grow, and people who have left are only counted.

    The time of the summary never runs back. Where the source begins again, it continues after the time that passed meanwhile.
    """

    def __init__(self, began: Timestamp) -> None:
        """Begin with the first frame."""
        self.began = self.last = began
        """First and last frame, in the time of the summary: that of the source until it begins again."""
        self.frames = 0
        self.step_s = 1.0
        self.steps: list[Seconds] = []
        """Seconds of all people per label, in each time step."""
        self.events: dict[Label, list[float]] = defaultdict(list)
        """Durations of the events that have ended."""
        self._pace = Pace()
        self._present: dict[int, _Person] = {}
        self._left = dict.fromkeys(Label, 0)
        """People who have left, by label."""
        self._offset_s = 0.0
        """Time of the summary minus time of the source."""
        self._begins_again = False

    def begin_again(self) -> None:
        """Treat the next frame as the first of another stream with this name: it shows other people."""
        self._count_left(list(self._present))
        self._pace = Pace()
        self._begins_again = True

    def add(self, result: FrameResult) -> None:
        """Add a frame."""
        self.frames += 1
        now_s = self._now_s(Timestamp.of(result))
        self.last = replace(Timestamp.of(result), time_s=now_s)
        self._pace.step(now_s)
        longest_s = self._pace.patience(_LONGEST_STEP_S)
        step = self._step(now_s - self.began.time_s)
        for face in result.faces:
            if face.track_id is None:
                continue
            person = self._present.setdefault(face.track_id, _Person(now_s))
            seconds = min(max(now_s - person.seen_s, 0.0), longest_s)
            person.seen_s = now_s
            person.seconds[face.shown_label] += seconds
            step[face.shown_label] += seconds
        self._count_left([track_id for track_id, person in self._present.items() if now_s - person.seen_s > _GONE_S])

    def _count_left(self, track_ids: Sequence[int]) -> None:
        for track_id in track_ids:
            self._left[self._present.pop(track_id).main_label] += 1

    def _now_s(self, timestamp: Timestamp) -> float:
        """Return the time of the summary at a frame."""
        if self._offset_s + timestamp.time_s < self.last.time_s - CLOCK_TOLERANCE_S:
            self.begin_again()
        if self._begins_again:
            self._begins_again = False
            now, before = timestamp.wall_time, self.last.wall_time
            away_s = (now - before).total_seconds() if now and before else 0.0
            self._offset_s = self.last.time_s + max(0.0, away_s) - timestamp.time_s
        return max(self.last.time_s, self._offset_s + timestamp.time_s)

    def _step(self, since_s: float) -> Seconds:
        """Return the time step of a time since the beginning; steps are joined in pairs where there would be too many."""
        while since_s >= self.step_s * _MAX_STEPS:
            self.step_s *= 2
            if len(self.steps) % 2:
                self.steps.append(_no_seconds())
            pairs = zip(self.steps[::2], self.steps[1::2], strict=True)
            self.steps = [{label: first[label] + second[label] for label in Label} for first, second in pairs]
        index = max(0, int(since_s / self.step_s))
        while len(self.steps) <= index:
            self.steps.append(_no_seconds())
        return self.steps[index]

    def people(self) -> dict[Label, int]:
        """Return how many people were seen; each is counted under the label with the longest time."""
        present = [person.main_label for person in self._present.values()]
        return {label: self._left[label] + present.count(label) for label in Label}

    def person_s(self) -> Seconds:
        """Return the seconds per label, added up over all people."""
        return {label: sum(step[label] for step in self.steps) for label in Label}

    def record(self, source_id: str) -> dict[str, Any]:
        """Return the JSON record."""
        people = self.people()
        return {
            "source": source_id,
            "began_s": round(self.began.time_s, 3),
            "began_utc": iso_8601(self.began.wall_time),
            "last_s": round(self.last.time_s, 3),
            "last_utc": iso_8601(self.last.wall_time),
            "frames": self.frames,
            "people": {"all": sum(people.values()), **_by_name(people)},
            "person_s": _by_name(self.person_s()),
            "mask_share": mask_share(self.person_s()),
            "events": {
                label.value: {"count": len(ended), "seconds": round(sum(ended), 3), "longest_s": round(max(ended), 3)}
                for label, ended in self.events.items()
            },
            "timeline": {
                "step_s": self.step_s,
                "person_s": {label.value: [round(step[label], 3) for step in self.steps] for label in Label},
                "mask_share": [mask_share(step) for step in self.steps],
            },
        }


def _by_name(values: Mapping[Label, float]) -> dict[str, float]:
    return {label.value: round(value, 3) for label, value in values.items()}


class _EndedEvents:
    """Receiver that adds the durations of ended events to the summaries."""

    def __init__(self, sources: Mapping[str, SourceSummary]) -> None:
        self._sources = sources

    def take(self, items: Sequence[EventOrCounts]) -> None:
        for item in items:
            if isinstance(item, MaskEvent) and item.phase is Phase.END:
                self._sources[item.source_id].events[item.label].append(item.duration_s)

    def state_changed(self, change: StateChange) -> None:
        pass

    def health(self) -> str:
        return ""

    def close(self) -> None:
        pass


class SummarySink:
    """Writes the summary as JSON every minute and at the end; at the end also a plot as PNG beside it, and a table."""

    wants_every_frame = False

    def __init__(self, path: str, detector: EventDetector, console: Console | None = None) -> None:
        """Begin without sources.

        Args:
            path: Of the JSON file; the plot has the same name with `.png`.
            detector: Detects the events; may be shared with other sinks.
            console: Shows the table; None: no table.

        Raises:
            SinkError: The files cannot be written.
        """
        self._path = Path(path)
        self._png = image_beside(path)
        for each in (self._path, self._png):
            require_summary_path(str(each))
        self._console = console
        self._sources: dict[str, SourceSummary] = {}
        self._events = EventSink(detector, _EndedEvents(self._sources))
        self._saved_s = monotonic()
        self._is_closed = False

    def write(self, output: Output) -> None:
        """Add an analysed frame."""
        if output.analysed and output.frame.file is None:
            source_id = output.frame.source_id
            if source_id not in self._sources:
                self._sources[source_id] = SourceSummary(Timestamp.of(output.result))
            self._sources[source_id].add(output.result)
        self._events.write(output)
        if monotonic() - self._saved_s >= _SAVE_EVERY_S:
            self._saved_s = monotonic()
            self._save()

    def source_ended(self, source_id: str) -> None:
        """End the events of a source."""
        self._events.source_ended(source_id)

    def source_removed(self, source_id: str) -> None:
        """End the events of a source; a source that is added later with this name continues its summary."""
        self._events.source_removed(source_id)
        if source_id in self._sources:
            self._sources[source_id].begin_again()

    def state_changed(self, change: StateChange) -> None:
        """End the events of a source that is offline."""
        self._events.state_changed(change)

    def close(self) -> None:
        """End all events, and write JSON, plot and table. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._events.close()
        finally:
            self._save()
        replace_file(self._png, plot_timelines(self._sources))
        if self._console is not None:
            self._console.print(_table(self._sources))

    def _save(self) -> None:
        record = {"sources": [summary.record(source_id) for source_id, summary in self._sources.items()]}
        replace_file(self._path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode(errors="surrogateescape"))


def _table(sources: Mapping[str, SourceSummary]) -> Table:
    table = Table("source", "people", "with mask", "without", "time with mask", "events", box=None, pad_edge=False)
    for source_id, summary in sources.items():
        people, share = summary.people(), mask_share(summary.person_s())
        events = [f"{len(ended)} {LABEL_TEXT[label]} ({sum(ended):.0f} s)" for label, ended in summary.events.items()]
        table.add_row(
            Text(one_line(plain_text(source_id))),
            str(sum(people.values())),
            str(people[Label.MASK]),
            str(people[Label.NO_MASK] + people[Label.INCORRECT]),
            "-" if share is None else f"{share:.0%}",
            ", ".join(events) or "none",
        )
    return table
