"""A video has every frame in order and at its own time, for all sequences of frame times."""

from contextlib import closing
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskstream.config.schema import VideoConfig
from maskstream.sinks import VideoSink
from maskstream.sinks.segmented_recording import SegmentedRecordingSink
from maskstream.sources import FileSource
from maskstream.types import Frame, SourceInfo
from tests.properties import examples
from tests.video_files import output_of

CONFIG = VideoConfig(segment_s=None, crf=40, preset="ultrafast")
NEAR_S = 0.0015
"""An MP4 states its beginning in milliseconds."""
DURATION_S = 0.04
LARGEST_UNIT_S = 0.001
"""A frame with the time of the previous one is shown after this time."""
HOUR_S = 3600.0

# Of files: Matroska's, those of MP4s by cameras, phones, Windows and FFmpeg, and AVI's; and of sources without one.
TIME_BASES = st.none() | st.sampled_from(
    [Fraction(1, base) for base in (600, 1000, 12_800, 15_360, 30_000, 90_000, 1_000_000, 10_000_000, 1_000_000_000)]
    + [Fraction(1, 25), Fraction(1001, 30_000), Fraction(1001, 24_000), Fraction(1, 1)]
)
FPS = st.none() | st.sampled_from([25.0, 30_000 / 1001, 0.0001, 0.1, 1.0, 240.0, 1000.0, 90_000.0])


@st.composite
def times(draw: st.DrawFn) -> list[float]:
    """Seconds: even, uneven, repeated, running back, with gaps, in any mixture."""
    fps = draw(st.sampled_from([0.2, 1.0, 12.5, 25.0, 29.97, 60.0, 240.0]))
    steps = st.one_of(
        st.just(1 / fps),
        st.floats(0.5 / fps, 1.5 / fps),
        st.sampled_from([0.0, 1e-7, 1e-4, -1e-3, -0.37, -10.0, 10.0, 60.0, HOUR_S]),
    )
    start_s = draw(st.sampled_from([0.0, 0.0, 0.04, 0.8, 12.0, HOUR_S]))
    return [max(0.0, time_s) for time_s in accumulate(draw(st.lists(steps, max_size=11)), initial=start_s)]


def frames(times_s: list[float], size: tuple[int, int] = (32, 16)) -> list[Frame]:
    width, height = size
    return [
        Frame(np.full((height, width, 3), 20 * index % 256, np.uint8), index, "door", time_s, DURATION_S)
        for index, time_s in enumerate(times_s)
    ]


