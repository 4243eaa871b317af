"""Playlists, lists and descriptions are programs that somebody else wrote: what they may not lead to is never opened.

Whether a file of this machine was opened is told by inotify, whether another server was asked by that server.
"""

import ast
import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import AF_UNIX, socket

import av
import pytest

from maskstream.config.loading import load_config
from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceOpenError, SourceRefused
from maskstream.io.ffmpeg_whitelists import PROGRAMS, PROTOCOLS, STREAMED_FORMATS, plain_formats
from maskstream.io.local_media import LeadsAway, open_local
from maskstream.sinks.audio import AudioTrack
from maskstream.sinks.video_formats import CONTAINERS
from maskstream.sources import FileSource, PipeSource, UrlSource
from maskstream.types import SourceInfo
from tests.command_lines import ROOT
from tests.faulty_servers import Client, FaultyServer
from tests.senders import answering, in_the_background
from tests.servers import content, http_server, status
from tests.video_files import every, grey_index, plain, write_video

HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
PIECE = HEAD + "#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
SCRIPT = "ffconcat version 1.0\nfile {}\n"
SAFE = {"crypto", "file", "http", "https", "httpproxy", "none", "rtmp", "rtmps", "rtp", "srt", "srtp", "tcp", "tls", "udp"}
_IN_OPEN = 0x20


