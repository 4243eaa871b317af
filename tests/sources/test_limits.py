"""Limits of memory, time, connections and files against servers that send or claim too much."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from maskstream.config.loading import load_config
from maskstream.config.schema import ImagesConfig, NetworkConfig
from maskstream.errors import SourceError, SourceOpenError
from maskstream.sources import FileSource, ImageSource, UrlSource
from tests.command_lines import ROOT, run
from tests.faulty_servers import Client, FaultyAnswer, FaultyServer, faulty_server
from tests.servers import Answer, content, http_server, rtsp_server, status
from tests.slowness import LONGEST_S, promised, slowness
from tests.video_files import every, write_video

SIZE = (160, 120)
SECRET = "what is in a file of this machine"
MULTIPART = "Content-Type: multipart/x-mixed-replace; boundary=frame"
PLAYLIST = "Content-Type: application/vnd.apple.mpegurl"
HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
ALWAYS_ALLOWED_MB = 340
"""Limit of one memory block of FFmpeg for a decoded frame, with a small margin."""


def network(**limits: object) -> NetworkConfig:
    settings = load_config().network.model_dump() | {"max_reconnects": 0}
    return NetworkConfig.model_validate(settings | limits)


def refusal(url: str, config: NetworkConfig) -> str:
    with pytest.raises(SourceOpenError) as caught:
        UrlSource(url, config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def claimed_part(client: Client) -> None:
    client.send(
        f"HTTP/1.1 200 OK\r\n{MULTIPART}\r\n\r\n--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 1000000000\r\n\r\n"
    )
    client.flood()


def endless_header(client: Client) -> None:
    client.send("HTTP/1.1 200 OK\r\n")
    client.flood(b"X-Header: " + b"a" * 100 + b"\r\n")


def endless_header_line(client: Client) -> None:
    client.send("HTTP/1.1 200 OK\r\nX-Header: ")
    client.flood()


def endless_playlist(client: Client) -> None:
    client.send(f"HTTP/1.1 200 OK\r\n{PLAYLIST}\r\n\r\n{HEAD}")
    client.flood(b"#EXTINF:1,\na.ts\n" * 4000)


def endless_page(client: Client) -> None:
    client.send("HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
    client.flood()


def endless_unit(client: Client) -> None:
    """Begin an H.264 frame without an end in a transport stream."""
    client.send("HTTP/1.1 200 OK\r\nContent-Type: video/h264\r\n\r\n")
    client.send(b"\0\0\0\1\x67\x42\xc0\x1e\xda\x02\x80\xbf\xe5\x84\0\0\0\1\x68\xce\x06\xe2\0\0\0\1\x65")
    client.flood()


def huge_index(client: Client) -> None:
    """Claim a box of an MP4 that is nearly as large as memory."""
    ftyp = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"
    client.send("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n")
    client.send(ftyp + b"\x7f\xff\xff\xf0moov\x7f\xff\xff\xe0trak")
    client.flood(b"\0\0\1\0free" + b"\0" * 248)


def huge_image(client: Client) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    at = jpeg.index(b"\xff\xc0") + 5  # height and width, two bytes each
    claims = jpeg[:at] + (16000).to_bytes(2, "big") * 2 + jpeg[at + 4 : -2] + bytes(1_000_000) + jpeg[-2:]
    part = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(claims)}\r\n\r\n".encode() + claims + b"\r\n"
    client.http(MULTIPART, body=part * 2)


def endless_snapshot(client: Client) -> None:
    client.send(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg_of(16)[:-2])
    client.flood(b"\xff\xe0\0\2\xff\xd8")


def huge_snapshot(client: Client) -> None:
    jpeg = jpeg_of(16)
    at = jpeg.index(b"\xff\xc0") + 5
    claims = jpeg[:at] + (16000).to_bytes(2, "big") * 2 + jpeg[at + 4 :]
    client.http("Content-Type: image/jpeg", f"Content-Length: {len(claims)}", body=claims)


def claimed_snapshot(client: Client) -> None:
    client.send(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 1900000000\r\n\r\n" + jpeg_of(16))
    client.flood()


def snapshot_of_many_pages(client: Client) -> None:
    """A TIFF with the maximum number of pages, linked in a ring."""
    tiff = BytesIO()
    Image.new("L", (16, 16)).save(tiff, "TIFF")
    first = bytearray(tiff.getvalue())
    entries = int.from_bytes(first[8:10], "little")
    assert int.from_bytes(first[4:8], "little") == 8
    size = 2 + 12 * entries + 4
    pages = bytearray()
    for number in range(20_000):
        pages += first[8 : 6 + size + 2 - 4] + (len(first) + size * (number + 1)).to_bytes(4, "little")
    first[8 + size - 4 : 8 + size] = len(first).to_bytes(4, "little")
    body = bytes(first + pages)
    client.http("Content-Type: image/tiff", f"Content-Length: {len(body)}", body=body)


def jpeg_of(side: int) -> bytes:
    return cv2.imencode(".jpg", np.zeros((side, side, 3), np.uint8))[1].tobytes()


def rtsp_length(client: Client) -> None:
    if client.method == "OPTIONS":
        client.rtsp("200 OK")
    else:
        client.rtsp("200 OK", "Content-Type: application/sdp", "Content-Length: 1900000000")
        client.flood()


def rtsp_header(client: Client) -> None:
    client.send("RTSP/1.0 200 OK\r\n")
    client.flood(b"X-Header: " + b"a" * 100 + b"\r\n")


def rtsp_description(client: Client) -> None:
    """Describe more streams than are possible."""
    body = "v=0\r\n" + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:x\r\n" * 50_000
    kind = ("Content-Type: application/sdp", f"Content-Length: {len(body)}")
    client.rtsp("200 OK", *kind, body=body) if client.method == "DESCRIBE" else client.rtsp("200 OK")


HTTP_FAULTS = (
    claimed_part,
    endless_header,
    endless_header_line,
    endless_page,
    endless_unit,
    endless_playlist,
    huge_index,
    huge_image,
    endless_snapshot,
    huge_snapshot,
    claimed_snapshot,
    snapshot_of_many_pages,
)
RTSP_FAULTS = (rtsp_length, rtsp_header, rtsp_description)
FAULTY_ANSWERS: dict[str, tuple[FaultyAnswer, str]] = {answer.__name__: (answer, "http") for answer in HTTP_FAULTS}
FAULTY_ANSWERS |= {answer.__name__: (answer, "rtsp") for answer in RTSP_FAULTS}
SAID = {
    "claimed_part": "more than 8 MB arrived without a frame; if its frames are that large, raise network.max_frame_mb",
    "rtsp_length": "frames that are larger than network.max_frame_mb",
    "huge_picture": "16000x16000 are over 64 megapixels; scale them down, or raise network.max_megapixels",
    "huge_snapshot": "it has 16000x16000 pixels, more than 64 megapixels",
    "claimed_snapshot": "more than 8 MB arrived without a frame",
    "snapshot_of_many_pages": "opened",
}
CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from loguru import logger
from PIL import Image
from maskstream.config.loading import load_config
from maskstream.errors import SourceError
from maskstream.config.schema import NetworkConfig
from maskstream.sources.url_opening import open_url

def most_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))

logger.remove()
config = NetworkConfig.model_validate(load_config().network.model_dump() | json.loads(sys.argv[2]))
for url in sys.argv[3:]:
    before = most_mb()
    try:
        open_url(url, config).close()
        said = "opened"
    except SourceError as error:
        said = str(error)
    print(json.dumps([said, most_mb() - before]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_no_answer_costs_more_memory_than_allowed_or_more_time_than_opening() -> None:
    """One process reads all answers, each for at most half a second, or what that is on a busy machine."""
    limit_s = 0.5 * slowness()
    limits = {"open_timeout_s": limit_s, "read_timeout_s": limit_s, "max_frame_mb": 8, "max_reconnects": 0}
    with ExitStack() as running:
        urls = [running.enter_context(faulty_server(answer, scheme)) for answer, scheme in FAULTY_ANSWERS.values()]
        with promised(3 * limit_s * len(urls)):
            done = run([sys.executable, "-c", CHILD, str(ROOT), json.dumps(limits), *urls], text=True)
    assert (done.returncode, done.stderr) == (0, "")
    heard = dict(zip(FAULTY_ANSWERS, map(json.loads, done.stdout.splitlines()), strict=True))
    assert [
        name
        for name, (said, _) in heard.items()
        if SAID.get(name, "") not in said or (said == "opened") != (SAID.get(name) == said)
    ] == [], heard
    assert {name: mb for name, (_, mb) in heard.items() if mb > 8 * 8 + 30} == {}, heard


def test_a_part_of_the_maximum_size_is_read() -> None:
    image = np.random.default_rng(1).integers(0, 256, (1000, 1000, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    part = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n"
    with faulty_server(lambda client: client.http(MULTIPART, body=part * 6)) as url:
        with closing(UrlSource(url, network(max_frame_mb=len(jpeg) * 1.2 / 1e6))) as source:
            assert [frame.bgr.shape for frame in source] == [image.shape] * 6
        assert "max_frame_mb" in refusal(url, network(max_frame_mb=len(jpeg) * 0.5 / 1e6))


def test_frames_that_become_too_large_are_not_decoded() -> None:
    def parts(side: int) -> bytes:
        jpeg = cv2.imencode(".jpg", np.zeros((side, side, 3), np.uint8))[1].tobytes()
        return f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n"

    sizes = [200] * 10 + [1200] * 3
    with (
        faulty_server(lambda client: client.http(MULTIPART, body=b"".join(map(parts, sizes)))) as url,
        closing(UrlSource(url, network(max_megapixels=1))) as source,
    ):
        assert [frame.width for frame in source] == [200] * 10
        assert source.damaged == 3


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_slow_answer_ends_after_the_time_to_open(scheme: str) -> None:
    def trickle(client: Client) -> None:
        client.send(
            "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" if scheme == "http" else "RTSP/1.0 200 OK\r\nCSeq: 1\r\n"
        )
        client.trickle(b"\x47" + b"a" * 187 if scheme == "http" else b"X-A: a\r\n")

    with faulty_server(trickle, scheme) as url, promised(1.5):
        assert "no frame within 0.6 s" in refusal(url, network(open_timeout_s=0.6))


def numbered(client: Client) -> str:
    return f"/a{client.number}"


def test_redirects_are_limited() -> None:
    def moved(client: Client) -> None:
        client.send(f"HTTP/1.1 302 Found\r\nLocation: {numbered(client)}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        raise ConnectionResetError

    with FaultyServer(moved) as server:
        assert "redirected more than 8 times" in refusal(f"http://127.0.0.1:{server.port}/", network())
    assert server.connections <= 10


def test_redirects_of_rtsp_are_limited() -> None:
    def moved(client: Client) -> None:
        client.rtsp("302 Moved", f"Location: rtsp://127.0.0.1:{client.port}{numbered(client)}")

    with FaultyServer(moved) as server:
        assert "redirected more than 8 times" in refusal(f"rtsp://127.0.0.1:{server.port}/", network())
    assert server.connections <= 2 * 9


def test_a_camera_behind_a_redirect_of_rtsp_is_read(rtsp_tools: None, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", every(0.04, 50), size=SIZE)
    with rtsp_server(clip) as camera:

        def moved(client: Client) -> None:
            client.rtsp("302 Moved", f"Location: {camera.url()}")

        with faulty_server(moved, "rtsp") as url, closing(UrlSource(url, network())) as source:
            assert (source.info.width, source.info.height) == SIZE


def test_no_redirect_takes_a_password_to_another_host() -> None:
    def answer(client: Client) -> None:
        client.rtsp("404 Not Found")

    with FaultyServer(answer) as other:

        def moved(client: Client) -> None:
            client.rtsp("302 Moved", f"Location: rtsp://localhost:{other.port}/x")

        with FaultyServer(moved) as server:
            assert "(404)" in refusal(f"rtsp://me:secret@127.0.0.1:{server.port}/", network())
    assert other.requests
    assert not any("secret" in request for request in other.requests)


@pytest.mark.parametrize("kind", ["variants", "pieces", "itself"])
def test_playlists_without_video_are_limited(kind: str) -> None:
    def playlist(client: Client) -> None:
        body = {
            "variants": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{numbered(client)}.m3u8\n",
            "pieces": HEAD + "".join(f"#EXTINF:1,\n/p{number}.m3u8\n" for number in range(1000)) + "#EXT-X-ENDLIST\n",
            "itself": HEAD + f"#EXT-X-MEDIA-SEQUENCE:{client.number}\n#EXTINF:1,\n/live.m3u8\n",
        }[kind]
        client.http(PLAYLIST, body=body)

    with FaultyServer(playlist) as server, promised(4):
        said = refusal(f"http://127.0.0.1:{server.port}/live.m3u8", network(open_timeout_s=2))
    assert "without a frame" in said or "no frame" in said or "no video" in said
    assert server.connections <= 210


def playlist_of(tmp_path: Path, *options: str) -> dict[str, Answer]:
    """Return the answers of a server that has a clip of 75 frames as playlist /live.m3u8 and segments."""
    clip = write_video(tmp_path / "clip.mp4", every(0.04, 75), size=SIZE)
    made = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        clip,
        "-c:v",
        "libx264",
        "-g",
        "25",
        "-f",
        "hls",
        "-hls_time",
        "1",
        "-hls_list_size",
        "0",
    ]
    subprocess.run([*made, *options, "live.m3u8"], check=True, cwd=tmp_path, timeout=LONGEST_S)
    return {f"/{file.name}": content(file.read_bytes(), "video/mp2t") for file in tmp_path.iterdir()}


@pytest.mark.parametrize("kind", ["plain", "encrypted", "fragmented"])
def test_a_playlist_is_read(tmp_path: Path, system_tool: Callable[[str], str], kind: str) -> None:
    system_tool("ffmpeg")
    (tmp_path / "key.bin").write_bytes(bytes(range(16)))
    (tmp_path / "key.info").write_text("key.bin\nkey.bin\n")
    options = {"plain": [], "encrypted": ["-hls_key_info_file", "key.info"], "fragmented": ["-hls_segment_type", "fmp4"]}[kind]
    with (
        http_server(playlist_of(tmp_path, *options)) as address,
        closing(UrlSource(f"{address}/live.m3u8", network())) as source,
    ):
        assert len(list(source)) == 75


def test_a_missing_segment_is_skipped_and_logged(tmp_path: Path, system_tool: Callable[[str], str], said: list[str]) -> None:
    system_tool("ffmpeg")
    answers = playlist_of(tmp_path) | {"/live1.ts": status(404)}
    with (
        http_server(answers) as address,
        closing(UrlSource(f"{address}/live.m3u8", network(), "cam")) as source,
    ):
        assert 45 <= len(list(source)) <= 55
    assert said == [
        f"WARNING cam: a segment is skipped: {address}/live1.ts: the path does not exist (404); check the path after the host\n"
    ]


def test_nothing_leads_to_files_of_this_machine(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clip = write_video(tmp_path / "clip.ts", every(0.04, 75), size=SIZE)
    (tmp_path / "key").write_bytes(bytes(16))
    piece = "#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n"
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="file://{tmp_path}/key"\n'
    playlists = {
        "piece": HEAD + piece.format(f"file://{clip}"),
        "path": HEAD + piece.format(clip),
        "list": HEAD + piece.format(f"concat:{clip}|{clip}"),
        "part": HEAD + piece.format(f"subfile,,start,0,end,0,,:{clip}"),
        "variant": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nfile://{clip}\n",
        "key": HEAD + key + piece.format("/clip.ts"),
        "script": f"ffconcat version 1.0\nfile 'file:{clip}'\n",
        "description": "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }
    answers = {f"/{name}.m3u8": content(text.encode(), "application/x-mpegurl") for name, text in playlists.items()}
    answers |= {f"/moved/{clip.name}": status(302, Location=f"file://{clip}")}
    answers |= {"/clip.ts": content(clip.read_bytes(), "video/mp2t")}
    with http_server(answers) as address:
        for path in answers:
            if path == "/clip.ts":
                with closing(UrlSource(address + path, network())) as source:
                    assert len(list(source)) == 75
            else:
                refusal(address + path, network(open_timeout_s=2))
    assert capfd.readouterr().out == ""


def test_local_frames_and_images_have_a_limit_of_their_own(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", every(0.04, 5), size=SIZE)
    with pytest.raises(SourceError, match=r"frames of 160x120 are over 0.01 megapixels; .* pictures.max_megapixels"):
        FileSource(str(clip), max_megapixels=0.01)
    with closing(FileSource(str(clip), max_megapixels=0.02)) as source:
        assert len(list(source)) == 5


def test_a_small_file_with_a_large_image_is_left_out(tmp_path: Path) -> None:
    """Only its header is read."""
    assert cv2.imwrite(str(tmp_path / "large.png"), np.zeros((1100, 1000), np.uint8))
    assert cv2.imwrite(str(tmp_path / "small.png"), np.zeros((10, 10), np.uint8))
    config = ImagesConfig(recursive=False, max_megapixels=1)
    with closing(ImageSource(str(tmp_path), config)) as source:
        assert [Path(str(frame.file)).name for frame in source] == ["small.png"]
    with pytest.raises(SourceOpenError, match=r"1000x1100 pixels, more than 1 megapixels; .* raise pictures.max_megapixels"):
        ImageSource(str(tmp_path / "large.png"), config)