def read(path: Path) -> tuple[list[float], float]:
    """Return the time of each frame of a video, and when the last one ends, in seconds."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        shown = [float(frame.pts * frame.time_base) for frame in container.decode(stream)]
        return shown, float((stream.start_time + stream.duration) * stream.time_base)


def expected(times_s: list[float]) -> list[float]:
    """Return the expected times. A clock that runs back a little stops, and one that begins again continues."""
    shown_s = times_s[:1]
    moved_s = 0.0
    for time_s in times_s[1:]:
        last_s = shown_s[-1]
        at_s = time_s if time_s > last_s else time_s + moved_s
        if at_s < last_s - 1:
            at_s = last_s + DURATION_S
            moved_s = at_s - time_s
        shown_s.append(max(at_s, last_s))
    return shown_s


@examples(0.6)
@given(times_s=times(), time_base=TIME_BASES, fps=FPS)
@example(times_s=[0.0, HOUR_S, HOUR_S + 0.04], time_base=None, fps=None)
@example(times_s=[0.0, HOUR_S, HOUR_S + 0.04], time_base=Fraction(1, 10_000_000), fps=25.0)
@example(times_s=[0.0, 0.04, 0.08], time_base=Fraction(1, 1000), fps=0.0001)
def test_every_frame_is_written_in_order_at_its_time(
    tmp_path_factory: pytest.TempPathFactory, times_s: list[float], time_base: Fraction | None, fps: float | None
) -> None:
    path = tmp_path_factory.mktemp("video") / "out.mp4"
    info = SourceInfo("door", 32, 16, live=False, average_fps=fps, time_base=time_base, duration_s=max(times_s) + DURATION_S)
    with closing(VideoSink(str(path), info, CONFIG)) as sink:
        for frame in frames(times_s):
            sink.write(output_of(frame))
        sink.source_ended("door")
    shown_s, end_s = read(path)
    assert len(shown_s) == len(times_s)
    assert all(after > before for before, after in pairwise(shown_s))
    pressed = sum(after - before < LARGEST_UNIT_S for before, after in pairwise(expected(times_s)))
    assert shown_s == pytest.approx(expected(times_s), abs=NEAR_S + pressed * LARGEST_UNIT_S)
    assert end_s == pytest.approx(shown_s[-1] + DURATION_S, abs=2 * NEAR_S)


@examples(0.4)
@given(
    steps_s=st.lists(st.sampled_from([0.04, 0.04, 0.1, 1.0, 59.0, 61.0, 4000.0, 0.0]), max_size=8),
    sizes=st.lists(st.sampled_from([(32, 16), (32, 16), (16, 32), (33, 17)]), min_size=9, max_size=9),
    segment_s=st.sampled_from([None, 1.0, 60.0]),
)
def test_the_segments_of_a_recording_have_every_frame_at_its_time(
    tmp_path_factory: pytest.TempPathFactory, steps_s: list[float], sizes: list[tuple[int, int]], segment_s: float | None
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    times_s = list(accumulate(steps_s, initial=100.0))
    config = CONFIG.model_copy(update={"segment_s": segment_s})
    info = SourceInfo("door", 0, 0, live=True)
    with closing(SegmentedRecordingSink(str(folder / "out.mp4"), lambda: info, config)) as sink:
        for time_s, size in zip(times_s, sizes, strict=False):
            sink.write(output_of(frames([time_s], size)[0]))
    shown_s = []
    for path in sorted(folder.iterdir()):
        own_s, _ = read(path)
        assert own_s[0] == 0
        began_s = times_s[len(shown_s)]
        shown_s += [began_s + each_s for each_s in own_s]
    assert shown_s == pytest.approx(times_s, abs=NEAR_S)


JUMPS_S = st.sampled_from(
    [DURATION_S, DURATION_S, DURATION_S, 0.0, -0.02, -5.0, 11.0, 90.0, -90.0, 10 * HOUR_S, -10 * HOUR_S, 1e9]
)
SLOT_S = 0.02
"""Half a frame: an AVI has no other times."""


@examples(0.4)
@given(steps_s=st.lists(JUMPS_S, max_size=14), suffix=st.sampled_from(["mp4", "mov", "mkv", "webm", "avi"]))
@example(steps_s=[0.04, 36_000.0, 0.04, 0.0, -36_000.0, 0.04], suffix="mkv")
@example(steps_s=[1e9, 0.04, -1e9, 0.04], suffix="avi")
@example(steps_s=[1e9, 0.04, -1e9, 0.04], suffix="webm")
def test_for_every_clock_all_frames_are_written_and_the_video_is_not_much_longer_than_its_source(
    tmp_path_factory: pytest.TempPathFactory, steps_s: list[float], suffix: str
) -> None:
    times_s = list(accumulate(steps_s, initial=0.0))
    path = tmp_path_factory.mktemp("video") / f"out.{suffix}"
    info = SourceInfo("door", 32, 16, live=False, average_fps=25.0, start_s=0.0)
    with closing(VideoSink(str(path), info, CONFIG)) as sink:
        for frame in frames(times_s):
            sink.write(output_of(frame))
        sink.source_ended("door")
    with closing(FileSource(str(path))) as source:
        shown_s = [frame.time_s for frame in source]
    assert len(shown_s) == len(times_s)
    assert all(after > before for before, after in pairwise(shown_s))
    believed_s = sum(abs(step_s) for step_s in steps_s if abs(step_s) <= HOUR_S)
    assert shown_s[-1] - shown_s[0] <= believed_s + (DURATION_S + SLOT_S) * len(times_s) + 1
