"""The webcam source with a simulated device; one test uses OpenCV's."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import cv2
import numpy as np
import pytest

from maskstream.config.schema import VideoConfig, WebcamConfig
from maskstream.errors import SourceOpenError, StreamLost
from maskstream.sources.webcam import WebcamSource
from maskstream.types import BgrImage
from tests.slowness import LONGEST_S
from tests.video_files import BLUE, RED, combing, grey, grey_index, plain, woven

CONFIG = WebcamConfig(width=640, height=480, fps=30, mirror=False)
STEP_S = 0.01


class FakeDevice:
    """A `cv2.VideoCapture` with a list of frames; None is a read that fails."""

    def __init__(self, images: Sequence[BgrImage | None], *, opened: bool = True, fps: float = 30.0) -> None:
        self.images = list(images)
        self.opened = opened
        self.fps = fps
        self.asked: list[tuple[int, float]] = []
        self.released = 0
        self.reading = False

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.opened

    def set(self, prop: int, value: float) -> bool:
        self.asked.append((prop, value))
        return True

    def get(self, prop: int) -> float:
        return {cv2.CAP_PROP_FPS: self.fps}[prop]

    def read(self) -> tuple[bool, BgrImage | None]:
        assert not self.released, "read after release: OpenCV would crash"
        self.reading = True
        time.sleep(STEP_S)
        self.reading = False
        image = self.images.pop(0) if self.images else None
        return image is not None, image

    def release(self) -> None:
        assert not self.reading, "released in mid-read: OpenCV would crash"
        self.released += 1


def open_fake(device: FakeDevice, config: WebcamConfig = CONFIG, index: int = 0) -> WebcamSource:
    opened: list[int] = []

    def open_device(number: int) -> FakeDevice:
        opened.append(number)
        return device

    source = WebcamSource(index, config, open_device=open_device)
    assert opened == [index]
    return source


def test_times_count_from_the_opening() -> None:
    device = FakeDevice([grey(index) for index in range(5)])
    before = datetime.now(UTC)
    with closing(open_fake(device)) as source:
        frames = list(islice(source, 5))
    assert [grey_index(frame.bgr) for frame in frames] == [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert all(after.time_s - before.time_s >= STEP_S for before, after in pairwise(frames))
    assert frames[0].time_s < 1
    assert all(before <= frame.wall_time <= before + timedelta(seconds=10) for frame in frames)
    assert all(abs(frame.captured_at_s - time.monotonic()) < 10 and frame.capture_ms >= STEP_S * 1000 for frame in frames)
    assert (source.info.source_id, source.info.width, source.info.height, source.info.live) == ("0", 64, 48, True)
    assert source.info.average_fps == 30


def test_mjpg_is_requested_before_size_and_rate() -> None:
    device = FakeDevice([grey(0)])
    open_fake(device, WebcamConfig(width=800, height=None, fps=15, mirror=False)).close()
    mjpg = int.from_bytes(b"MJPG", "little")
    size_and_rate = [(cv2.CAP_PROP_FRAME_WIDTH, 800), (cv2.CAP_PROP_FPS, 15), (cv2.CAP_PROP_BUFFERSIZE, 1)]
    assert device.asked == [(cv2.CAP_PROP_FOURCC, mjpg), *size_and_rate]


@pytest.mark.parametrize(("mirror", "left_bgr"), [(False, RED), (True, BLUE)])
def test_mirror_swaps_left_and_right(mirror: bool, left_bgr: tuple[int, int, int]) -> None:
    image = np.hstack([plain(RED), plain(BLUE)])
    with closing(open_fake(FakeDevice([image]), CONFIG.model_copy(update={"mirror": mirror}))) as source:
        bgr = next(iter(source)).bgr
    assert tuple(bgr[0, 0]) == left_bgr
    assert bgr.flags.c_contiguous


def test_waiting_for_a_webcam_that_starts_slowly() -> None:
    with closing(open_fake(FakeDevice([None, None, grey(7)]))) as source:
        frame = next(iter(source))
    assert (frame.index, grey_index(frame.bgr)) == (0, 7)


def test_a_damaged_frame_is_skipped() -> None:
    with closing(open_fake(FakeDevice([grey(0), None, None, grey(1), None, grey(2)]))) as source:
        frames = list(islice(source, 3))
    assert [grey_index(frame.bgr) for frame in frames] == [frame.index for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_an_invalid_rate_is_unknown(fps: float) -> None:
    source = open_fake(FakeDevice([grey(0)], fps=fps))
    source.close()
    assert source.info.average_fps is None


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (lambda: FakeDevice([], opened=False), "webcam 97: it does not exist"),
        (lambda: FakeDevice([]), "webcam 97: opened, but sends no frame"),
    ],
)
def test_a_device_that_does_not_work(monkeypatch: pytest.MonkeyPatch, device: Callable[[], FakeDevice], said: str) -> None:
    monkeypatch.setattr("maskstream.sources.webcam._FIRST_FRAME_S", 0.05)
    made = device()
    with pytest.raises(SourceOpenError, match=said):
        open_fake(made, index=97)
    assert made.released == 1


def test_a_webcam_that_is_unplugged_is_lost() -> None:
    source = open_fake(FakeDevice([grey(0), grey(1)]))
    frames = iter(source)
    assert [next(frames).index, next(frames).index] == [0, 1]
    with pytest.raises(StreamLost, match="0: the webcam sends no more frames"):
        next(frames)
    source.close()


def test_close_waits_for_the_read_in_another_thread() -> None:
    device = FakeDevice([grey(0)] * 1000)
    source = open_fake(device)
    reader = threading.Thread(target=lambda: list(source))
    reader.start()
    time.sleep(5 * STEP_S)
    source.close()
    reader.join(LONGEST_S)
    assert not reader.is_alive()
    assert device.released == 1


def test_the_real_opener_logs_nothing_for_a_missing_device(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceOpenError, match="webcam 97: it does not exist"):
        WebcamSource(97, CONFIG)
    assert capfd.readouterr() == ("", "")


def test_pixel_aspect_and_interlacing_come_from_the_settings() -> None:
    images = [woven(index) for index in range(8)]
    video = VideoConfig(segment_s=None, crf=23, preset="veryfast", deinterlace=True, pixel_aspect=2.0)
    mirrored = CONFIG.model_copy(update={"mirror": True})
    with closing(WebcamSource(0, mirrored, open_device=lambda _: FakeDevice(images), video=video)) as source:
        assert (source.info.width, source.info.height) == (320, 120)
        frames = list(islice(source, 6))
    assert [frame.index for frame in frames] == list(range(6))
    assert all(after.time_s - before.time_s >= STEP_S / 2 for before, after in pairwise(frames))
    assert max(combing(frame.bgr) for frame in frames) < 0.2 < min(combing(image) for image in images)
    for frame, image in zip(frames, images, strict=False):
        assert np.abs(frame.bgr[::2].astype(int) - cv2.resize(image, (320, 120))[::2, ::-1]).mean() < 3
