import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from socket import AF_INET6, socket
from threading import Thread
from time import monotonic
from typing import Any

import av
import numpy as np
import pytest

from maskstream.config.loading import load_config
from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceError, SourceOpenError, StreamLost
from maskstream.sources import FileSource, UrlSource
from maskstream.types import BgrImage, Frame
from tests.certificates import self_signed
from tests.receivers import wait_until
from tests.servers import (
    LOGIN,
    USER,
    WRONG_PASSWORD,
    RtspServer,
    assert_no_secret,
    content,
    http_server,
    locked,
    mjpeg,
    rtsp_server,
    silent_server,
    status,
    stream,
)
from tests.slowness import LONGEST_S, promised, slowness
from tests.video_files import every, four_corners, grey, grey_index, write_video

pytestmark = pytest.mark.usefixtures("log_without_secrets")

SIZE = (160, 120)


def network(open_s: float = 10, read_s: float = 10, transport: str = "auto", **others: object) -> NetworkConfig:
    limits = {"open_timeout_s": open_s, "read_timeout_s": read_s, "max_reconnects": 0}
    return NetworkConfig.model_validate(load_config().network.model_dump() | limits | {"transport": transport} | others)


PATIENT = network()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames that show their number modulo 11, also when the clip starts again."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_video(path, every(0.04, 110), size=SIZE, container_options={"movflags": "faststart"})


@pytest.fixture(scope="module")
def camera(rtsp_tools: None, clip: Path) -> Iterator[RtspServer]:
    with rtsp_server(clip) as server:
        yield server


def in_one_line(error: SourceError) -> str:
    assert_no_secret("".join(traceback.format_exception(error)))
    assert "\n" not in str(error)
    return str(error)


def refusal(url: str, config: NetworkConfig = PATIENT) -> str:
    """Return why a URL cannot be opened."""
    with pytest.raises(SourceOpenError) as caught:
        UrlSource(url, config)
    return in_one_line(caught.value)


def loss(url: str, config: NetworkConfig = PATIENT) -> tuple[str, int, float]:
    """Return how a source is lost: why, after how many frames, and how long after the last one."""
    with closing(UrlSource(url, config)) as source:
        return loss_of(source)


def loss_of(source: UrlSource) -> tuple[str, int, float]:
    frames: list[Frame] = []
    with pytest.raises(StreamLost) as caught:
        frames.extend(source)
    return in_one_line(caught.value), len(frames), monotonic() - frames[-1].captured_at_s


def read(url: str, count: int | None = None, config: NetworkConfig = PATIENT) -> list[Frame]:
    with closing(UrlSource(url, config)) as source:
        return list(islice(source, count))


def assert_whole(frames: list[Frame]) -> None:
    """Every frame is as it was sent, and none is missing from the first to the last."""
    assert [frame.index for frame in frames] == list(range(len(frames)))
    first = grey_index(frames[0].bgr)
    for frame in frames:
        sent = grey(first + frame.index, SIZE)
        assert frame.bgr.shape == sent.shape
        assert np.abs(frame.bgr.astype(int) - sent).max() < 10, f"frame {frame.index}"


class Reader(Thread):
    """Read a source to its end."""

    def __init__(self, source: UrlSource) -> None:
        super().__init__()
        self.source = source
        self.frames = 0
        self.error: StreamLost | None = None
        self.start()

    def run(self) -> None:
        try:
            for _ in self.source:
                self.frames += 1
        except StreamLost as error:
            self.error = error


@contextmanager
def silenced(camera: RtspServer) -> Iterator[None]:
    """Let a camera send nothing for a while over open connections."""
    camera.feeder.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        camera.feeder.send_signal(signal.SIGCONT)


# RTSP


