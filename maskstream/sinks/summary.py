"""What a run has seen, in one file: people, the share of them with a mask over time, and events."""

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

from maskstream.events.sink import Book, EventSink
from maskstream.events.types import EventOrCounts, MaskEvent, Phase, Timestamp
from maskstream.io.files import one_line, plain_text, replace_file
from maskstream.io.output_paths import image_beside, require_summary_path
from maskstream.io.text_file import iso_8601
from maskstream.rendering.palette import LABEL_TEXT
from maskstream.sinks.summary_plot import draw_timelines
from maskstream.stream.rates import CLOCK_TOLERANCE_S, Pace
from maskstream.stream.states import StateChange
from maskstream.types import FrameResult, Label, Output

_MOST_STEPS: Final = 240
_LONGEST_GAP_S: Final = 1.0
_GONE_S: Final = 60.0
_SAVE_EVERY_S: Final = 60.0
_TOLD: Final = (Label.MASK, Label.NO_MASK, Label.INCORRECT)
Seconds = dict[Label, float]


@dataclass
class _Person:
    seen_s: float
    seconds: Seconds = field(default_factory=lambda: dict.fromkeys(Label, 0.0))


class SourceSummary:
    """One source. However long it runs, it takes no more than some memory: steps of time grow, and who is gone is a count.

    Its time never runs back: where the source begins anew, it goes on after the time that went by in between.
    """

    def __init__(self, began: Timestamp) -> None:
        """Begin with its first frame."""
        self.began = self.last = began
        """The times of both are those of the summary, which are the source's own until it begins anew."""
        self.frames = 0
        self.step_s = 1.0
        self.steps: list[Seconds] = []
        self.events: dict[Label, list[float]] = defaultdict(list)
        """Durations of those that have ended."""
        self._pace = Pace()
        self._present: dict[int, _Person] = {}
        self._gone = dict.fromkeys(Label, 0)
        self._later_s = 0.0
        """What is added to the source's own time."""
        self._begins_anew = False

    def begin_anew(self) -> None:
        """Take the next frame for that of another stream of this name; nobody is the same in it."""
        for number in list(self._present):
            self._gone[_longest(self._present.pop(number))] += 1
        self._pace = Pace()
        self._begins_anew = True

    def look(self, result: FrameResult) -> None:
        """Count a frame."""
        self.frames += 1
        now_s = self._now_s(Timestamp.of(result))
        self.last = replace(Timestamp.of(result), time_s=now_s)
        self._pace.step(now_s)
        longest_s = self._pace.patience(_LONGEST_GAP_S)
        step = self._step(now_s - self.began.time_s)
        for face in result.faces:
            if face.track_id is None:
                continue
            person = self._present.setdefault(face.track_id, _Person(now_s))
            seconds = min(max(now_s - person.seen_s, 0.0), longest_s)
            person.seen_s = now_s
            person.seconds[face.shown_label] += seconds
            step[face.shown_label] += seconds
        for number in [number for number, person in self._present.items() if now_s - person.seen_s > _GONE_S]:
            self._gone[_longest(self._present.pop(number))] += 1

    def _now_s(self, moment: Timestamp) -> float:
        """Return the time of the summary at a moment of the source."""
        if self._later_s + moment.time_s < self.last.time_s - CLOCK_TOLERANCE_S:
            self.begin_anew()
        if self._begins_anew:
            self._begins_anew = False
            here, there = moment.wall_time, self.last.wall_time
            away_s = (here - there).total_seconds() if here and there else 0.0
            self._later_s = self.last.time_s + max(0.0, away_s) - moment.time_s
        return max(self.last.time_s, self._later_s + moment.time_s)

    def _step(self, since_s: float) -> Seconds:
        while since_s >= self.step_s * _MOST_STEPS:
            self.step_s *= 2
            pairs = zip(self.steps[::2], [*self.steps[1::2], dict.fromkeys(Label, 0.0)], strict=False)
            self.steps = [{label: first[label] + second[label] for label in Label} for first, second in pairs]
        index = max(0, int(since_s / self.step_s))
        self.steps += [dict.fromkeys(Label, 0.0) for _ in range(index + 1 - len(self.steps))]
        return self.steps[index]

    def people(self) -> dict[Label, int]:
        """Return how many people were seen, each under the label that held longest."""
        present = [_longest(person) for person in self._present.values()]
        return {label: self._gone[label] + present.count(label) for label in Label}

    def person_s(self) -> Seconds:
        """Return for how long all people together had each label."""
        return {label: sum(step[label] for step in self.steps) for label in Label}

    def record(self, source_id: str) -> dict[str, Any]:
        """Return it as JSON has it."""
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


