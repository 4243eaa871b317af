"""What every sink keeps to."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from maskstream.config.loading import load_config
from maskstream.config.schema import VideoConfig
from maskstream.errors import SinkError
from maskstream.events.detector import EventDetector
from maskstream.events.sink import EventSink, JsonlEvents
from maskstream.protocols import Sink
from maskstream.sinks import (
    CsvSink,
    DeferredVideoSink,
    ImageSink,
    JsonlSink,
    ProgressSink,
    SegmentedRecordingSink,
    StatusSink,
    VideoSink,
)
from maskstream.sinks.summary import SummarySink
from maskstream.types import Frame, SourceInfo
from tests.video_files import grey, output_of

INFO = SourceInfo("camera", 64, 48, live=False)
IMAGES = SourceInfo("camera", 64, 48, live=False, path="photos", images=tuple(f"photos/{n}.png" for n in range(3)))

VIDEO = VideoConfig(segment_s=None, crf=23, preset="ultrafast")

SINKS: dict[str, Callable[[Path], Sink]] = {
    "jsonl": lambda folder: JsonlSink(str(folder / "out.jsonl")),
    "csv": lambda folder: CsvSink(str(folder / "out.csv")),
    "status": lambda folder: StatusSink(str(folder / "status.jsonl")),
    "video": lambda folder: VideoSink(str(folder / "out.mp4"), INFO, VIDEO),
    "from the first frame on": lambda folder: DeferredVideoSink(
        str(folder / "out.mp4"), partial(VideoSink, str(folder / "out.mp4"), INFO, VIDEO)
    ),
    "recording": lambda folder: SegmentedRecordingSink(str(folder / "out.mp4"), lambda: INFO, VIDEO),
    "pictures": lambda folder: ImageSink(str(folder), IMAGES),
    "events": lambda folder: EventSink(EventDetector(load_config()), JsonlEvents(str(folder / "events.jsonl"))),
    "summary": lambda folder: SummarySink(str(folder / "summary.json"), EventDetector(load_config())),
    "progress": lambda folder: ProgressSink(Console(file=io.StringIO()), [INFO], None),
}
"""All but the window, which needs a display and is tested with one."""
FILES = {"jsonl": 1, "csv": 1, "status": 1, "video": 1, "from the first frame on": 1, "recording": 1, "pictures": 3}
FILES |= {"events": 1, "summary": 2, "progress": 0}
"""How many each leaves behind."""


def make_frame(index: int) -> Frame:
    return Frame(grey(index), index, "camera", index * 0.04, file=IMAGES.images[index])


each_sink = pytest.mark.parametrize("kind", SINKS)


@each_sink
def test_write_end_and_close_twice(tmp_path: Path, kind: str) -> None:
    sink = SINKS[kind](tmp_path)
    for index in range(3):
        sink.write(output_of(make_frame(index), analysed=index != 1))
    sink.source_ended("camera")
    sink.close()
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    sink.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == left
    assert len(left) == FILES[kind]
    assert all(left.values()) or kind in ("status", "events")


@each_sink
def test_close_without_a_frame(tmp_path: Path, kind: str) -> None:
    sink = SINKS[kind](tmp_path)
    sink.close()
    sink.close()


@each_sink
def test_image_is_left_alone(tmp_path: Path, kind: str) -> None:
    frame = make_frame(2)
    sink = SINKS[kind](tmp_path)
    sink.write(output_of(frame))
    sink.close()
    assert (frame.bgr == grey(2)).all()


@each_sink
def test_says_which_frames_it_wants(tmp_path: Path, kind: str) -> None:
    sink = SINKS[kind](tmp_path)
    assert sink.wants_every_frame is (kind in ("video", "recording", "from the first frame on"))
    sink.close()


@pytest.mark.parametrize("kind", sorted(SINKS.keys() - {"progress"}))
def test_unwritable_place(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError) as caught:
        SINKS[kind](tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b""


@each_sink
def test_a_source_that_was_added_and_gave_no_frame_may_end(tmp_path: Path, kind: str) -> None:
    sink = SINKS[kind](tmp_path)
    sink.source_ended("another")
    sink.close()
