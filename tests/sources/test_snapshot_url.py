"""Cameras that send one image per request, and images on a server, from real servers."""

import json
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskstream.config.loading import load_config
from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceOpenError, SourceRefused, StreamLost
from maskstream.sources import ReconnectingSource, ReconnectPolicy, SnapshotSource, UrlImageSource, UrlOpener, UrlSource
from maskstream.sources.url_opening import open_url
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceState, StateChange
from tests.certificates import self_signed
from tests.clocks import HastyClock, ManualClock
from tests.servers import (
    LOGIN,
    Answer,
    Request,
    content,
    http_server,
    images,
    jpeg,
    locked,
    locked_by_digest,
    mjpeg,
    silent_server,
    status,
)
from tests.slowness import LONGEST_S
from tests.video_files import every, four_corners, grey_index, write_video

pytestmark = pytest.mark.usefixtures("log_without_secrets")


def network(**changes: object) -> NetworkConfig:
    return NetworkConfig.model_validate(load_config().network.model_dump() | {"max_reconnects": 0} | changes)


EVERY_SECOND = network(snapshot_s=1)
QUICK = network(snapshot_s=0.02)


def endless() -> Answer:
    return images(map(jpeg, count()))


def in_turn(*answers: Answer) -> Answer:
    """Answer each request differently; the last answer repeats."""
    left = list(answers)
    return lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


def camera(url: str, config: NetworkConfig = EVERY_SECOND, clock: ManualClock | None = None) -> SnapshotSource:
    return SnapshotSource(url, config, clock=clock or ManualClock())


def test_a_url_that_gives_an_image_is_a_camera_whatever_it_calls_it() -> None:
    for kind in ("image/jpeg", "text/plain", "application/octet-stream", "video/mp4"):
        with http_server({"/cgi-bin/snap": images(map(jpeg, count()), kind)}) as address:
            with closing(open_url(f"{address}/cgi-bin/snap?chn=1", QUICK)) as source:
                frames = list(islice(source, 5))
            assert type(source) is SnapshotSource
            assert [grey_index(frame.bgr) for frame in frames] == [0, 1, 2, 3, 4]
            assert (source.info.width, source.info.height, source.info.live, source.info.average_fps) == (160, 120, True, 50)
            assert all(frame.wall_time for frame in frames)
            assert frames[4].wall_time - frames[0].wall_time >= timedelta(seconds=0.06)


def test_an_image_is_requested_once_with_its_exact_url() -> None:
    """The URL is not changed, no range is requested, and the image received at opening is the first frame."""
    asked: list[tuple[str, str | None]] = []

    def answer(request: Request) -> None:
        asked.append((request.path, request.headers.get("Range")))
        content(jpeg(len(asked)), "image/jpeg")(request)

    with http_server({"/snap": answer}) as address, closing(open_url(f"{address}/snap?a=1&b=%20", QUICK)) as source:
        assert len(asked) == 1
        assert [grey_index(frame.bgr) for frame in islice(source, 3)] == [1, 2, 3]
    assert {path for path, _ in asked} == {"/snap?a=1&b=%20"}
    assert {part for _, part in asked} <= {None, "bytes=0-"}


@pytest.mark.parametrize("headers", [{"Transfer_Encoding": "identity"}, {"Connection": "close"}])
def test_an_image_without_a_stated_length(headers: dict[str, str]) -> None:
    with http_server({"/snap": images(map(jpeg, count()), **headers)}) as address:
        with closing(open_url(f"{address}/snap", QUICK)) as source:
            assert [grey_index(frame.bgr) for frame in islice(source, 3)] == [0, 1, 2]
        assert type(source) is SnapshotSource


def test_an_image_after_which_the_connection_stays_open() -> None:
    """It states neither its length nor that it is complete."""
    good = count()

    def answer(request: Request) -> None:
        request.start(200, Content_Type="image/jpeg")
        request.wfile.write(jpeg(next(good)))
        request.end("silence")

    with http_server({"/snap": answer}) as address, closing(open_url(f"{address}/snap", network(read_timeout_s=1))) as source:
        assert type(source) is SnapshotSource
        assert [grey_index(frame.bgr) for frame in islice(source, 1)] == [0]
    assert source.damaged == 0


def test_a_photo_with_another_one_after_its_end() -> None:
    """Some cameras put a preview there. A clip has another name."""
    both = content(jpeg(4) + jpeg(5), "application/octet-stream")
    with http_server({"/photo.JPG": both, "/clip.mjpeg": both}) as address:
        with closing(UrlImageSource(f"{address}/photo.JPG?x=.y", EVERY_SECOND)) as source:
            assert [grey_index(frame.bgr) for frame in source] == [4]
        with closing(open_url(f"{address}/clip.mjpeg", QUICK)) as source:
            assert [grey_index(frame.bgr) for frame in source] == [4, 5]


