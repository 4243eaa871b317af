from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from maskstream.config.schema import VideoConfig
from maskstream.errors import SinkError
from maskstream.sinks import SegmentedRecordingSink
from maskstream.types import Frame, SourceInfo
from tests.video_files import grey, output_of

INFO = SourceInfo("gate", 0, 0, live=True)
CONFIG = VideoConfig(segment_s=None, crf=23, preset="ultrafast")


def recorded(
    path: Path, times_s: list[float], sizes: list[tuple[int, int]] | None = None, info: SourceInfo = INFO, **changes: float
) -> None:
    """Record frames at these times, of these sizes."""
    sink = SegmentedRecordingSink(str(path), lambda: info, CONFIG.model_copy(update=changes))
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


def test_a_recording_begins_at_0_and_keeps_its_times_where_frames_were_dropped(tmp_path: Path) -> None:
    times_s = [7.0, 7.04, 7.08, 9.5, 9.54]
    recorded(tmp_path / "gate.mp4", times_s)
    assert played(tmp_path / "gate.mp4") == pytest.approx([time_s - 7 for time_s in times_s], abs=1e-3)


def test_another_size_begins_another_segment_and_is_logged_once(tmp_path: Path, said: list[str]) -> None:
    sizes = [(64, 48)] * 3 + [(128, 96)] * 3 + [(64, 48)] * 2
    recorded(tmp_path / "gate.mp4", [5 + 0.04 * index for index in range(8)], sizes)
    segments = [tmp_path / name for name in ("gate.mp4", "gate_002.mp4", "gate_003.mp4")]
    assert sorted(tmp_path.iterdir()) == sorted(segments)
    assert [size_of(part) for part in segments] == [(64, 48), (128, 96), (64, 48)]
    assert [len(played(part)) for part in segments] == [3, 3, 2]
    assert [played(part)[0] for part in segments] == [0, 0, 0]
    assert [line for line in said if "continues in" in line] == [
        "INFO gate: the recording continues in gate_002.mp4: 128x96 instead of 64x48\n",
        "INFO gate: the recording continues in gate_003.mp4: 64x48 instead of 128x96\n",
    ]


def test_segments_have_the_configured_length(tmp_path: Path) -> None:
    recorded(tmp_path / "gate.mp4", [index * 0.25 for index in range(20)], segment_s=2.0)
    assert [len(played(path)) for path in sorted(tmp_path.iterdir())] == [8, 8, 4]


def test_a_gap_of_an_hour_begins_another_segment(tmp_path: Path) -> None:
    recorded(tmp_path / "gate.mp4", [0, 1, 50, 3650, 3651])
    assert played(tmp_path / "gate.mp4") == pytest.approx([0, 1, 50])
    assert played(tmp_path / "gate_002.mp4") == pytest.approx([0, 1])


def test_a_camera_with_a_frame_every_few_minutes_has_no_gaps(tmp_path: Path) -> None:
    times_s = [0.0, 300, 600, 1200, 1500, 3000]
    recorded(tmp_path / "gate.mp4", times_s, info=replace(INFO, average_fps=1 / 300))
    assert played(tmp_path / "gate.mp4") == pytest.approx(times_s[:-1], abs=1e-3)
    assert played(tmp_path / "gate_002.mp4") == [0]


def test_a_camera_without_frames_leaves_no_file(tmp_path: Path) -> None:
    recorded(tmp_path / "gate.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_reported_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="does not exist"):
        SegmentedRecordingSink(str(tmp_path / "none" / "gate.mp4"), lambda: INFO, CONFIG)


def test_the_sample_aspect_ratio_is_kept(tmp_path: Path) -> None:
    sink = SegmentedRecordingSink(str(tmp_path / "gate.mp4"), lambda: replace(INFO, sample_aspect_ratio=Fraction(4, 3)), CONFIG)
    sink.write(output_of(Frame(grey(0, (64, 48)), 0, "gate", 0.0)))
    sink.close()
    with av.open(str(tmp_path / "gate.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_files_of_an_earlier_run_stay_and_the_used_name_is_logged(tmp_path: Path, said: list[str]) -> None:
    recorded(tmp_path / "gate.mp4", [0, 0.04])
    first = (tmp_path / "gate.mp4").read_bytes()
    (tmp_path / "gate_003.mp4").write_text("another program's")
    recorded(tmp_path / "gate.mp4", [0.25 * index for index in range(9)], segment_s=1.0)
    assert (tmp_path / "gate.mp4").read_bytes() == first
    assert (tmp_path / "gate_003.mp4").read_text() == "another program's"
    names = ["gate.mp4", *(f"gate_{number:03}.mp4" for number in (2, 3, 4, 5))]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [len(played(tmp_path / names[number])) for number in (1, 3, 4)] == [4, 4, 1]
    assert [line.removeprefix("INFO gate: the recording ") for line in said if "the recording" in line] == [
        "is gate_002.mp4, because the file gate.mp4 exists\n",
        "continues in gate_004.mp4: the segment has its length of 1 s\n",
        "continues in gate_005.mp4: the segment has its length of 1 s\n",
    ]


def test_numbers_continue_where_a_file_was_deleted(tmp_path: Path) -> None:
    sink = SegmentedRecordingSink(str(tmp_path / "gate.mp4"), lambda: INFO, CONFIG)
    for index, size in enumerate([(64, 48), (32, 48), (64, 48)]):
        sink.write(output_of(Frame(grey(index, size), index, "gate", index * 0.04)))
        (tmp_path / "gate.mp4").unlink(missing_ok=True)
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gate_002.mp4", "gate_003.mp4"]


def test_time_that_runs_back_begins_another_segment(tmp_path: Path) -> None:
    times_s = [6.0, 6.04, *(index * 0.04 for index in range(50))]
    recorded(tmp_path / "gate.mp4", times_s)
    assert played(tmp_path / "gate.mp4") == pytest.approx([0, 0.04], abs=1e-3)
    assert played(tmp_path / "gate_002.mp4") == pytest.approx(times_s[2:], abs=1e-3)


def test_two_recordings_with_the_same_name_use_different_files(tmp_path: Path) -> None:
    sinks = [SegmentedRecordingSink(str(tmp_path / "gate.mp4"), lambda: INFO, CONFIG) for _ in range(2)]
    for index in range(4):
        for sink in sinks:
            sink.write(output_of(Frame(grey(index), index, "gate", index * 0.04)))
    for sink in sinks:
        sink.close()
    assert [len(played(tmp_path / name)) for name in ("gate.mp4", "gate_002.mp4")] == [4, 4]


def test_the_check_of_the_path_leaves_no_file(tmp_path: Path) -> None:
    for _ in range(2):
        SegmentedRecordingSink(str(tmp_path / "gate.mp4"), lambda: INFO, CONFIG)
        assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_too_long_is_reported_at_the_start_and_a_long_one_gets_numbers(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="name too long"):
        SegmentedRecordingSink(str(tmp_path / f"{'g' * 252}.mp4"), lambda: INFO, CONFIG)
    recorded(tmp_path / f"{'ü' * 125}.mp4", [0, 100])
    assert len([played(path) for path in tmp_path.iterdir()]) == 2
