"""Streams over RTMP, SRT, UDP, RTP and TCP, and SDP files."""

import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from itertools import islice, pairwise
from pathlib import Path
from socket import AF_INET, IP_ADD_MEMBERSHIP, IPPROTO_IP, SOCK_DGRAM, inet_aton, socket
from time import monotonic, sleep

import pytest

from maskstream.config.loading import load_config
from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceOpenError, SourceRefused
from maskstream.io.locations import location_kind
from maskstream.sources import UrlSource, source_kind
from maskstream.sources.ffmpeg_relay import ffmpeg_with
from maskstream.sources.rtmp import unescape_login
from maskstream.sources.url_parts import SCHEMES
from maskstream.types import Frame
from tests.certificates import self_signed
from tests.command_lines import ROOT
from tests.ports import free_port, free_udp_ports
from tests.senders import answering, rtmp_refusal, sending
from tests.servers import running_process
from tests.slowness import LONGEST_S
from tests.video_files import every, grey_index, write_video

SIZE = (160, 120)
GROUP = "239.1.1.1"
PASSPHRASE = "topsecret99"
DESCRIPTION = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video {} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
)


def network(**limits: object) -> NetworkConfig:
    settings = load_config().network.model_dump() | {"open_timeout_s": LONGEST_S, "read_timeout_s": LONGEST_S}
    return NetworkConfig.model_validate(settings | limits)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of video with a key frame every 5 frames, each with its own headers."""
    folder = tmp_path_factory.mktemp("sent")
    return write_video(folder / "clip.ts", every(0.04, 25), size=SIZE, options={"g": "5", "bf": "0", "tune": "zerolatency"})


def some(url: str, count: int = 12) -> list[Frame]:
    """Return frames of a live source, in order and without a gap."""
    with closing(UrlSource(url, network())) as source:
        assert source.info.live
        assert (source.info.width, source.info.height) == SIZE
        frames = list(islice(source, count))
    assert len(frames) == count
    return frames


def refusal(url: str, **limits: object) -> SourceOpenError:
    with pytest.raises(SourceOpenError) as caught:
        UrlSource(url, network(**limits))
    assert "\n" not in str(caught.value)
    return caught.value


def in_order(frames: list[Frame]) -> bool:
    return all((after - before) % 25 % 11 in (1, 4) for before, after in pairwise(grey_index(frame.bgr) for frame in frames))


@pytest.mark.parametrize("host", ["127.0.0.1", "@0.0.0.0", "@", "", "[::1]"])
def test_a_transport_stream_over_udp_is_read(clip: Path, host: str) -> None:
    (port,) = free_udp_ports(1)
    with sending(clip, f"udp://{host if ':' in host else '127.0.0.1'}:{port}?pkt_size=1316", "mpegts"):
        assert in_order(some(f"udp://{host}:{port}"))


def test_a_multicast_group_is_read(clip: Path) -> None:
    (port,) = free_udp_ports(1)
    with socket(AF_INET, SOCK_DGRAM) as trial:
        try:
            trial.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, inet_aton(GROUP) + inet_aton("127.0.0.1"))
        except OSError:
            pytest.skip("this machine takes part in no multicast group on its loopback network")
    with sending(clip, f"udp://{GROUP}:{port}?pkt_size=1316&localaddr=127.0.0.1", "mpegts"):
        assert in_order(some(f"udp://@{GROUP}:{port}?localaddr=127.0.0.1"))
    with sending(clip, f"rtp://{GROUP}:{port}?pkt_size=1316&localaddr=127.0.0.1", "rtp_mpegts"):
        assert in_order(some(f"rtp://@{GROUP}:{port}?localaddr=127.0.0.1"))


@pytest.mark.parametrize("host", ["127.0.0.1", "@", ""])
def test_a_transport_stream_in_rtp_is_read(clip: Path, host: str) -> None:
    (port,) = free_udp_ports(1)
    with sending(clip, f"rtp://127.0.0.1:{port}?pkt_size=1316&rtcpport=9", "rtp_mpegts"):
        assert in_order(some(f"rtp://{host}:{port}"))


def test_the_stream_of_an_sdp_file_is_read_as_a_camera(clip: Path, tmp_path: Path) -> None:
    (port,) = free_udp_ports(1)
    described = tmp_path / "camera.txt"  # told by what is in it
    described.write_text(DESCRIPTION.format(port))
    assert source_kind(str(described)) == "url"
    with sending(clip, f"rtp://127.0.0.1:{port}?pkt_size=1200&rtcpport=9", "rtp"):
        assert in_order(some(str(described)))


def test_rtp_without_a_description_asks_for_the_sdp_file(clip: Path) -> None:
    (port,) = free_udp_ports(1)
    with sending(clip, f"rtp://127.0.0.1:{port}?pkt_size=1200&rtcpport=9", "rtp"):
        refused = refusal(f"rtp://127.0.0.1:{port}")
    assert isinstance(refused, SourceRefused)
    assert "need the sender's SDP file" in str(refused)


@pytest.mark.parametrize("suffix", ["ts", "h264", "mjpeg"])
def test_a_plain_connection_is_read_to_its_end(tmp_path: Path, suffix: str) -> None:
    codec, pix_fmt = ("mjpeg", "yuvj420p") if suffix == "mjpeg" else ("libx264", "yuv420p")
    video = write_video(tmp_path / f"clip.{suffix}", every(0.04, 20), size=SIZE, codec=codec, pix_fmt=pix_fmt)
    with (
        answering(lambda connection: connection.sendall(video.read_bytes())) as port,
        closing(UrlSource(f"tcp://127.0.0.1:{port}", network())) as source,
    ):
        frames = list(source)
    assert source.info.live
    assert [grey_index(frame.bgr) for frame in frames] == [index % 11 for index in range(20)]


def test_a_stream_without_data_fails_in_time() -> None:
    ports = free_udp_ports(2)
    for url in (f"udp://127.0.0.1:{ports[0]}", f"rtp://127.0.0.1:{ports[1]}"):
        refused = refusal(url, open_timeout_s=0.3)
        assert not isinstance(refused, SourceRefused)
        assert "no frame within 0.3 s" in str(refused)


def test_data_that_is_not_video_is_refused() -> None:
    with answering(lambda connection: connection.sendall(b"hello, this is no video\n" * 400)) as port:
        assert "cannot be read as video" in str(refusal(f"tcp://127.0.0.1:{port}"))


def test_a_port_in_use_is_reported() -> None:
    with socket(AF_INET, SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))
        port = other.getsockname()[1]
        for scheme in ("udp", "rtp"):
            assert "another program receives at this port" in str(refusal(f"{scheme}://127.0.0.1:{port}"))


def test_an_address_of_another_machine_is_reported() -> None:
    (port,) = free_udp_ports(1)
    assert "does not have that address" in str(refusal(f"udp://0.0.0.0:{port}?localaddr=192.0.2.9"))
    assert "can receive from that multicast group" in str(refusal(f"udp://{GROUP}:{port}?localaddr=192.0.2.9"))


@pytest.mark.parametrize(
    "url", ["udp://127.0.0.1", "rtp://@239.1.1.1", "tcp://host", "srt://host?mode=caller", "udp://1.2.3.4:x"]
)
def test_a_missing_port_is_reported(url: str) -> None:
    refused = refusal(url)
    assert isinstance(refused, SourceRefused)
    assert f"{url.partition(':')[0]}://HOST:PORT" in str(refused)


def test_a_description_without_video_is_reported(tmp_path: Path) -> None:
    described = tmp_path / "camera.sdp"
    described.write_text("v=0\nm=audio 5004 RTP/AVP 0\n")
    assert location_kind(str(described)) == "url"
    assert "describes no video" in str(refusal(str(described)))


def test_rtmp_is_read_to_its_end(clip: Path, system_tool: Callable[[str], str]) -> None:
    port = free_port()
    command = [system_tool("ffmpeg"), "-v", "error", "-i", str(clip), "-c", "copy", "-f", "flv", "-listen", "1"]
    with running_process([*command, f"rtmp://127.0.0.1:{port}/live/x"]):
        frames = list(_opened(f"rtmp://127.0.0.1:{port}/live/x"))
    assert [grey_index(frame.bgr) for frame in frames] == [index % 11 for index in range(25)]


def _opened(url: str) -> Generator[Frame, None, None]:
    """Yield the frames of a sender that may need a moment until it listens."""
    late_s = monotonic() + LONGEST_S
    while True:
        try:
            source = UrlSource(url, network())
            break
        except SourceOpenError:
            if monotonic() > late_s:
                raise
            sleep(0.05)
    with closing(source):
        yield from source


def test_a_stream_that_an_rtmp_server_does_not_have_is_refused() -> None:
    with answering(rtmp_refusal) as port:
        refused = refusal(f"rtmp://me:secret@127.0.0.1:{port}/live/nobody")
    assert isinstance(refused, SourceRefused)
    assert "refuses the stream" in str(refused)
    assert "secret" not in str(refused)


def test_the_certificate_of_an_rtmps_server_is_checked(system_tool: Callable[[str], str], tmp_path: Path) -> None:
    system_tool("openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "own.pem"))

    def answer(connection: socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            rtmp_refusal(encrypted)

    with answering(answer) as port:
        url = f"rtmps://127.0.0.1:{port}/live/nobody"
        assert "its certificate is not trusted" in str(refusal(url))
        assert "refuses the stream" in str(refusal(url, verify_tls=False))
        assert "refuses the stream" in str(refusal(url, ca_file=str(tmp_path / "own.crt")))


def test_an_rtmp_server_that_does_not_run_may_come_back() -> None:
    refused = refusal(f"rtmp://127.0.0.1:{free_port()}/live/x")
    assert not isinstance(refused, SourceRefused)
    assert "the connection was refused" in str(refused)


def test_user_and_password_for_rtmp_reach_ffmpeg_as_they_are() -> None:
    assert unescape_login("rtmp://m%65:p%40s%3As%2F%3f%23%25@host/a%40b") == "rtmp://me:p@s:s%2F%3f%23%@host/a%40b"
    assert unescape_login("rtmp://host/live/a%40b@c") == "rtmp://host/live/a%40b@c"


def send_by_srt(ffmpeg: str, clip: Path, query: str, *, again: int = -1) -> list[str]:
    loop = [ffmpeg, "-v", "error", "-re", "-stream_loop", str(again), "-i", str(clip)]
    return [*loop, "-c", "copy", "-f", "mpegts", f"srt://127.0.0.1:{query}"]


@pytest.fixture
def srt_tool(system_tool: Callable[[str], str]) -> str:
    program = system_tool("ffmpeg")
    if ffmpeg_with("srt") is None:
        pytest.skip("this ffmpeg has no SRT")
    return program


def relays_of(parent: int) -> dict[int, str]:
    """Return by process id the command lines of the shells that receive SRT for a process, and of their children."""
    numbers = [int(place.name) for place in Path("/proc").iterdir() if place.name.isdecimal()]
    stats = {number: _text(f"/proc/{number}/stat").rpartition(")")[2].split()[1:3] for number in numbers}  # parent and group
    groups = [[str(number)] for number, stat in stats.items() if stat == [str(parent), str(number)]]
    lines = {number: _text(f"/proc/{number}/cmdline") for number, stat in stats.items() if stat[1:] in groups}
    return lines if any("-f concat -safe 0 -i pipe:0" in line for line in lines.values()) else {}


def _text(path: str) -> str:
    """Return an entry of /proc; nothing for a process that has ended."""
    try:
        return Path(path).read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _wait_until(happened: Callable[[], object]) -> None:
    late_s = monotonic() + LONGEST_S
    while not happened():
        assert monotonic() < late_s
        sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are listed in /proc")
def test_srt_is_read_by_a_program_without_showing_the_passphrase(clip: Path, srt_tool: str) -> None:
    (port,) = free_udp_ports(1)
    own = f"srt://127.0.0.1:{port}?passphrase=it's{PASSPHRASE}&streamid=#!::u=me"
    with running_process(send_by_srt(srt_tool, clip, f"{port}?mode=listener&passphrase=it's{PASSPHRASE}")):
        frames = _opened(own)
        assert in_order(list(islice(frames, 12)))
        lines = relays_of(os.getpid()).values()
        assert any(line.startswith(srt_tool) for line in lines)
        assert "srt:" not in "".join(lines)
        frames.close()
    assert relays_of(os.getpid()) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are listed in /proc")
def test_a_killed_run_leaves_no_process_that_waits_for_srt(srt_tool: str, tmp_path: Path) -> None:
    (port,) = free_udp_ports(1)
    limits = ["--set", f"network.open_timeout_s={LONGEST_S}"]
    command = [sys.executable, str(ROOT / "run_stream.py"), "--source", f"srt://127.0.0.1:{port}?mode=listener", *limits]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path) as run:
        _wait_until(lambda: any(line.startswith(srt_tool) for line in relays_of(run.pid).values()))
        relays = relays_of(run.pid)
        run.kill()
    _wait_until(lambda: not any(_text(f"/proc/{relay}/cmdline") for relay in relays))


@pytest.mark.slow
def test_listening_for_an_srt_sender(clip: Path, srt_tool: str) -> None:
    (port,) = free_udp_ports(1)
    with ExitStack() as running:
        command = send_by_srt(srt_tool, clip, f"{port}?connect_timeout=60000")
        running.enter_context(running_process(["sh", "-c", 'while ! "$@"; do sleep 0.1; done', "sh", *command]))
        assert in_order(list(islice(_opened(f"srt://0.0.0.0:{port}?mode=listener&timeout=-1"), 12)))


def test_a_wrong_passphrase_is_reported_and_not_shown(clip: Path, srt_tool: str) -> None:
    (port,) = free_udp_ports(1)
    with running_process(send_by_srt(srt_tool, clip, f"{port}?mode=listener&passphrase={PASSPHRASE}")):
        _wait_until(
            lambda: "the passphrase is missing or wrong" in str(refusal(f"srt://127.0.0.1:{port}?passphrase=wrongsecret1"))
        )
        refused = refusal(f"srt://127.0.0.1:{port}?passphrase=wrongsecret1&streamid=publish:cam:me:mysecret")
    assert isinstance(refused, SourceRefused)
    assert "secret" not in str(refused).replace("passphrase", "")


def test_without_the_program_srt_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ffmpeg_with.cache_clear()
    refused = refusal("srt://127.0.0.1:9")
    ffmpeg_with.cache_clear()
    assert isinstance(refused, SourceRefused)
    assert "needs the program ffmpeg with SRT; install it" in str(refused)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_that_of_a_url(scheme: str) -> None:
    assert source_kind(f"{scheme}://127.0.0.1:9") == source_kind(f"{scheme.upper()}://127.0.0.1:9") == "url"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("whep://host/cam", "go2rtc or MediaMTX"),
        ("onvif://me:secret@host", "rtsp:// URL"),
        ("mms://host/x", "http://"),
        ("gopher://host/x", "udp://"),
    ],
)
def test_an_unsupported_scheme_names_an_alternative(url: str, advice: str) -> None:
    with pytest.raises(SourceOpenError) as caught:
        source_kind(url)
    assert advice in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_path_of_windows_is_not_a_url() -> None:
    assert source_kind("C://videos/x.mp4") == "file"