def test_a_stream_of_images_is_not_a_snapshot(tmp_path: Path) -> None:
    def bare(request: Request) -> None:
        request.start(200, Content_Type="image/jpeg")
        for index in range(12):
            request.wfile.write(jpeg(index))

    clip = write_video(tmp_path / "clip.mp4", every(0.04, 3))
    answers = {"/mjpeg.jpg": mjpeg(frames=12), "/bare.jpg": bare, "/clip.jpg": content(clip.read_bytes(), "image/jpeg")}
    with http_server(answers) as address:
        for path, frames in (("/mjpeg.jpg", 12), ("/bare.jpg", 12), ("/clip.jpg", 3)):
            with closing(open_url(address + path, QUICK)) as source:
                assert type(source) is UrlSource
                assert [grey_index(frame.bgr) for frame in source] == [index % 11 for index in range(frames)]
            assert source.info.live == (path != "/clip.jpg")


def test_the_schedule_does_not_drift() -> None:
    clock = ManualClock()
    with http_server({"/snap": taking(clock, 0.25)}) as address, closing(camera(f"{address}/snap", clock=clock)) as source:
        frames = list(islice(source, 5))
    assert [frame.time_s for frame in frames] == pytest.approx([0.25, 1.25, 2.25, 3.25, 4.25])
    assert [frame.duration_s for frame in frames] == [1] * 5
    assert clock.waits_s == pytest.approx([0.75] * 4)


def test_times_that_a_slow_camera_misses_are_skipped() -> None:
    clock = ManualClock()
    with (
        http_server({"/snap": taking(clock, 0.1, 0.1, 2.5, 0.1)}) as address,
        closing(camera(f"{address}/snap", clock=clock)) as source,
    ):
        frames = list(islice(source, 5))
    assert [frame.time_s for frame in frames] == pytest.approx([0.1, 1.1, 4.5, 5.1, 6.1])
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]


def test_an_interval_of_a_tenth_of_a_second_causes_no_double_request() -> None:
    """0.7 / 0.1 is less than 7."""
    clock = ManualClock()
    with (
        http_server({"/snap": endless()}) as address,
        closing(camera(f"{address}/snap", network(snapshot_s=0.1), clock)) as source,
    ):
        times_s = [frame.time_s for frame in islice(source, 40)]
    assert times_s == pytest.approx([index / 10 for index in range(40)])


def taking(clock: ManualClock, *seconds: float) -> Answer:
    """Answer after each delay in turn, the last one repeating, with a clock that advances only by them."""
    left, image = list(seconds), endless()

    def answer(request: Request) -> None:
        clock.advance(left.pop(0) if len(left) > 1 else left[0])
        image(request)

    return answer


def test_a_first_image_that_waited_for_the_models_is_requested_again() -> None:
    clock = ManualClock()
    with (
        http_server({"/snap": endless()}) as address,
        closing(camera(f"{address}/snap", network(snapshot_s=60), clock)) as source,
    ):
        clock.advance(5)
        frames = list(islice(source, 2))
    assert [grey_index(frame.bgr) for frame in frames] == [1, 2]
    assert [(frame.index, frame.time_s) for frame in frames] == [(0, 5), (1, 65)]


def test_the_same_image_again_is_another_frame() -> None:
    with http_server({"/snap": content(jpeg(3), "image/jpeg")}) as address, closing(camera(f"{address}/snap")) as source:
        assert [(frame.index, grey_index(frame.bgr)) for frame in islice(source, 3)] == [(0, 3), (1, 3), (2, 3)]


