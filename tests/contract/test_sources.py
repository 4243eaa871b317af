"""What every source keeps to. A source that is added to `SOURCES` needs a line in `CASES`."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskstream import load_config
from maskstream.config.schema import Config
from maskstream.errors import SourceOpenError, StreamLost
from maskstream.protocols import Source
from maskstream.sources import SOURCES, source_kind
from maskstream.sources.url_opening import open_url
from maskstream.sources.webcam import WebcamSource
from maskstream.types import Frame
from tests.servers import content, http_server, images, jpeg, mjpeg
from tests.slowness import LONGEST_S
from tests.sources.test_webcam import FakeDevice
from tests.video_files import every, grey, write_video

COUNT = 10


@dataclass(frozen=True)
class Case:
    kind: str
    """Key in `SOURCES`."""
    prepare: Callable[[Path, ExitStack], str]
    """Makes something small to read, `COUNT` frames, and returns its location."""
    missing: str
    """Where nothing is."""
    ends: bool = True
    """Whether its end is ordinary, and not a loss."""
    open: Callable[[str, Config], Source] | None = None
    """Opens it where that needs more than `SOURCES`."""


def make_clip(folder: Path, _: ExitStack) -> str:
    return str(write_video(folder / "clip.mp4", every(0.04, COUNT)))


def feed_pipe(folder: Path, running: ExitStack) -> str:
    clip, pipe = Path(make_clip(folder, running)).read_bytes(), folder / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with suppress(BrokenPipeError), pipe.open("wb", 0) as file:
            file.write(clip)

    threading.Thread(target=write, daemon=True).start()
    return str(pipe)


def make_images(folder: Path, _: ExitStack) -> str:
    for index in range(COUNT):
        cv2.imwrite(str(folder / f"{index}.png"), grey(index))
    return str(folder)


def serve_clip(folder: Path, running: ExitStack) -> str:
    clip = Path(make_clip(folder, running)).read_bytes()
    return running.enter_context(http_server({"/clip.mp4": content(clip, "video/mp4")})) + "/clip.mp4"


def serve_camera(_: Path, running: ExitStack) -> str:
    return running.enter_context(http_server({"/camera": mjpeg(frames=COUNT)})) + "/camera"


def serve_snapshots(_: Path, running: ExitStack) -> str:
    return running.enter_context(http_server({"/snapshot": images(map(jpeg, range(COUNT)))})) + "/snapshot"


def open_quickly(location: str, config: Config) -> Source:
    return open_url(location, config.network.model_copy(update={"snapshot_s": 0.02}))


def open_webcam(location: str, config: Config) -> Source:
    device = FakeDevice([grey(index) for index in range(COUNT)])
    return WebcamSource(int(location), config.webcam, open_device=lambda _: device)


CASES = {
    "file": Case("file", make_clip, "missing.mp4"),
    "pipe": Case("pipe", feed_pipe, "missing"),
    "images": Case("images", make_images, "missing.jpg"),
    "video on a server": Case("url", serve_clip, "http://127.0.0.1:9/missing.mp4"),
    "camera on a server": Case("url", serve_camera, "rtsp://127.0.0.1:9/missing"),
    "snapshots of a camera": Case("url", serve_snapshots, "https://127.0.0.1:9/missing.jpg", ends=False, open=open_quickly),
    "webcam": Case("webcam", lambda *_: "0", "97", ends=False, open=open_webcam),
}


def test_every_source_is_here() -> None:
    assert {case.kind for case in CASES.values()} == SOURCES.keys()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def opened(case: Case, tmp_path: Path) -> Iterator[Callable[[], Source]]:
    """Opens the source of a case."""
    with ExitStack() as running:
        location = case.prepare(tmp_path, running)
        assert source_kind(location) == case.kind
        config = load_config()
        yield partial(case.open, location, config) if case.open else partial(SOURCES[case.kind], location, location, config)


def test_frames_come_in_order(case: Case, opened: Callable[[], Source]) -> None:
    with closing(opened()) as source:
        frames = list(islice(source, COUNT))
    assert len(frames) > 1
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert {frame.source_id for frame in frames} == {source.info.source_id}
    assert all(before.captured_at_s <= after.captured_at_s <= time.monotonic() for before, after in pairwise(frames))
    assert all(frame.capture_ms >= 0 and frame.duration_s >= 0 for frame in frames)
    assert all((frame.wall_time is not None) == source.info.live for frame in frames)
    assert all((frame.file is not None) == bool(source.info.images) for frame in frames)
    if source.info.images:
        assert {frame.time_s for frame in frames} == {0.0}
    else:
        assert all(before.time_s < after.time_s for before, after in pairwise(frames))


def test_images_are_bgr_bytes_of_their_own(opened: Callable[[], Source]) -> None:
    with closing(opened()) as source:
        first, second = (frame.bgr for frame in islice(source, 2))
    assert first.dtype == second.dtype == np.uint8
    assert first.shape == second.shape == (source.info.height, source.info.width, 3)
    assert first.flags.c_contiguous
    assert not np.shares_memory(first, second)


def test_it_ends_and_stays_at_its_end(case: Case, opened: Callable[[], Source]) -> None:
    with closing(opened()) as source:
        frames = iter(source)
        with nullcontext() if case.ends else pytest.raises(StreamLost):
            assert COUNT - 2 <= len(list(frames)) <= COUNT  # a camera may have begun before
        assert list(frames) == []


def test_close_twice_before_the_end(opened: Callable[[], Source]) -> None:
    source = opened()
    frames = iter(source)
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


def test_close_without_reading(opened: Callable[[], Source]) -> None:
    source = opened()
    source.close()
    assert list(source) == []


def test_close_while_another_thread_reads(opened: Callable[[], Source]) -> None:
    source = opened()
    read: list[Frame] = []
    reader = threading.Thread(target=lambda: read.extend(source))
    reader.start()
    time.sleep(0.05)
    source.close()
    reader.join(LONGEST_S)
    assert not reader.is_alive()


def test_missing_thing_cannot_be_opened(case: Case) -> None:
    with pytest.raises(SourceOpenError) as caught:
        SOURCES[case.kind](case.missing, case.missing, load_config())
    assert case.missing in str(caught.value)
    assert "\n" not in str(caught.value)
