"""What every source keeps to. A source that is added to `SOURCES` needs a line in `MAKE`."""

from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from maskstream.errors import SourceOpenError
from maskstream.sources import SOURCES
from tests.video_files import every, write_video

MAKE: dict[str, Callable[[Path], str]] = {
    "file": lambda folder: str(write_video(folder / "clip.mp4", every(0.04, 10))),
}
"""Makes something small for each source to read and returns its location."""

each_source = pytest.mark.parametrize("kind", SOURCES)


@each_source
def test_frames_come_in_order_and_the_source_ends(tmp_path: Path, kind: str) -> None:
    with closing(SOURCES[kind](MAKE[kind](tmp_path))) as source:
        frames = list(source)
        assert len(frames) > 1
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert all(before.time_s < after.time_s for before, after in pairwise(frames))
        assert all(before.captured_at_s <= after.captured_at_s for before, after in pairwise(frames))
        assert {(frame.source_id, frame.width, frame.height) for frame in frames} == {
            (source.info.source_id, source.info.width, source.info.height)
        }
        assert all(frame.capture_ms >= 0 and frame.duration_s >= 0 for frame in frames)
        assert all((frame.wall_time is not None) == source.info.live for frame in frames)


@each_source
def test_pictures_are_bgr_bytes_of_their_own(tmp_path: Path, kind: str) -> None:
    with closing(SOURCES[kind](MAKE[kind](tmp_path))) as source:
        first, second = (frame.bgr for frame, _ in zip(source, range(2), strict=False))
    assert first.dtype == second.dtype == np.uint8
    assert first.shape == second.shape == (source.info.height, source.info.width, 3)
    assert first.flags.c_contiguous
    assert not np.shares_memory(first, second)


@each_source
def test_close_twice_before_the_end(tmp_path: Path, kind: str) -> None:
    source = SOURCES[kind](MAKE[kind](tmp_path))
    frames = iter(source)
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


@each_source
def test_close_without_reading(tmp_path: Path, kind: str) -> None:
    source = SOURCES[kind](MAKE[kind](tmp_path))
    source.close()
    assert list(source) == []


@each_source
def test_missing_thing_cannot_be_opened(tmp_path: Path, kind: str) -> None:
    missing = str(tmp_path / "missing.mp4")
    with pytest.raises(SourceOpenError) as caught:
        SOURCES[kind](missing)
    assert missing in str(caught.value)
    assert "\n" not in str(caught.value)