FAILURES: dict[str, Answer] = {
    "cut short": lambda request: content(jpeg(1), "image/jpeg", cut_at=300)(request),
    "cut short, of unknown length": lambda request: images([jpeg(1)[:300]], Connection="close")(request),
    "empty": content(b"", "image/jpeg"),
    "a page": content(b"<html>busy</html>" * 10, "text/html"),
    "broken": status(503),
    "reset": content(jpeg(1), "image/jpeg", cut_at=300, ending="reset"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_image_is_counted_and_the_next_one_requested(name: str) -> None:
    good = endless()
    with http_server({"/snap": in_turn(good, FAILURES[name], good)}) as address, closing(camera(f"{address}/snap")) as source:
        frames = list(islice(source, 3))
    assert [(frame.index, frame.time_s) for frame in frames] == [(0, 0), (1, 2), (2, 3)]
    assert source.damaged == 1


@pytest.mark.parametrize("name", FAILURES)
def test_a_camera_that_keeps_failing_is_lost(name: str) -> None:
    clock = ManualClock()
    with (
        http_server({"/snap": in_turn(endless(), FAILURES[name])}) as address,
        closing(camera(f"{address}/snap", network(snapshot_s=1, read_timeout_s=3), clock)) as source,
    ):
        frames = iter(source)
        next(frames)
        with pytest.raises(StreamLost, match=r"/snap: lost: ") as lost:
            next(frames)
    assert (source.damaged, clock.now_s()) == (4, 1004)
    assert "\n" not in str(lost.value)


@pytest.mark.parametrize(("code", "why"), [(401, "password is missing or wrong"), (404, "the path does not exist")])
def test_a_camera_that_refuses_is_lost_at_once(code: int, why: str) -> None:
    """Cameras lock a client that sends a wrong password repeatedly."""
    with http_server({"/snap": in_turn(endless(), status(code))}) as address, closing(camera(f"{address}/snap")) as source:
        frames = iter(source)
        next(frames)
        with pytest.raises(StreamLost, match=why):
            next(frames)
    assert source.damaged == 1
    with http_server({"/snap": status(code)}) as address, pytest.raises(SourceRefused, match=why):
        open_url(f"{address}/snap", EVERY_SECOND)


def test_a_silent_camera_is_lost_in_time() -> None:
    with (
        http_server({"/snap": in_turn(endless(), content(jpeg(1), "image/jpeg", cut_at=100, ending="silence"))}) as address,
        closing(SnapshotSource(f"{address}/snap", network(snapshot_s=0.05, read_timeout_s=0.3))) as source,
    ):
        frames = iter(source)
        next(frames)
        with pytest.raises(StreamLost, match=r"no frame within 0\.3 s"):
            next(frames)


def test_a_camera_that_never_answers() -> None:
    with silent_server() as host, pytest.raises(SourceOpenError, match=r"no frame within 0\.2 s"):
        SnapshotSource(f"http://{host}/snap", network(open_timeout_s=0.2))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"max_megapixels": 0.01},
            "it has 160x120 pixels, more than 0.01 megapixels; scale it down, or raise network.max_megapixels",
        ),
        ({"max_frame_mb": 0.0005}, "more than 0.0005 MB arrived without a frame"),
    ],
)
def test_limits(changes: dict[str, float], why: str) -> None:
    with http_server({"/snap": endless()}) as address:
        for snapshot_s in (1, 0):
            with pytest.raises(SourceRefused, match=why):
                open_url(f"{address}/snap", network(snapshot_s=snapshot_s, **changes))


def test_an_unreadable_image_is_reported() -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
    with http_server({"/snap": content(heic, "image/heic"), "/cut": content(jpeg(1)[:300], "image/jpeg")}) as address:
        with pytest.raises(SourceRefused, match=r"/snap: HEIC is not read; convert it to JPEG"):
            open_url(f"{address}/snap", EVERY_SECOND)
        with pytest.raises(SourceOpenError, match=r"/cut: it is truncated") as caught:
            open_url(f"{address}/cut", EVERY_SECOND)
    assert not isinstance(caught.value, SourceRefused)  # the next one may be whole


@pytest.mark.parametrize("lock", [locked, locked_by_digest])
def test_login_with_every_request(lock: Callable[[Answer], Answer]) -> None:
    with http_server({"/snap.jpg": lock(endless())}) as address:
        url = address.replace("://", f"://{LOGIN}") + "/snap.jpg"
        with closing(open_url(url, QUICK)) as source:
            assert [grey_index(frame.bgr) for frame in islice(source, 3)] == [0, 1, 2]
            assert source.info.source_id == f"{address}/snap.jpg".replace("://", "://***@")
        with pytest.raises(SourceRefused, match=r"\(401\)"):
            open_url(f"{address}/snap.jpg", QUICK)


def test_encrypted(system_tool: Callable[[str], str], tmp_path: Path) -> None:
    system_tool("openssl")
    with http_server({"/snap": endless()}, self_signed(tmp_path / "camera.pem")) as address:
        with closing(open_url(f"{address.replace('https', 'HTTPS')}/snap", network(verify_tls=False, snapshot_s=0.02))) as source:
            assert [grey_index(frame.bgr) for frame in islice(source, 3)] == [0, 1, 2]
        for known in (None, open_url):
            with pytest.raises(SourceRefused, match="certificate"):
                (known or UrlImageSource)(f"{address}/snap", QUICK)


def test_redirects_are_followed_by_each_request() -> None:
    with (
        http_server({"/snap": status(302, Location="/now"), "/now": endless()}) as address,
        closing(open_url(f"{address}/snap", QUICK)) as source,
    ):
        assert [grey_index(frame.bgr) for frame in islice(source, 3)] == [0, 1, 2]