def test_frames_of_a_camera(camera: RtspServer) -> None:
    with closing(UrlSource(camera.url(), PATIENT, "entrance")) as source:
        frames = list(islice(source, 50))
        age_s = monotonic() - frames[-1].captured_at_s
        now = datetime.now(UTC)
    assert_whole(frames)
    info = source.info
    assert (info.width, info.height, info.live, info.source_id, info.frame_count) == (*SIZE, True, "entrance", None)
    assert info.average_fps == pytest.approx(25, rel=0.1)
    assert {frame.source_id for frame in frames} == {"entrance"}
    assert all(before.time_s < after.time_s for before, after in pairwise(frames))
    slow = slowness()
    assert frames[-1].time_s - frames[-26].time_s == pytest.approx(1, abs=0.3 * slow)
    assert age_s < 0.5 * slow
    assert all(frame.wall_time and abs((now - frame.wall_time).total_seconds()) < 10 for frame in frames)
    assert frames[-1].wall_time.utcoffset().total_seconds() == 0


@pytest.mark.slow
def test_joining_at_any_time_begins_with_a_complete_frame(camera: RtspServer) -> None:
    watching = Reader(UrlSource(camera.url(), PATIENT))  # keeps the camera sending
    for wait_s in (0.1, 0.2, 0.3):
        time.sleep(wait_s)
        assert_whole(read(camera.url(), 12))
    watching.source.close()
    watching.join(LONGEST_S)
    assert watching.error is None


def test_frames_that_waited_are_read_at_once(camera: RtspServer) -> None:
    with closing(UrlSource(camera.url(), PATIENT)) as source:
        opened_s = monotonic()
        frames = iter(source)
        time.sleep(1.5)
        with promised(0.7):
            missed = list(islice(frames, 35))
        present = list(islice(frames, 40))
        assert monotonic() - opened_s > 1.5 + 0.7
    assert_whole([*missed, *present])


def test_the_configured_transport_is_used(camera: RtspServer) -> None:
    assert_whole(read(camera.url("/tcp"), 12, network(transport="tcp")))
    assert_whole(read(camera.url("/udp"), 12, network(transport="udp")))
    assert "set network.transport to auto" in refusal(camera.url("/udp"), network(transport="tcp"))
    assert "set network.transport to auto" in refusal(camera.url("/tcp"), network(transport="udp"))


def test_login_by_digest(camera: RtspServer) -> None:
    with closing(UrlSource(camera.url("/locked", LOGIN), PATIENT)) as source:
        assert_whole(list(islice(source, 3)))
        assert source.info.source_id == camera.url("/locked", "***@")
    for login in ("", f"{USER}@", f"{USER}:{WRONG_PASSWORD}@"):
        assert "(401)" in refusal(camera.url("/locked", login))