@contextmanager
def watched(path: Path) -> Iterator[Callable[[], bool]]:
    """Yield what tells whether anybody has opened a file since."""
    if sys.platform != "linux":
        yield lambda: False
        return
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(path), _IN_OPEN) >= 0

    def was_opened() -> bool:
        try:
            return bool(os.read(watch, 4096))
        except BlockingIOError:
            return False

    try:
        yield was_opened
    finally:
        os.close(watch)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A video, white, in a folder beside that of the lists."""
    (tmp_path / "other").mkdir()
    (tmp_path / "lists").mkdir()
    return write_video(tmp_path / "other" / "secret.ts", every(0.04, 25), size=(160, 120), image=lambda _: plain((255, 255, 255)))


@pytest.fixture
def lists(secret: Path) -> Path:
    """The folder of the lists, with a clip of 25 frames."""
    folder = secret.parents[1] / "lists"
    write_video(folder / "clip.ts", every(0.04, 25), size=(160, 120))
    return folder


def network(**limits: object) -> NetworkConfig:
    return NetworkConfig.model_validate(load_config().network.model_dump() | {"open_timeout_s": 2} | limits)


def refusal(source: Callable[[], object]) -> SourceOpenError:
    with pytest.raises(SourceOpenError) as caught:
        source()
    assert "\n" not in str(caught.value)
    return caught.value


def test_inotify_tells_what_is_opened(secret: Path) -> None:
    with watched(secret) as was_opened:
        assert not was_opened()
        open_local(str(secret)).close()
        assert was_opened() == (sys.platform == "linux")


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_no_kind_of_source_leads_to_more_than_its_own(kind: str) -> None:
    protocols = set(PROTOCOLS[kind].split(","))
    assert protocols <= SAFE
    assert ("file" in protocols) == (kind == "file")
    assert not protocols & {"tcp", "udp", "http"} or kind not in ("file", "list", "pipe", "srt")


def test_formats_that_lead_elsewhere_are_not_among_those_that_are_read_as_video() -> None:
    for formats in (plain_formats(), STREAMED_FORMATS):
        assert not set(formats.split(",")) & (PROGRAMS | {"rtsp", "rtp", "sap", "image2", "lavfi", "x11grab", "video4linux2"})
    assert {"mov", "matroska", "mpegts", "avi", "flv", "h264", "mjpeg"} <= set(plain_formats().split(","))


def test_whatever_is_read_is_read_by_the_table() -> None:
    reading = []
    for path in (ROOT / "maskstream").rglob("*.py"):
        if "av.open(" not in path.read_text():
            continue
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "av.open"]
        if any(
            "w" not in [ast.literal_eval(mode) for mode in call.args[1:2] if isinstance(mode, ast.Constant)] for call in calls
        ):
            reading.append(path)
            assert "whitelist(" in path.read_text(), path
    assert len(reading) >= 7


def with_external_data(movie: bytes, path: Path) -> bytes:
    """Return an MP4, its index behind its data, that says that the data are in another file (QuickTime File Format, alias)."""
    place = b"vol" + str(path).replace("/", ":").encode()
    padded = place + bytes(len(place) % 2)
    alias = bytes(10) + b"\3" + b"vol".ljust(27, b"\0") + bytes(12) + b"\1x".ljust(64, b"\0") + bytes(16)
    alias += struct.pack(">hh", 0, 0) + bytes(16) + struct.pack(">hH", 2, len(place)) + padded + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    at = movie.index(b"dref")
    size = int.from_bytes(movie[at - 4 : at], "big")
    changed = bytearray(movie)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        box = movie.rindex(name, 0, at + 4) - 4
        changed[box : box + 4] = (int.from_bytes(movie[box : box + 4], "big") + len(entry) - (size - 16)).to_bytes(4, "big")
    changed[at + 12 : at - 4 + size] = entry
    return bytes(changed)


def test_external_data_of_an_mp4_are_not_read(secret: Path, lists: Path) -> None:
    movie = write_video(lists / "clip.mp4", every(0.04, 5), size=(160, 120))
    movie.write_bytes(with_external_data(movie.read_bytes(), secret))
    with watched(secret) as was_opened:
        refusal(lambda: FileSource(str(movie)))
        assert not was_opened()
        av.open(movie, options={"enable_drefs": "1", "use_absolute_path": "1"}).close()  # what FFmpeg could do
        assert was_opened() == (sys.platform == "linux")


LOCAL = {
    "a URL of a file": PIECE.format("file://{secret}"),
    "a path": PIECE.format("{secret}"),
    "up": PIECE.format("../other/secret.ts"),
    "a list of the protocol": PIECE.format("concat:{secret}|{secret}"),
    "a part": PIECE.format("subfile,,start,0,end,0,,:{secret}"),
    "a decryption": PIECE.format("crypto:{secret}"),
    "a server": PIECE.format("http://127.0.0.1:{port}/x.ts"),
    "a plain connection": PIECE.format("tcp://127.0.0.1:{port}"),
    "a variant": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nfile://{secret}\n",
    "a header": HEAD + '#EXT-X-MAP:URI="file://{secret}"\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n',
    "a key": HEAD + '#EXT-X-KEY:METHOD=AES-128,URI="file://{secret}"\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n',
    "sound": '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="file://{secret}"\n'
    '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\nfile://{secret}\n',
    "a script with a path": SCRIPT.format("'{secret}'"),
    "a script with a URL": SCRIPT.format("'file:{secret}'"),
    "a script up": SCRIPT.format("../other/secret.ts"),
    "a script that is not safe": "ffconcat version 1.0\noption safe 0\nfile clip.ts\nfile '{secret}'\n",
    "a script with a server": SCRIPT.format("http://127.0.0.1:{port}/x.ts"),
    "a script with a list": SCRIPT.format("inner.m3u8"),
    "MPEG-DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
    '<Period><AdaptationSet mimeType="video/mp2t"><Representation id="0" bandwidth="1"><BaseURL>file://{secret}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("name", LOCAL)
def test_a_list_in_a_file_leads_nowhere_else(name: str, secret: Path, lists: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(client: Client) -> None:
        client.http(body=secret.read_bytes())

    with FaultyServer(refuse) as other, watched(secret) as was_opened:
        named = LOCAL[name].replace("{secret}", str(secret)).replace("{port}", str(other.port))
        (lists / "inner.m3u8").write_text(PIECE.format(f"file://{secret}"))
        (lists / "list.m3u8").write_text(named)
        refused = refusal(lambda: FileSource(str(lists / "list.m3u8")))
        assert not was_opened()
    assert other.connections == 0
    assert str(lists / "list.m3u8") in str(refused)
    assert capfd.readouterr().out == ""


def test_what_a_list_may_not_lead_to_is_named() -> None:
    said = LeadsAway("http://me:hidden@host/x.ts").strerror or ""
    assert "it names http://***@host/x.ts: a list in a file may name files in its own folder only" in said


def test_links_out_of_the_folder_of_a_list_are_not_followed(secret: Path, lists: Path) -> None:
    (lists / "link.ts").symlink_to(secret)
    (lists / "list.m3u8").write_text(PIECE.format("link.ts"))
    with watched(secret) as was_opened:
        assert "it names" in str(refusal(lambda: FileSource(str(lists / "list.m3u8"))))
        assert not was_opened()


@pytest.mark.parametrize("text", [PIECE.format("sub/clip.ts"), SCRIPT.format("sub/clip.ts")], ids=["playlist", "script"])
@pytest.mark.parametrize("is_relative", [True, False])
def test_a_list_of_files_in_its_own_folder_is_read(
    text: str, is_relative: bool, lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lists / "sub: ü").mkdir()
    folder = lists / "sub: ü"
    (folder / "sub").mkdir()
    (lists / "clip.ts").rename(folder / "sub" / "clip.ts")
    (folder / "list.m3u8").write_text(text)
    monkeypatch.chdir(folder)
    with closing(FileSource("list.m3u8" if is_relative else str(folder / "list.m3u8"))) as source:
        assert [grey_index(frame.bgr) for frame in source] == [index % 11 for index in range(25)]


def test_a_piece_that_is_missing_is_left_out_and_said(lists: Path, said: list[str]) -> None:
    (lists / "list.m3u8").write_text(HEAD + "#EXTINF:1,\nclip.ts\n#EXTINF:1,\nmissing.ts\n#EXT-X-ENDLIST\n")
    with closing(FileSource(str(lists / "list.m3u8"))) as source:
        assert len(list(source)) == 25
    assert any("a part is left out: " in line and "missing.ts: No such file" in line for line in said)


def test_a_pattern_of_images_as_the_name_of_a_file_opens_no_other(tmp_path: Path) -> None:
    write_video(tmp_path / "x.mkv", every(0.04, 2), size=(160, 120), codec="mjpeg", pix_fmt="yuvj420p")
    (tmp_path / "x1.mjpg").write_bytes((tmp_path / "x.mkv").read_bytes())
    (tmp_path / "x%d.mjpg").write_bytes(b"no video")
    with watched(tmp_path / "x1.mjpg") as was_opened:
        refusal(lambda: FileSource(str(tmp_path / "x%d.mjpg")))
        assert not was_opened()


def test_the_sound_of_a_recording_is_read_by_the_same_rule(secret: Path, lists: Path) -> None:
    (lists / "list.m3u8").write_text(PIECE.format(f"file://{secret}"))
    info = SourceInfo("list", 160, 120, live=False, path=str(lists / "list.m3u8"))
    with watched(secret) as was_opened, av.open(lists / "out.mp4", "w") as target:
        with pytest.raises(LeadsAway):
            AudioTrack(info, 0.0, None, target, CONTAINERS[".mp4"])
        assert not was_opened()


LED_TO = (
    *("file://{secret}", "{secret}", "concat:{secret}|{secret}", "subfile,,start,0,end,0,,:{secret}", "crypto:{secret}"),
    *("rtmp://127.0.0.1:{port}/a/b", "tcp://127.0.0.1:{port}", "gopher://127.0.0.1:{port}/x", "ftp://127.0.0.1:{port}/x.ts"),
    *("unix:{socket}", "rtsp://127.0.0.1:{port}/x", "tls://127.0.0.1:{port}", "mmst://127.0.0.1:{port}/x", "data:video/mp2t,x"),
)
"""Where a server may not lead."""


@pytest.mark.parametrize("led_to", LED_TO)
def test_a_server_leads_nowhere_but_to_servers_of_its_kind(led_to: str, secret: Path, lists: Path) -> None:
    """By a redirect, a piece, a key, a header and a variant of a playlist."""
    with (
        FaultyServer(lambda client: client.http(body=b"x" * 16)) as other,
        socket(AF_UNIX) as local,
        watched(secret) as was_opened,
    ):
        local.bind(str(lists / "socket"))
        local.listen()
        local.setblocking(False)
        url = led_to.format(secret=secret, port=other.port, socket=lists / "socket")
        playlists = {
            "/piece": PIECE.format(url),
            "/variant": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n",
            "/key": HEAD + f'#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:1,\n/clip.ts\n#EXT-X-ENDLIST\n',
            "/map": HEAD + f'#EXT-X-MAP:URI="{url}"\n#EXTINF:1,\n/none.ts\n#EXT-X-ENDLIST\n',
        }
        answers = {path: content(text.encode(), "application/x-mpegurl") for path, text in playlists.items()}
        answers |= {"/moved": status(302, Location=url), "/clip.ts": content((lists / "clip.ts").read_bytes(), "video/mp2t")}
        with http_server(answers) as address:
            for path in answers.keys() - {"/clip.ts"}:
                refusal(lambda path=path: UrlSource(address + path, network()))  # type: ignore[misc]
        with pytest.raises(BlockingIOError):
            local.accept()
        assert not was_opened()
    assert other.connections == 0


@pytest.mark.parametrize("led_to", ["http://127.0.0.1:{port}/x", "rtmp://127.0.0.1:{port}/a/b", "file://{secret}"])
def test_an_rtsp_server_leads_to_rtsp_alone(led_to: str, secret: Path) -> None:
    with FaultyServer(lambda client: client.http(body=b"x")) as other, watched(secret) as was_opened:
        url = led_to.format(secret=secret, port=other.port)
        with FaultyServer(lambda client: client.rtsp("302 Moved", f"Location: {url}")) as moving:
            refusal(lambda: UrlSource(f"rtsp://127.0.0.1:{moving.port}/x", network()))
        assert not was_opened()
    assert other.connections == 0


@pytest.mark.parametrize(
    "text", ["v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n", "ffconcat version 1.0\nfile x.ts\n"]
)
def test_lists_that_are_for_files_are_refused_from_a_server(text: str) -> None:
    with http_server({"/live": content(text.encode(), "application/sdp")}) as address:
        refused = refusal(lambda: UrlSource(f"{address}/live", network()))
    assert isinstance(refused, SourceRefused)
    assert "is not read from a server; save it, and give its path as the source" in str(refused)


@pytest.mark.parametrize("text", [PIECE, SCRIPT, "v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 33\r\n"])
@pytest.mark.parametrize("led_to", ["tcp://127.0.0.1:{port}", "file://{secret}"])
def test_what_is_sent_over_a_plain_connection_leads_nowhere(text: str, led_to: str, secret: Path) -> None:
    with FaultyServer(lambda client: client.http(body=b"x")) as other, watched(secret) as was_opened:
        sent = text.format(led_to.format(secret=secret, port=other.port)).encode()
        with answering(lambda connection: connection.sendall(sent)) as port:
            refused = refusal(lambda: UrlSource(f"tcp://127.0.0.1:{port}", network()))
        assert not was_opened()
    assert isinstance(refused, SourceRefused)
    assert other.connections == 0


@pytest.mark.parametrize("text", [PIECE, SCRIPT, "v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 33\r\n"])
@pytest.mark.parametrize("led_to", ["http://127.0.0.1:{port}/x.ts", "file://{secret}", "{secret}", "other/secret.ts"])
def test_what_comes_through_a_pipe_leads_nowhere(
    text: str, led_to: str, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("cam")
    with FaultyServer(lambda client: client.http(body=b"x")) as other, watched(secret) as was_opened:
        sent = text.format(led_to.format(secret=secret, port=other.port))
        with in_the_background(lambda _: Path("cam").write_text(sent) and None):
            refusal(lambda: PipeSource("cam"))
        assert not was_opened()
    assert other.connections == 0


def test_a_description_of_a_stream_names_no_file(secret: Path, lists: Path) -> None:
    (lists / "camera.sdp").write_text(
        f"v=0\nc=IN IP4 127.0.0.1\na=control:file://{secret}\nm=video 9 RTP/AVP 33\na=control:{secret}\n"
    )
    with watched(secret) as was_opened:
        refusal(lambda: UrlSource(str(lists / "camera.sdp"), network(open_timeout_s=0.3)))
        assert not was_opened()
