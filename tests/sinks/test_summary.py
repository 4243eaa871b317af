import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from maskstream import load_config
from maskstream.errors import SinkError
from maskstream.events.detector import EventDetector
from maskstream.rendering.palette import COLOURS_BGR
from maskstream.rendering.text import text_alpha
from maskstream.sinks.summary import SummarySink
from maskstream.types import Frame, Label
from tests.tracking.made import frame_at, output_with, person


def summarise(folder: Path, script: list[tuple[float, list[tuple[int, Label]]]], sources: tuple[str, ...] = ("door",)) -> str:
    """Summarise people at times; return the table."""
    text = io.StringIO()
    sink = SummarySink(str(folder / "summary.json"), EventDetector(load_config()), Console(file=text, width=200))
    for index, (time_s, people) in enumerate(script):
        for source_id in sources:
            frame = frame_at(index, time_s=time_s, source_id=source_id)
            sink.write(output_with(frame, [person(number, label, 100.0 * number) for number, label in people]))
    for source_id in sources:
        sink.source_ended(source_id)
    sink.close()
    return text.getvalue()


def read(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "summary.json").read_text())["sources"]


SCRIPT = [
    *((step / 10, [(1, Label.MASK), (2, Label.NO_MASK)]) for step in range(50)),
    *((step / 10, [(1, Label.MASK), (2, Label.MASK), (3, Label.MASK)]) for step in range(50, 100)),
]


def test_people_shares_and_events(tmp_path: Path) -> None:
    table = summarise(tmp_path, SCRIPT)
    (door,) = read(tmp_path)
    assert door["people"] == {"all": 3, "mask": 3, "no_mask": 0, "incorrect": 0, "unknown": 0}
    assert door["person_s"]["mask"] == pytest.approx(19.7, abs=0.2)
    assert door["person_s"]["no_mask"] == pytest.approx(4.9, abs=0.1)
    assert door["mask_share"] == pytest.approx(0.8, abs=0.01)
    assert door["events"] == {"no_mask": {"count": 1, "seconds": 4.9, "longest_s": 4.9}}
    timeline = door["timeline"]
    assert timeline["step_s"] == 1.0
    assert len(timeline["mask_share"]) == 10
    assert timeline["mask_share"][1] == pytest.approx(0.5, abs=0.01)
    assert timeline["mask_share"][-1] == 1.0
    assert "door" in table
    assert "80%" in table
    assert "1 no mask (5 s)" in table


def test_the_plot_shows_the_labels(tmp_path: Path) -> None:
    summarise(tmp_path, SCRIPT)
    image = cv2.imread(str(tmp_path / "summary.png"))
    shares = {
        label: (np.abs(image.astype(int) - COLOURS_BGR[label]).max(axis=2) < 12).mean() for label in (Label.MASK, Label.NO_MASK)
    }
    assert shares[Label.MASK] > 2 * shares[Label.NO_MASK] > 0.02


