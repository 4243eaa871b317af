"""Which streams are live, and which have an end."""

from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from maskstream.errors import SourceError, SourceUnreadable
from maskstream.sources import ReconnectingSource, ReconnectPolicy, UrlOpener, UrlSource
from maskstream.stream.states import SourceStatus
from maskstream.types import BgrImage
from tests.servers import Answer, Ending, Request, content, http_server, mjpeg
from tests.sources.test_url import network
from tests.video_files import every, write_video

SIZE = (160, 120)
FRAMES = 12
X264, LIVE = "libx264", {"live": "1"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

KINDS: dict[str, tuple[str, dict[str, str], bool]] = {
    "plain.webm": ("libvpx", {}, False),
    "live.webm": ("libvpx", LIVE, True),
    "plain.mkv": (X264, {}, False),
    "live.mkv": (X264, LIVE, True),
    "plain.flv": (X264, {}, False),
    "unsaid.flv": (X264, {"flvflags": "no_duration_filesize"}, True),
    "plain.ts": (X264, {}, True),
    "index-first.mp4": (X264, {"movflags": "faststart"}, False),
    "fragmented.mp4": (X264, FRAGMENTED, True),
    "plain.avi": ("mpeg4", {}, False),
    "bare.mjpeg": ("mjpeg", {}, True),
    "bare.h264": (X264, {}, True),
    "bare.y4m": ("rawvideo", {}, False),
}
"""By file name: codec, options of the container, and whether it may be live if its server states no length."""
COMES_BACK = {"unsaid.flv", "plain.ts", "bare.mjpeg", "bare.h264"}
"""Formats of cameras and broadcasts: the end of a connection is not the end of the source."""
LOOKED_AT_S = 1.0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for name, (codec, options, _) in KINDS.items():
        path = write_video(
            folder / name,
            every(0.04, FRAMES),
            size=SIZE,
            codec=codec,
            pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p",
            time_base=Fraction(1, 25),
            options={"g": "4"} if codec == X264 else {},
            container_options=options,
        )
        made[name] = path.read_bytes()
    return made


@pytest.fixture(scope="module")
def web(files: dict[str, bytes]) -> Iterator[str]:
    answers: dict[str, Answer] = {}
    for name, data in files.items():
        answers[f"/ranges/{name}"] = content(data, "application/octet-stream")
        answers[f"/whole/{name}"] = content(data, "application/octet-stream", ranges=False)
        answers[f"/chunks/{name}"] = chunked(data)
        answers[f"/slow/{name}"] = chunked(data, lasts_s=LOOKED_AT_S * 1.5)
        answers[f"/broken/{name}"] = chunked(data, "reset")
    with http_server(answers) as address:
        yield address


def chunked(data: bytes, ending: Ending = "close", lasts_s: float = 0.0) -> Answer:
    """Answer without a length, and mark the end unless it breaks off."""
    size = 1000 if not lasts_s else -(-len(data) // 10)

    def answer(request: Request) -> None:
        request.protocol_version = "HTTP/1.1"
        request.start(200, Transfer_Encoding="chunked", Connection="close")
        for first in range(0, len(data), size):
            part = data[first : first + size]
            request.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            request.stopped.wait(lasts_s / 10)
        if ending == "close":
            request.wfile.write(b"0\r\n\r\n")
        request.end(ending)
        request.close_connection = True

    return answer


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("server", ["ranges", "whole"])
def test_what_has_a_length_is_a_file(web: str, server: str, name: str) -> None:
    with closing(UrlSource(f"{web}/{server}/{name}", network())) as source:
        frames = list(source)
        assert not source.info.live
    assert len(frames) == FRAMES
    assert [after.time_s - before.time_s for before, after in pairwise(frames)] == pytest.approx([0.04] * (FRAMES - 1), abs=2e-3)


@pytest.mark.parametrize(
    ("server", "name"),
    [
        *(("chunks", name) for name in KINDS),
        *(("slow", name) for name in ("live.webm", "plain.ts")),
        *(pytest.param("slow", name, marks=pytest.mark.slow) for name in sorted(KINDS.keys() - {"live.webm", "plain.ts"})),
    ],
)
def test_without_a_length_format_and_speed_decide(web: str, server: str, name: str) -> None:
    """Half a second may be in the buffer of a camera. For other formats it is complete, on a machine that is fast enough."""
    may_be_live, comes_back = KINDS[name][2], name in COMES_BACK
    with closing(UrlSource(f"{web}/{server}/{name}", network())) as source:
        frames = list(source)
        assert source.info.live == may_be_live or (server == "chunks" and not comes_back)
        assert source.is_over == (not comes_back) or not source.info.live
    assert len(frames) == FRAMES


@pytest.mark.parametrize("name", ["long.ts", "long.flv", "long.webm"])
@pytest.mark.parametrize("seconds", [4, 20])
def test_video_that_arrives_much_faster_than_it_lasts_is_a_file(tmp_path: Path, name: str, seconds: int) -> None:
    """The buffer of a camera has a few seconds only."""
    codec, options = ("libvpx", LIVE) if name.endswith("webm") else (X264, {})
    path = write_video(
        tmp_path / name,
        every(0.2, seconds * 5),
        size=SIZE,
        codec=codec,
        time_base=Fraction(1, 25),
        container_options=options if not name.endswith("flv") else {"flvflags": "no_duration_filesize"},
    )
    with http_server({"/clip": chunked(path.read_bytes())}) as address, closing(camera(f"{address}/clip")) as source:
        assert len(list(source)) == seconds * 5
        assert not source.info.live


def test_a_camera_that_sends_much_at_once_later_on_is_still_a_camera(files: dict[str, bytes], tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.ts", every(0.2, 100), size=SIZE, codec=X264, time_base=Fraction(1, 25))
    answers = [chunked(files["plain.ts"], lasts_s=LOOKED_AT_S * 1.5), chunked(path.read_bytes())]
    with http_server({"/live": lambda request: answers.pop(0)(request)}) as address:
        opener = UrlOpener(f"{address}/live", "cam", network())
        for _ in range(2):
            with closing(opener()) as source:
                assert source.info.live


@pytest.mark.parametrize("name", [name for name, (_, _, live) in KINDS.items() if live and name not in ("plain.ts", "bare.h264")])
def test_what_breaks_off_is_no_end(web: str, name: str) -> None:
    """If all is read before it breaks off, it fails during reading, else during opening."""
    with pytest.raises(SourceError, match="reset"):
        read_to_its_end(f"{web}/broken/{name}")


def read_to_its_end(url: str) -> None:
    with closing(UrlSource(url, network())) as source:
        list(source)
        assert not source.is_over


def test_mjpeg_in_parts_is_live_though_it_had_a_length() -> None:
    def answer(request: Request) -> None:
        start = request.start
        request.start = lambda code, **headers: start(code, Content_Length=10**9, **headers)  # type: ignore[method-assign]
        mjpeg(100, frames=5)(request)

    with http_server({"/live": answer}) as address, closing(UrlSource(f"{address}/live", network())) as source:
        assert source.info.live


def test_an_impossible_length_is_ignored(files: dict[str, bytes]) -> None:
    def answer(request: Request) -> None:
        request.start(200, Content_Length=2**63 - 1)
        request.wfile.write(files["plain.ts"])

    with http_server({"/live.ts": answer}) as address, closing(UrlSource(f"{address}/live.ts", network())) as source:
        assert source.info.live
        assert len(list(islice(source, 3))) == 3


def camera(url: str, **others: object) -> ReconnectingSource:
    """Return a source that is opened again after each loss, as one of many."""
    opener = UrlOpener(url, "cam", network(max_reconnects=None, **others))
    return ReconnectingSource("cam", opener, ReconnectPolicy(None, refusal_ends=False), SourceStatus("cam", lambda _: None))


@pytest.mark.parametrize("path", ["/ranges/live.webm", "/chunks/live.webm", "/chunks/fragmented.mp4", "/ranges/plain.ts"])
def test_an_end_is_an_end(web: str, path: str) -> None:
    with closing(camera(web + path)) as source:
        assert len(list(source)) == FRAMES


def noise(index: int) -> BgrImage:
    return np.random.default_rng(index).integers(0, 256, (240, 320, 3), np.uint8)


@pytest.fixture(scope="module")
def index_last(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video with its index at the end, too large to be read ahead."""
    path = tmp_path_factory.mktemp("mp4") / "clip.mp4"
    data = write_video(path, every(0.04, 60), size=(320, 240), image=noise, options={"preset": "ultrafast"}).read_bytes()
    assert len(data) > 2_000_000
    return data


@pytest.mark.parametrize("answer", ["whole", "chunks"])
@pytest.mark.parametrize("max_frame_mb", [64, 1])
def test_what_cannot_be_read_without_seeking_says_so_and_is_not_tried_again(
    index_last: bytes, answer: str, max_frame_mb: float
) -> None:
    asked = []

    def noted(request: Request) -> None:
        asked.append(request.path)
        (chunked(index_last) if answer == "chunks" else content(index_last, "video/mp4", ranges=False))(request)

    with (
        http_server({"/clip.mp4": noted}) as address,
        closing(camera(f"{address}/clip.mp4", max_frame_mb=max_frame_mb)) as source,
        pytest.raises(SourceUnreadable, match=r"cannot be read without seeking: .*\+faststart"),
    ):
        list(source)
    assert len(asked) <= 2  # and a try for a part of it


def test_with_range_requests_the_index_may_be_anywhere(index_last: bytes) -> None:
    answers = {"/clip.mp4": content(index_last, "video/mp4")}
    with http_server(answers) as address, closing(camera(f"{address}/clip.mp4")) as source:
        assert len(list(source)) == 60
