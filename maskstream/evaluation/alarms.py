"""Count the events that are true and the false alarms per hour, on video files whose true alarms are known."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskstream.errors import ConfigError
from maskstream.events.types import EventOrCounts, MaskEvent, Phase
from maskstream.types import FrameResult, Label


@dataclass(frozen=True)
class TrueAlarm:
    """A time in which one person has a label that is worth an event."""

    name: str
    label: Label
    frames: tuple[int, int]
    """First and last frame."""
    area_xyxy: tuple[float, float, float, float] | None
    """Pixels: contains the middle of the face during these frames. None: anywhere in the frame."""
    is_required: bool = True
    """Whether it is an error if no event reports it, because the face is seen well and long enough."""

    def fits(self, event: MaskEvent) -> bool:
        """Return whether the best observation of an event shows this person at this time."""
        first, last = self.frames
        if event.label is not self.label or not first <= event.best.timestamp.frame <= last:
            return False
        if self.area_xyxy is None:
            return True
        (left, top), (right, bottom) = self.area_xyxy[:2], self.area_xyxy[2:]
        x, y = event.best.box_xyxy.reshape(2, 2).mean(0)
        return bool(left <= x <= right and top <= y <= bottom)


class ExpectedAlarms(dict[str, tuple[TrueAlarm, ...]]):
    """The true alarms of video files, by path. A file without an entry is not compared."""

    @classmethod
    def of(cls, path: Path | None, videos: Sequence[str], without: Sequence[str]) -> "ExpectedAlarms":
        """Return the true alarms of the videos.

        Args:
            path: A file `{"clip.mp4": [{"name": "guard", "label": "no_mask", "frames": [40, 90], "area_xyxy": [0, 0, 80, 90],
                "required": true}]}`. An empty list: no event is true. `area_xyxy` and `required` are optional.
            videos: All video files. The last part of the path is their name in `path`.
            without: The video files in which no event is true.

        Raises:
            ConfigError: The file has another format.
        """
        by_name = {} if path is None else _read(path)
        expected = cls({video: by_name[Path(video).name] for video in videos if Path(video).name in by_name})
        expected.update(dict.fromkeys(without, ()))
        return expected


def _read(path: Path) -> dict[str, tuple[TrueAlarm, ...]]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        return {name: tuple(_true_alarm(entry) for entry in entries) for name, entries in read.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path}: not a file of true alarms: {error!r:.80}; see tests/fixtures/alarms.json") from error


def _true_alarm(entry: dict[str, Any]) -> TrueAlarm:
    first, last = entry["frames"]
    area = entry.get("area_xyxy")
    if area is not None:
        left, top, right, bottom = (float(side) for side in area)
        area = (left, top, right, bottom)
    is_required = bool(entry.get("required", True))
    return TrueAlarm(str(entry["name"]), Label(entry["label"]), (int(first), int(last)), area, is_required)


@dataclass
class AlarmMetrics:
    """The events of video files, compared with the true alarms."""

    duration_s: float = 0.0
    true_events: int = 0
    false_alarms: list[str] = field(default_factory=list)
    """Label, person and time of each event that is not true."""
    missed_alarms: list[str] = field(default_factory=list)
    """Names of the required true alarms without an event."""

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as `json.dumps` takes them."""
        hours = self.duration_s / 3600
        return {
            "duration_s": round(self.duration_s, 2),
            "true_events": self.true_events,
            "false_alarms": self.false_alarms,
            "false_alarms_per_hour": round(len(self.false_alarms) / hours, 2) if hours else None,
            "missed_alarms": self.missed_alarms,
        }


def compare_alarms(
    results: Sequence[FrameResult], published: Sequence[tuple[float, EventOrCounts]], expected: Sequence[TrueAlarm]
) -> AlarmMetrics:
    """Compare the events of one video with its true alarms. Several events of one person may fit one true alarm.

    Args:
        results: All results of the video, in order.
        published: The events and counts of the event detector, each with the time of its frame (`time_s`).
        expected: The true alarms.
    """
    found = AlarmMetrics(duration_s=results[-1].time_s - results[0].time_s if results else 0.0)
    missed = {alarm.name for alarm in expected if alarm.is_required}
    for time_s, event in published:
        if not isinstance(event, MaskEvent) or event.phase is not Phase.START:
            continue
        fitting = {alarm.name for alarm in expected if alarm.fits(event)}
        missed -= fitting
        if fitting:
            found.true_events += 1
        else:
            found.false_alarms.append(f"{event.label.value}, person {event.person} at {time_s:.2f} s")
    found.missed_alarms = sorted(missed)
    return found


def total_of(parts: Iterable[AlarmMetrics]) -> AlarmMetrics:
    """Return the metrics of several videos together."""
    total = AlarmMetrics()
    for part in parts:
        total.duration_s += part.duration_s
        total.true_events += part.true_events
        total.false_alarms += part.false_alarms
        total.missed_alarms += part.missed_alarms
    return total
