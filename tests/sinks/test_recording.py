from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from maskstream.errors import SinkError
from maskstream.settings import VideoConfig
from maskstream.sinks import RecordingSink
from maskstream.types import Frame, SourceInfo
from tests.video_files import grey, output_of

INFO = SourceInfo("gate", 0, 0, live=True)
CONFIG = VideoConfig(segment_s=None, crf=23, preset="ultrafast")


def recorded(path: Path, times_s: list[float], sizes: list[tuple[int, int]] | None = None, **changes: float) -> None:
    """Record frames at these times, of these sizes."""
    sink = RecordingSink(str(path), lambda: INFO, CONFIG.model_copy(update=changes))
    for index, time_s in enumerate(times_s):
        size = sizes[index] if sizes else (64, 48)
        sink.write(output_of(Frame(grey(index, size), index, "gate", time_s)))
    sink.close()


def played(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def size_of(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        return container.streams.video[0].width, container.streams.video[0].height


def test_a_recording_begins_at_0_and_keeps_its_speed_where_frames_were_dropped(tmp_path: Path) -> None:
    times_s = [7.0, 7.04, 7.08, 9.5, 9.54]
    recorded(tmp_path / "gate.mp4", times_s)
    assert played(tmp_path / "gate.mp4") == pytest.approx([time_s - 7 for time_s in times_s], abs=1e-3)


def test_another_size_is_another_part_and_said_once(tmp_path: Path, said: list[str]) -> None:
    sizes = [(64, 48)] * 3 + [(128, 96)] * 3 + [(64, 48)] * 2
    recorded(tmp_path / "gate.mp4", [5 + 0.04 * index for index in range(8)], sizes)
    parts = [tmp_path / name for name in ("gate.mp4", "gate_002.mp4", "gate_003.mp4")]
    assert sorted(tmp_path.iterdir()) == sorted(parts)
    assert [size_of(part) for part in parts] == [(64, 48), (128, 96), (64, 48)]
    assert [len(played(part)) for part in parts] == [3, 3, 2]
    assert [played(part)[0] for part in parts] == [0, 0, 0]
    assert [line for line in said if "goes on in" in line] == [
        "INFO gate: the recording goes on in gate_002.mp4: 128x96 instead of 64x48\n",
        "INFO gate: the recording goes on in gate_003.mp4: 64x48 instead of 128x96\n",
    ]


def test_segments_have_the_length_that_was_asked_for(tmp_path: Path) -> None:
    recorded(tmp_path / "gate.mp4", [index * 0.25 for index in range(20)], segment_s=2.0)
    assert [len(played(path)) for path in sorted(tmp_path.iterdir())] == [8, 8, 4]


def test_nobody_watches_a_picture_that_stands_still_for_an_hour(tmp_path: Path) -> None:
    recorded(tmp_path / "gate.mp4", [0, 1, 50, 3650, 3651])
    assert played(tmp_path / "gate.mp4") == pytest.approx([0, 1, 50])
    assert played(tmp_path / "gate_002.mp4") == pytest.approx([0, 1])


def test_a_camera_that_gave_nothing_leaves_nothing(tmp_path: Path) -> None:
    recorded(tmp_path / "gate.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no folder"):
        RecordingSink(str(tmp_path / "none" / "gate.mp4"), lambda: INFO, CONFIG)


def test_the_shape_of_pixels_is_kept(tmp_path: Path) -> None:
    sink = RecordingSink(str(tmp_path / "gate.mp4"), lambda: replace(INFO, sample_aspect_ratio=Fraction(4, 3)), CONFIG)
    sink.write(output_of(Frame(grey(0, (64, 48)), 0, "gate", 0.0)))
    sink.close()
    with av.open(str(tmp_path / "gate.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