def test_pixels_that_are_not_square() -> None:
    video = load_config().video.model_copy(update={"pixel_aspect": 2.0})
    with http_server({"/snap": endless()}) as address, closing(open_url(f"{address}/snap", QUICK, video=video)) as source:
        assert (source.info.width, source.info.height) == (320, 120)


def test_close_ends_the_waiting_at_once() -> None:
    with http_server({"/snap": endless()}) as address:
        source = SnapshotSource(f"{address}/snap", network(snapshot_s=3600))
        frames: list[int] = []
        reader = threading.Thread(target=lambda: frames.extend(frame.index for frame in source))
        reader.start()
        source.close()
        source.close()
        reader.join(LONGEST_S)
        assert not reader.is_alive()


def test_a_lost_camera_is_opened_again_and_logged_once(log_without_secrets: list[str]) -> None:
    """Its time and its index continue."""
    changes: list[StateChange] = []
    good = endless()
    answers = [good, good, status(404), status(404), good]
    with http_server({"/snap": in_turn(*answers)}) as address:
        policy = ReconnectPolicy(None, refusal_ends=True)
        statuses = SourceStates().status("gate")
        opener = UrlOpener(f"{address}/snap", "gate", QUICK, clock=ManualClock())
        source = ReconnectingSource("gate", opener, policy, statuses, HastyClock(1000))
        with closing(source):
            frames = list(islice(source, 4))
        changes.append(statuses.last)
    assert [(frame.index, grey_index(frame.bgr)) for frame in frames] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert [frame.connection for frame in frames] == [1, 1, 2, 2]
    assert source.damaged == 1
    assert changes[0].state is SourceState.ONLINE
    assert sum("sends one image per request; requesting one every 0.02 s" in line for line in log_without_secrets) == 1


# One image


def test_with_an_interval_of_0_an_image_is_read_once() -> None:
    with http_server({"/cover": images([jpeg(4)])} | {"/locked": locked(images([jpeg(5)]))}) as address:
        with closing(open_url(f"{address}/cover", network(snapshot_s=0), "cover")) as source:
            (frame,) = source
            assert list(source) == []
        info = source.info
        assert (info.source_id, info.live, info.frame_count, info.images) == ("cover", False, 1, (f"{address}/cover",))
        assert (grey_index(frame.bgr), frame.index, frame.time_s, frame.file) == (4, 0, 0, f"{address}/cover")
        url = address.replace("://", f"://{LOGIN}") + "/locked"
        with closing(UrlImageSource(url, EVERY_SECOND)) as source:
            (frame,) = source
        assert frame.file == frame.source_id == f"{address}/locked".replace("://", "://***@")


def test_an_image_is_upright_and_further_ones_are_logged(tmp_path: Path, log_without_secrets: list[str]) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(four_corners((64, 32))[..., ::-1]).save(tmp_path / "a.jpg", quality=95, exif=exif)
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    files = {name: content((tmp_path / name[1:]).read_bytes(), "text/plain") for name in ("/a.jpg", "/a.tif")}
    with http_server(files) as address:
        with closing(UrlImageSource(f"{address}/a.jpg", EVERY_SECOND)) as source:
            (frame,) = source
        assert frame.bgr.shape == (64, 32, 3)
        assert np.abs(frame.bgr.astype(int) - np.rot90(four_corners((64, 32)), -1)).mean() < 5
        UrlImageSource(f"{address}/a.tif", EVERY_SECOND)
    assert (
        sum("/a.tif: the file has 2 images or pages, and only the first is classified" in line for line in log_without_secrets)
        == 1
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            content(b"<!doctype html><title>Log in</title>" * 50, "image/jpeg"),
            "sends a web page; give the address of the image itself",
        ),
        (content(b"\0\0\0\x18ftypmp42" + bytes(2_000_000), "video/mp4"), "sends a video; choose an --output that ends in .mp4"),
        (mjpeg(), "sends a stream of images; choose an --output that ends in .mp4"),
        (content(b"#EXTM3U\n" * 20, "x"), "sends a stream; choose an --output that ends in .mp4"),
        (content(json.dumps({"error": 5}).encode(), "image/jpeg"), "sends no image; check the path after the host"),
        (content(b"", "image/jpeg"), "sends no image; check the path after the host"),
        (status(404), "the path does not exist"),
        (status(503), "the server failed"),
    ],
)
def test_what_is_no_image(answer: Answer, why: str) -> None:
    with http_server({"/cover.jpg": answer}) as address, pytest.raises(SourceOpenError) as caught:
        UrlImageSource(f"{address}/cover.jpg", EVERY_SECOND)
    assert str(caught.value).startswith(f"{address}/cover.jpg: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
