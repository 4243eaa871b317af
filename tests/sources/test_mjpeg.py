"""Motion JPEG of cameras and their web servers, most of which deviate from the standard."""

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count, islice

import cv2
import numpy as np
import pytest

from maskstream.config.loading import load_config
from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceOpenError
from maskstream.sources import SnapshotSource, UrlOpener, UrlSource
from maskstream.sources.mjpeg import MjpegReader, is_mjpeg
from maskstream.types import Frame
from tests import jpegs
from tests.faulty_servers import Client, FaultyAnswer, faulty_server
from tests.jpegs import jpeg
from tests.servers import content, http_server, mjpeg
from tests.video_files import every, grey_index, write_video

REPLACE = "multipart/x-mixed-replace; boundary=frame"
COUNT = 4


def network(**limits: object) -> NetworkConfig:
    return NetworkConfig.model_validate(load_config().network.model_dump() | {"max_reconnects": 0} | limits)


def answer(body: bytes, kind: str = REPLACE) -> FaultyAnswer:
    """Answer with bytes and the end of the connection; an empty media type is not sent."""

    def send(client: Client) -> None:
        stated = f"Content-Type: {kind}\r\n" if kind else ""
        client.send(f"HTTP/1.0 200 OK\r\n{stated}\r\n".encode() + body)
        raise ConnectionResetError

    return send


def part(*headers: str, boundary: str = "--frame", line: str = "\r\n", image: Callable[[int], bytes] = jpeg) -> bytes:
    """Return `COUNT` images, each with boundary and headers before it."""
    head = line.join([boundary, *headers, "", ""]).encode()
    return b"".join(head + image(index) + line.encode() for index in range(COUNT))


def read(url: str, count: int | None = None) -> list[Frame]:
    with closing(UrlSource(url, network())) as source:
        assert (source.info.live, source.info.average_fps) == (True, None)
        return list(islice(source, count))


def shown(frames: Sequence[Frame]) -> list[int]:
    return [grey_index(frame.bgr) for frame in frames]


JPEG = "Content-Type: image/jpeg"
LENGTH = f"Content-Length: {len(jpeg(0))}"
PARTS = {
    "as the standard says": part(JPEG, LENGTH),
    "image/jpg": part("Content-Type: image/jpg", LENGTH),
    "image/pjpeg": part("Content-Type: image/pjpeg"),
    "text/plain": part("Content-Type: text/plain"),
    "no type": part(LENGTH),
    "no headers": part(),
    "no length": part(JPEG),
    "length too small": part(JPEG, "Content-Length: 12"),
    "length too large": part(JPEG, "Content-Length: 99999"),
    "length is no number": part(JPEG, "Content-Length: none"),
    "lines end in LF": part(JPEG, LENGTH, line="\n"),
    "boundary without dashes": part(JPEG, boundary="frame"),
    "boundary without dashes, no headers": part(boundary="frame"),
    "other boundary": part(JPEG, boundary="--myboundary"),
    "boundary with spaces": part(JPEG, boundary="-- my boundary "),
    "four dashes": part(JPEG, boundary="----frame"),
    "only an empty line between": b"".join(b"\r\n" + jpeg(index) for index in range(COUNT)),
    "no boundary at first": part(JPEG).removeprefix(b"--frame\r\n"),
    "time stamps": part("X-Timestamp: 12.3", JPEG, LENGTH, "X-Framerate: 5"),
    "small letters": part("content-type: image/jpeg", LENGTH.lower()),
    "preamble": b"This is a message in several parts.\r\n" * 9 + part(JPEG),
    "header behind the picture": part(JPEG).replace(b"\r\n--frame", b"\r\nX-After: 1\r\n--frame"),
    "text between": part(JPEG).replace(
        b"\r\n--frame", b'\r\n--frame\r\nContent-Type: application/json\r\n\r\n{"a": 1}\r\n--frame'
    ),
    "end boundary": part(JPEG) + b"--frame--\r\n",
    "padding": part(JPEG, image=lambda index: jpeg(index) + bytes(500)),
    "garbage behind": part(JPEG, image=lambda index: jpeg(index) + b"\x01\xfe\xff\x10garbage"),
    "thumbnails": part(JPEG, image=jpegs.with_thumbnail),
    "no Huffman tables": part(JPEG, image=jpegs.without_tables),
    "progressive": part(JPEG, image=jpegs.progressive),
    "one channel": part(JPEG, image=jpegs.one_channel),
    "restarts": part(JPEG, image=jpegs.with_restarts),
    "PNG": part("Content-Type: image/png", image=jpegs.png),
    "no parts at all": b"".join(jpeg(index) for index in range(COUNT)),
}
WITHOUT_TEXT = {"no parts at all", "only an empty line between"}