def test_login_by_basic_over_ipv6(rtsp_tools: None, clip: Path) -> None:
    try:
        with socket(AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with rtsp_server(clip, host="::1", method="basic") as camera:
        assert_whole(read(camera.url("/locked", LOGIN), 3))
        assert "(401)" in refusal(camera.url("/locked", f"{USER}:{WRONG_PASSWORD}@"))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_motion_jpeg_over_rtsp(camera: RtspServer, transport: str) -> None:
    with closing(UrlSource(camera.url("/jpeg"), network(transport=transport))) as source:
        assert [frame.bgr.shape for frame in islice(source, 5)] == [(120, 160, 3)] * 5
        assert source.info.average_fps == pytest.approx(10, rel=0.1)


def test_path_that_a_camera_does_not_have(camera: RtspServer) -> None:
    assert "(404)" in refusal(camera.url("/nothing"))


def test_upper_case_scheme(camera: RtspServer) -> None:
    assert_whole(read(camera.url().replace("rtsp", "RTSP", 1), 3))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_silent_camera_is_lost(camera: RtspServer, transport: str) -> None:
    source = UrlSource(camera.url(), network(read_s=1, transport=transport))
    with closing(source), silenced(camera):
        with promised(1.8):
            silent_s = monotonic()
            reason, *_ = loss_of(source)
        assert monotonic() - silent_s > 0.9
    assert "no frame within 1 s" in reason


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_stops_has_ended(rtsp_tools: None, clip: Path, transport: str) -> None:
    with rtsp_server(clip) as camera, closing(UrlSource(camera.url(), network(transport=transport))) as source, promised(2):
        camera.server.kill()
        assert_whole(list(source))


def test_close_twice_ends_the_reading(camera: RtspServer) -> None:
    source = UrlSource(camera.url(), PATIENT)
    frames = iter(source)
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


def test_close_ends_a_reader_in_another_thread(camera: RtspServer) -> None:
    reader = Reader(UrlSource(camera.url(), PATIENT))
    wait_until(lambda: reader.frames > 5)
    with promised(0.5):
        reader.source.close()
        reader.join(LONGEST_S)
    assert reader.error is None


@pytest.mark.slow
def test_close_does_not_wait_for_a_silent_camera(camera: RtspServer) -> None:
    reader = Reader(UrlSource(camera.url(), network(read_s=2)))
    with silenced(camera):
        time.sleep(0.5)
        with promised(2.5):
            with promised(1.2):
                reader.source.close()
            reader.join(LONGEST_S)
    assert reader.error is None


# HTTP


@pytest.fixture(scope="module")
def web(clip: Path) -> Iterator[str]:
    data = clip.read_bytes()
    middle = len(data) * 2 // 3
    clips = {
        "/clip.mp4": content(data, "video/mp4"),
        "/whole-only.mp4": content(data, "video/mp4", ranges=False),
        "/moved": status(302, Location="/clip.mp4"),
        "/locked": locked(content(data, "video/mp4")),
        "/cut": content(data, "video/mp4", cut_at=middle),
        "/reset": content(data, "video/mp4", cut_at=middle, ending="reset"),
        "/stuck": content(data, "video/mp4", cut_at=middle, ending="silence"),
    }
    images = {
        "/mjpeg": mjpeg(),
        "/mjpeg-ends": mjpeg(frames=15),
        "/mjpeg-empty-line": mjpeg(frames=15, begins=b"\r\n"),
        "/mjpeg-half": mjpeg(frames=15, ending="half a picture"),
        "/mjpeg-stuck": mjpeg(frames=15, ending="silence"),
        "/mjpeg-reset": mjpeg(frames=15, ending="reset"),
    }
    page = content(b"<!doctype html><title>Log in</title>" * 100, "text/html")
    nothing = {"/page": page, "/empty": content(b"", "video/mp4"), "/403": status(403), "/500": status(500)}
    with http_server(clips | images | nothing) as address:
        yield address


def with_login(address: str, login: str) -> str:
    return address.replace("://", f"://{login}")


@pytest.mark.parametrize("path", ["/clip.mp4", "/whole-only.mp4", "/moved"])
def test_video_on_a_server_is_as_exact_as_a_file(web: str, clip: Path, path: str) -> None:
    with closing(FileSource(str(clip))) as source:
        local, local_info = list(source), source.info
    with closing(UrlSource(web + path, PATIENT)) as source:
        remote, info = list(source), source.info
    assert [(frame.index, frame.time_s, frame.wall_time) for frame in remote] == [(f.index, f.time_s, None) for f in local]
    assert all(np.array_equal(there.bgr, here.bgr) for there, here in zip(remote, local, strict=True))
    assert replace(info, source_id="", path=None) == replace(local_info, source_id="", path=None)
    assert (info.live, info.path, len(remote)) == (False, None, 110)


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}, {"movflags": "frag_keyframe+empty_moov"}])
def test_a_video_with_its_index_anywhere(tmp_path: Path, options: dict[str, str]) -> None:
    """It is larger than one read, so that range requests are sent."""
    path = write_video(
        tmp_path / "clip.mp4", every(0.04, 90), size=SIZE, image=lambda n: noise(n, SIZE), container_options=options
    )
    assert path.stat().st_size > 500_000
    with closing(FileSource(str(path))) as source:
        local = list(source)
    with http_server({"/clip.mp4": content(path.read_bytes(), "video/mp4")}) as address:
        remote = read(f"{address}/clip.mp4")
    assert [frame.time_s for frame in remote] == [frame.time_s for frame in local]
    assert all(np.array_equal(there.bgr, here.bgr) for there, here in zip(remote, local, strict=True))


