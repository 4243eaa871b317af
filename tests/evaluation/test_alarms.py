import json
from pathlib import Path

import numpy as np
import pytest

from maskstream.errors import ConfigError
from maskstream.evaluation.alarms import AlarmMetrics, ExpectedAlarms, TrueAlarm, compare_alarms, total_of
from maskstream.events.types import MaskEvent, Observation, Phase, Timestamp
from maskstream.types import FrameResult, Label
from tests.conftest import ROOT
from tests.tracking.made import frame_at, output_with

FIXTURE = ROOT / "tests" / "fixtures" / "alarms.json"
RESULTS: list[FrameResult] = [output_with(frame_at(index, fps=10), []).result for index in range(361)]
GUARD = TrueAlarm("guard", Label.NO_MASK, (40, 90), (0.0, 0.0, 100.0, 100.0))
ANYWHERE = TrueAlarm("anywhere", Label.NO_MASK, (200, 300), None)


def start(frame: int, x: float = 50.0, label: Label = Label.NO_MASK, phase: Phase = Phase.START) -> tuple[float, MaskEvent]:
    now = Timestamp(frame, frame / 10, None)
    best = Observation(now, 0.9, np.array([x - 10, 40, x + 10, 60], np.float32), None)
    return frame / 10, MaskEvent("id", 0, phase, label, "door", 7, None, now, now, 0.9, best)


def test_events_that_fit_no_true_alarm_are_false() -> None:
    events = [start(50), start(51), start(50, x=150), start(20), start(50, label=Label.INCORRECT), start(250, x=600)]
    found = compare_alarms(RESULTS, events, (GUARD, ANYWHERE))
    assert (found.true_events, found.missed_alarms, found.duration_s) == (3, [], pytest.approx(36.0))
    assert found.false_alarms == [
        "no_mask, person 7 at 5.00 s",
        "no_mask, person 7 at 2.00 s",
        "incorrect, person 7 at 5.00 s",
    ]
    assert found.to_json()["false_alarms_per_hour"] == pytest.approx(300.0)


def test_only_starts_of_events_count() -> None:
    found = compare_alarms(RESULTS, [start(50, phase=Phase.UPDATE), start(50, phase=Phase.END)], ())
    assert (found.true_events, found.false_alarms) == (0, [])


def test_a_required_alarm_without_an_event_is_missed() -> None:
    optional = TrueAlarm("short", Label.NO_MASK, (0, 5), None, is_required=False)
    assert compare_alarms(RESULTS, [start(50)], (GUARD, ANYWHERE, optional)).missed_alarms == ["anywhere"]


def test_hours_of_several_videos_are_added_up() -> None:
    first = AlarmMetrics(1800.0, 1, ["a"], [])
    second = AlarmMetrics(5400.0, 2, ["b", "c"], ["d"])
    total = total_of([first, second]).to_json()
    assert (total["true_events"], total["false_alarms"], total["missed_alarms"]) == (3, ["a", "b", "c"], ["d"])
    assert total["false_alarms_per_hour"] == 1.5
    assert total_of([]).to_json()["false_alarms_per_hour"] is None


def test_alarms_are_read_by_the_name_of_the_video(tmp_path: Path) -> None:
    path = tmp_path / "alarms.json"
    entry = {"name": "guard", "label": "no_mask", "frames": [40, 90], "area_xyxy": [0, 0, 100, 100]}
    path.write_text(json.dumps({"a.mp4": [entry], "b.mp4": []}))
    assert ExpectedAlarms.of(path, ["in/a.mp4", "in/b.mp4", "c.mp4"], []) == {"in/a.mp4": (GUARD,), "in/b.mp4": ()}
    assert ExpectedAlarms.of(None, ["a.mp4", "c.mp4"], ["c.mp4"]) == {"c.mp4": ()}


def test_the_alarms_of_the_clips_are_read() -> None:
    assert len(ExpectedAlarms.of(FIXTURE, list(json.loads(FIXTURE.read_text())), [])) == 10


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": [{}]}', '{"a": [{"name": "x", "label": "x", "frames": [1, 2]}]}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "alarms.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not a file of true alarms"):
        ExpectedAlarms.of(path, ["a"], [])