def test_long_runs_need_no_more_memory(tmp_path: Path) -> None:
    """Two hours, one frame per second, another person every minute."""
    summarise(tmp_path, [(float(second), [(second // 60 + 1, Label.MASK)]) for second in range(7200)])
    (door,) = read(tmp_path)
    assert door["people"]["mask"] == 120
    assert door["timeline"]["step_s"] == 32
    assert len(door["timeline"]["mask_share"]) == 225
    assert sum(door["timeline"]["person_s"]["mask"]) == pytest.approx(door["person_s"]["mask"], abs=1)


def test_several_sources_and_odd_names(tmp_path: Path) -> None:
    table = summarise(tmp_path, SCRIPT, ("door", "$x_1$ [bold]", "caf\udce9.mp4"))
    assert len(read(tmp_path)) == 3
    assert "[bold]" in table


def test_without_people_and_without_frames(tmp_path: Path) -> None:
    summarise(tmp_path, [(0.0, []), (1.0, [])])
    (door,) = read(tmp_path)
    assert (door["people"]["all"], door["mask_share"], door["events"]) == (0, None, {})
    sink = SummarySink(str(tmp_path / "none.json"), EventDetector(load_config()))
    sink.close()
    assert json.loads((tmp_path / "none.json").read_text()) == {"sources": []}
    assert (tmp_path / "none.png").stat().st_size > 0


def test_still_images_are_not_counted(tmp_path: Path) -> None:
    sink = SummarySink(str(tmp_path / "summary.json"), EventDetector(load_config()))
    sink.write(output_with(Frame(frame_at(0).bgr, 0, "photos", 0.0, file="a.png"), [person(1, Label.MASK)]))
    sink.close()
    assert read(tmp_path) == []


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="does not exist; create it"):
        SummarySink(str(tmp_path / "missing" / "summary.json"), EventDetector(load_config()))
    (tmp_path / "summary.png").mkdir()
    with pytest.raises(SinkError, match=r"summary\.png"):
        SummarySink(str(tmp_path / "summary.json"), EventDetector(load_config()))


@pytest.mark.parametrize("name", ["Größe вход", "大门 入口", "😀 hall", "مدخل", "bell \x07", "名" * 500, "x" * 500])
def test_names_in_any_script_are_drawn_above_their_plot(tmp_path: Path, name: str) -> None:
    def title(named: str) -> np.ndarray:
        summarise(tmp_path, SCRIPT[:20], (named,))  # a glyph that is missing, or no room for the axes, would be a warning
        return cv2.imread(str(tmp_path / "summary.png"), cv2.IMREAD_GRAYSCALE)[:22]

    drawn = title(name)
    assert (drawn[:, 70:] < 160).any()
    assert (drawn != title("?" * len(name))).any()


def test_a_title_beyond_ascii_is_drawn_like_the_overlay(tmp_path: Path) -> None:
    summarise(tmp_path, SCRIPT[:20], ("大门 入口",))
    shown = 255 - cv2.imread(str(tmp_path / "summary.png"), cv2.IMREAD_GRAYSCALE)[:40]
    title = np.ascontiguousarray(text_alpha("大门 入口", 10 * 0.73 * 100 / 72)[4:-4, :60])
    assert cv2.matchTemplate(shown, title, cv2.TM_CCOEFF_NORMED).max() > 0.8  # laid between pixels


def watched(sink: SummarySink, times_s: list[float], wall: datetime | None, number: int = 1) -> None:
    for time_s in times_s:
        moment = None if wall is None else wall + timedelta(seconds=time_s)
        frame = replace(frame_at(0, time_s=time_s), wall_time=moment)
        sink.write(output_with(frame, [person(number, Label.MASK)]))


WALL = datetime(2026, 11, 26, 12, tzinfo=UTC)
TENTHS = [step / 10 for step in range(20)]


@pytest.mark.parametrize(("walls", "away_s"), [((WALL, WALL + timedelta(seconds=10)), 8), ((None, None), 0)])
def test_the_time_of_a_camera_that_was_removed_and_added_continues(
    tmp_path: Path, walls: tuple[datetime | None, datetime | None], away_s: float
) -> None:
    sink = SummarySink(str(tmp_path / "summary.json"), EventDetector(load_config()))
    watched(sink, TENTHS, walls[0])
    sink.source_removed("door")
    watched(sink, TENTHS, walls[1])
    sink.close()
    (door,) = read(tmp_path)
    assert (door["frames"], door["began_s"], door["people"]["mask"]) == (40, 0, 2)
    assert door["last_s"] == pytest.approx(3.8 + away_s + (0.1 if away_s else 0), abs=0.01)
    seconds = door["timeline"]["person_s"]["mask"]
    assert seconds == pytest.approx([1, 0.9, *[0] * 8, 1, 0.9] if away_s else [1, 1.0, 1.0, 0.8], abs=0.11)


def test_time_that_runs_back_is_another_stream(tmp_path: Path) -> None:
    sink = SummarySink(str(tmp_path / "summary.json"), EventDetector(load_config()))
    watched(sink, [5 + time_s for time_s in TENTHS], None)
    watched(sink, TENTHS, None)
    watched(sink, [1.8, 1.7, 1.9], None)
    sink.close()
    (door,) = read(tmp_path)
    assert (door["began_s"], door["last_s"], door["people"]["all"]) == (5, pytest.approx(8.8), 2)
    assert len(door["timeline"]["mask_share"]) == 4