@pytest.mark.parametrize("name", PARTS)
def test_images_are_read_whatever_stands_between_them(name: str) -> None:
    with faulty_server(answer(PARTS[name])) as url:
        frames = read(url)
    assert shown(frames) == list(range(COUNT))
    assert {(frame.width, frame.height) for frame in frames} == {jpegs.SIZE}


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "image/jpeg",
        "application/octet-stream",
        "video/x-motion-jpeg",
        "multipart/mixed; boundary=frame",
        "multipart/x-mixed-replace",
        "multipart/x-mixed-replace;boundary=--frame",
        'multipart/x-mixed-replace; boundary="frame"',
        "multipart/x-mixed-replace; boundary= other ",
    ],
)
def test_what_the_server_says_of_itself_does_not_count(kind: str) -> None:
    with faulty_server(answer(PARTS["image/jpg"], kind)) as url:
        assert shown(read(url)) == list(range(COUNT))


def test_chunks_may_end_anywhere() -> None:
    body = PARTS["as the standard says"]
    chunks = [body[at : at + 333] for at in range(0, len(body), 333)]

    def send(client: Client) -> None:
        client.send(f"HTTP/1.1 200 OK\r\nContent-Type: {REPLACE}\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in [*chunks, b""]:
            client.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        raise ConnectionResetError

    with faulty_server(send) as url:
        assert shown(read(url)) == list(range(COUNT))


def test_an_image_is_read_before_the_next_one_arrives() -> None:
    with http_server({"/slow": mjpeg(fps=0.001)}) as address:
        assert shown(read(f"{address}/slow", 1)) == [0]


def test_images_that_change_their_size() -> None:
    sizes = [(160, 120), (320, 240), (64, 48)]
    body = b"".join(b"--b\r\n\r\n" + jpeg(2, size) for size in sizes)
    with faulty_server(answer(body)) as url:
        assert [(frame.width, frame.height) for frame in read(url)] == sizes


def test_a_camera_that_never_ends_its_images_is_read() -> None:
    """Each is complete when the next one arrives."""
    with faulty_server(answer(part(JPEG, image=jpegs.without_end))) as url:
        assert shown(read(url)) == list(range(COUNT - 1))


@pytest.mark.parametrize("keep_damaged", [False, True])
def test_a_torn_image_is_dropped_and_counted_unless_such_are_kept(keep_damaged: bool) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    large = cv2.imencode(".jpg", noise)[1].tobytes()
    images = [jpeg(1), large[: len(large) // 2], jpeg(3), jpeg(4)]
    with (
        faulty_server(answer(b"".join(b"--b\r\n\r\n" + image + b"\r\n" for image in images))) as url,
        closing(UrlSource(url, network(keep_damaged=keep_damaged))) as source,
    ):
        frames = list(source)
    assert [each for each in (1, 3, 4) if each not in shown(frames)] == []
    assert (len(frames), source.damaged) == ((4, 0) if keep_damaged else (3, 1))


def test_a_camera_that_ends_each_answer_after_one_image_is_asked_for_one_at_a_time() -> None:
    numbers = count()

    def one(client: Client) -> None:
        answer(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg(next(numbers)) + b"\r\n--frame--\r\n")(client)

    with faulty_server(one) as url:
        opener = UrlOpener(url, "cam", network(snapshot_s=0.02))
        for number in range(2):
            with closing(opener()) as source:
                assert shown(list(source)) == [number]
        with closing(opener()) as source:
            assert shown(list(islice(source, 4))) == [2, 3, 4, 5]
        assert isinstance(source, SnapshotSource)
        with closing(opener()) as source:  # it was lost, and may be a stream by now
            assert isinstance(source, UrlSource)


def test_a_stream_that_broke_off_once_after_its_first_image_stays_a_stream() -> None:
    bodies = [part(JPEG), jpeg(0), part(JPEG), jpeg(0), part(JPEG)]

    def next_one(client: Client) -> None:
        answer(b"--frame\r\n\r\n" + bodies.pop(0))(client)

    with faulty_server(next_one) as url:
        opener = UrlOpener(url, "cam", network(snapshot_s=0.02))
        lengths = []
        while bodies:
            with closing(opener()) as source:
                lengths.append(len(list(source)))
    assert lengths == [COUNT, 1, COUNT, 1, COUNT]


def test_parts_without_an_image_are_no_video() -> None:
    with (
        faulty_server(answer(b"--b\r\nContent-Type: text/plain\r\n\r\nno signal\r\n" * 9)) as url,
        pytest.raises(SourceOpenError) as caught,
    ):
        UrlSource(url, network())
    assert "the stream ended before the first frame; check the camera, and the path" in str(caught.value)


class Answer:
    """Bytes of a server, in chunks."""

    name = "http://camera/"

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)
        self._rest = b""

    def peek(self, least: int) -> bytes:
        while len(self._rest) < least and self._pieces:
            self._rest += self._pieces.pop(0)
        return self._rest

    def read(self, size: int) -> bytes:
        self.peek(1)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def close(self) -> None:
        pass


def by_byte(data: bytes) -> Answer:
    return Answer([data[at : at + 1] for at in range(len(data))])


@pytest.mark.parametrize("name", PARTS)
def test_the_first_bytes_decide_for_any_chunks(name: str) -> None:
    source = by_byte(PARTS[name])
    assert is_mjpeg(source, has_length=False)
    assert is_mjpeg(source, has_length=True) == (name not in WITHOUT_TEXT)
    normal = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: "
    assert MjpegReader(source, 10**6).read(len(normal)) in (normal, PARTS["PNG"].partition(b"\r\n\r\n")[2][: len(normal)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n",
        b"<!doctype html><meta http-equiv='Content-Type'>\nContent-Type: x",
        b"ffconcat version 1.0\nfile a.mp4\n",
        b"v=0\r\nm=video 0 RTP/AVP 96\r\n",
        b"not found\n" * 9,
        b"a" * 100_000,
        b"\0\0\0\x18ftypisom",
        b"G@\0\x10\0",
        b"\x1aE\xdf\xa3",
        b"RIFF\x10\x20\0\0AVI LIST",
        jpegs.png(1),
    ],
)
def test_other_things_are_not_taken_for_it(data: bytes) -> None:
    assert not is_mjpeg(by_byte(data), has_length=False)
    assert not is_mjpeg(Answer([data]), has_length=True)


def test_motion_jpeg_in_a_file_has_the_clock_of_the_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    clip = write_video(
        tmp_path_factory.mktemp("clip") / "clip.avi", every(0.1, 8), size=jpegs.SIZE, codec="mjpeg", pix_fmt="yuvj420p"
    )
    with (
        http_server({"/clip.avi": content(clip.read_bytes(), "video/x-msvideo")}) as address,
        closing(UrlSource(f"{address}/clip.avi", network())) as source,
    ):
        assert not source.info.live
        assert [round(frame.time_s, 3) for frame in source] == [round(0.1 * index, 3) for index in range(8)]