def test_scheme_in_capitals_and_encryption_with_a_certificate_of_its_own(
    system_tool: Callable[[str], str], tmp_path: Path, clip: Path
) -> None:
    system_tool("openssl")
    answers = {"/clip.mp4": content(clip.read_bytes(), "video/mp4")}
    with http_server(answers, self_signed(tmp_path / "camera.pem")) as address:
        assert_whole(read(f"{address.replace('https', 'HTTPS')}/clip.mp4", config=network(verify_tls=False)))


def test_login_on_a_web_server(web: str) -> None:
    assert_whole(read(with_login(web, LOGIN) + "/locked"))
    for login in ("", f"{USER}@", f"{USER}:{WRONG_PASSWORD}@"):
        assert "(401)" in refusal(with_login(web, login) + "/locked")


def test_mjpeg_is_live(web: str) -> None:
    with closing(UrlSource(f"{web}/mjpeg", PATIENT)) as source:
        frames = list(islice(source, 40))
    assert_whole(frames)
    assert (source.info.live, source.info.average_fps, source.info.frame_count) == (True, None, None)
    assert all(before.time_s < after.time_s for before, after in pairwise(frames))
    assert frames[-1].time_s - frames[-26].time_s == pytest.approx(1, abs=0.3 * slowness())
    assert all(frame.wall_time for frame in frames)


@pytest.mark.parametrize("path", ["/mjpeg-ends", "/mjpeg-half", "/mjpeg-empty-line"])
def test_mjpeg_that_the_server_closes_ends_with_its_last_complete_image(web: str, path: str) -> None:
    frames = read(web + path)
    assert_whole(frames)
    assert len(frames) == 15


@pytest.mark.parametrize(("path", "why"), [("/mjpeg-reset", "reset"), ("/cut", "broke off"), ("/reset", "reset")])
def test_connection_that_breaks_off(web: str, path: str, why: str) -> None:
    reason, frames, _ = loss(with_login(web, LOGIN) + path)
    assert why in reason
    assert 10 < frames < 110


@pytest.mark.parametrize("path", ["/stuck", "/mjpeg-stuck"])
def test_a_silent_server_is_lost(web: str, path: str) -> None:
    reason, frames, after_s = loss(web + path, network(read_s=1))
    assert "no frame within 1 s" in reason
    assert 10 < frames < 110
    assert 0.9 < after_s < 1.8 * slowness()