def _longest(person: _Person) -> Label:
    return max(person.seconds, key=person.seconds.__getitem__) if any(person.seconds.values()) else Label.UNKNOWN


def _by_name(values: Mapping[Label, float]) -> dict[str, float]:
    return {label.value: round(value, 3) for label, value in values.items()}


def mask_share(seconds: Mapping[Label, float]) -> float | None:
    """Return the share of the time of people that they wore a mask in, where it is known; None where it never is."""
    known_s = sum(seconds[label] for label in _TOLD)
    return round(seconds[Label.MASK] / known_s, 4) if known_s else None


class _EndedEvents:
    """Counts the events that end with the sources that they are of."""

    def __init__(self, sources: Mapping[str, SourceSummary]) -> None:
        self._sources = sources

    def take(self, happenings: Sequence[EventOrCounts]) -> None:
        for happening in happenings:
            if isinstance(happening, MaskEvent) and happening.phase is Phase.END:
                self._sources[happening.source_id].events[happening.label].append(happening.duration_s)

    def state_changed(self, change: StateChange) -> None:
        pass

    def health(self) -> str:
        return ""

    def close(self) -> None:
        pass


class SummarySink:
    """Writes the summary as JSON, once a minute and at the end, and at the end a timeline as PNG beside it, and a short table."""

    wants_every_frame = False

    def __init__(self, path: str, book: Book, console: Console | None = None) -> None:
        """Begin without sources.

        Args:
            path: Of the JSON file; the picture has the same name with `.png`.
            book: Knows the events.
            console: Where the table goes; None for nowhere.

        Raises:
            SinkError: Nothing can be written there.
        """
        self._path = Path(path)
        self._png = image_beside(path)
        for each in (self._path, self._png):
            require_summary_path(str(each))
        self._console = console
        self._sources: dict[str, SourceSummary] = {}
        self._events = EventSink(book, _EndedEvents(self._sources))
        self._saved_s = monotonic()
        self._is_done = False

    def write(self, output: Output) -> None:
        """Count an analysed frame."""
        if output.analysed and output.frame.file is None:
            source_id = output.frame.source_id
            if source_id not in self._sources:
                self._sources[source_id] = SourceSummary(Timestamp.of(output.result))
            self._sources[source_id].look(output.result)
        self._events.write(output)
        if monotonic() - self._saved_s >= _SAVE_EVERY_S:
            self._saved_s = monotonic()
            self._save()

    def source_ended(self, source_id: str) -> None:
        """End the events of a source."""
        self._events.source_ended(source_id)

    def source_removed(self, source_id: str) -> None:
        """End the events of a source; one of the same name that is added later goes on in its place."""
        self._events.source_removed(source_id)
        if source_id in self._sources:
            self._sources[source_id].begin_anew()

    def state_changed(self, change: StateChange) -> None:
        """End the events of a source that is offline."""
        self._events.state_changed(change)

    def close(self) -> None:
        """End all events and write everything. A second call does nothing."""
        if self._is_done:
            return
        self._is_done = True
        try:
            self._events.close()
        finally:
            self._save()
        replace_file(self._png, draw_timelines(self._sources))
        if self._console is not None:
            self._console.print(_table(self._sources))

    def _save(self) -> None:
        record = {"sources": [summary.record(source_id) for source_id, summary in self._sources.items()]}
        replace_file(self._path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode(errors="surrogateescape"))


def _table(sources: Mapping[str, SourceSummary]) -> Table:
    table = Table("source", "people", "with mask", "without", "share of time with mask", "events", box=None, pad_edge=False)
    for source_id, summary in sources.items():
        people, share = summary.people(), mask_share(summary.person_s())
        bare = people[Label.NO_MASK] + people[Label.INCORRECT]
        events = ", ".join(f"{len(ended)} {LABEL_TEXT[label]} ({sum(ended):.0f} s)" for label, ended in summary.events.items())
        counts = (str(count) for count in (sum(people.values()), people[Label.MASK], bare))
        table.add_row(Text(one_line(plain_text(source_id))), *counts, "-" if share is None else f"{share:.0%}", events or "none")
    return table