@pytest.mark.slow
def test_video_that_stops_is_lost_although_audio_continues(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.ts", every(0.04, 50), size=SIZE, audio=("aac", 0.0, 8.0))
    with http_server({"/live": stream(path.read_bytes(), "video/mp2t", lasts_s=6)}) as address:
        limit_s = round(0.5 * slowness(), 1)  # between two frames that arrive, less passes on a busy machine too
        reason, frames, after_s = loss(f"{address}/live", network(read_s=limit_s))
    assert f"no frame within {limit_s:g} s" in reason
    assert frames > 40
    assert after_s < limit_s + slowness()


def without_first_image(path: Path, key_every: int) -> bytes:
    """Return a video of `four_corners` without its first key frame."""
    options = {"g": str(key_every)}
    write_video(path, every(0.04, 60), size=SIZE, codec="mpeg4", time_base=Fraction(1, 25), image=corners, options=options)
    with av.open(path) as container:
        first, second = (packet.pos for packet in islice(container.demux(video=0), 2))
    data = path.read_bytes()
    return data[:first] + data[second:]


def corners(_: int) -> BgrImage:
    return four_corners(SIZE)


def torn(packet: "av.Packet[Any]") -> "av.Packet[Any]":
    """Return a packet whose second half is noise."""
    data = bytes(packet)
    left = av.Packet(data[: len(data) // 2] + np.random.default_rng(1).bytes(len(data) - len(data) // 2))
    left.pts, left.dts, left.time_base = packet.pts, packet.dts, packet.time_base
    return left


def noise(number: int, size: tuple[int, int]) -> BgrImage:
    return np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)


def test_no_frame_before_the_first_key_frame(tmp_path: Path) -> None:
    data = without_first_image(tmp_path / "clip.ts", key_every=12)
    with http_server({"/live": stream(data, "video/mp2t")}) as address:
        frames = read(f"{address}/live")
    assert len(frames) == 48
    inner = np.s_[30::60, 40::80]
    assert all(np.abs(frame.bgr[inner].astype(int) - corners(0)[inner]).max() < 12 for frame in frames)


@pytest.mark.parametrize("keep_damaged", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_frames_that_arrive_damaged_are_dropped_and_counted(tmp_path: Path, keep_damaged: bool) -> None:
    """Half of the data of every tenth frame is lost."""
    clean = write_video(
        tmp_path / "clean.ts", every(0.04, 60), size=SIZE, options={"g": "5", "bf": "0"}, image=lambda n: noise(n, SIZE)
    )
    data = tmp_path / "torn.ts"
    with av.open(clean) as source, av.open(data, "w") as target:
        stream_out = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet = torn(packet) if number % 10 == 7 else packet
                packet.stream = stream_out
                target.mux(packet)
    with (
        http_server({"/live": stream(data.read_bytes(), "video/mp2t")}) as address,
        closing(UrlSource(f"{address}/live", network(keep_damaged=keep_damaged))) as camera,
    ):
        frames = list(camera)
    assert (len(frames), camera.damaged) == ((60, 0) if keep_damaged else (54, 6))


def test_waiting_for_a_key_frame_is_limited(tmp_path: Path) -> None:
    data = without_first_image(tmp_path / "clip.ts", key_every=600)
    with http_server({"/live": stream(data, "video/mp2t", lasts_s=10)}) as address:
        assert "no frame within 1 s" in refusal(f"{address}/live", network(open_s=1))


# Neither


@pytest.mark.parametrize(
    ("path", "why"),
    [("/page", "a web page, not a video"), ("/empty", "no video"), ("/403", "403"), ("/500", "5xx"), ("/404", "404")],
)
def test_server_that_has_no_video(web: str, path: str, why: str) -> None:
    reason = refusal(with_login(web, LOGIN) + path)
    assert why in reason
    assert reason.startswith(with_login(web, "***@") + path)


@pytest.mark.parametrize("scheme", ["rtsp", "http", "https"])
def test_server_that_never_answers(scheme: str) -> None:
    with silent_server() as host, promised(1.2):
        assert "no frame within 0.5 s" in refusal(f"{scheme}://{LOGIN}{host}/live", network(open_s=0.5))


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("127.0.0.1:1", "refused"),
        ("no-such-camera.invalid", "host is not known"),
        ("[::1", "not valid"),
        ("127.0.0.1:port", "not valid"),
        ("127.0.0.1:70000", "not valid"),
    ],
)
def test_host_that_cannot_be_reached(scheme: str, host: str, why: str) -> None:
    assert why in refusal(f"{scheme}://{LOGIN}{host}/live", network(open_s=60))


def test_nothing_is_printed(camera: RtspServer, web: str, capfd: pytest.CaptureFixture[str]) -> None:
    read(camera.url(), 5)
    read(f"{web}/mjpeg", 5)
    loss(f"{web}/cut")
    refusal(f"{web}/404")
    refusal(f"{web}/page")
    assert capfd.readouterr() == ("", "")
