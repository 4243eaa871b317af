"""Cameras, encoders and drones: RTSP, RTMP, SRT, UDP, RTP and TCP, from real servers and senders on this machine."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import psutil

from tests.certificates import self_signed
from tests.inputs.table import DEMO, Row, Scene
from tests.inputs.web import ONCE
from tests.ports import free_port, free_udp_ports
from tests.servers import LOGIN, rtsp_server
from tests.slowness import LONGEST_S

WATCHED = f"--max-frames 100 {ONCE}"
SOME = (1, 100)
SENT = ["-an", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p"]


def rtsp(
    name: str, path: str = "/cam", options: str = "", *, login: str = "", code: int = 0, says: str = "", tls: bool = False
) -> Row:
    """Return the row of an RTSP camera."""

    @contextmanager
    def scene(folder: Path) -> Iterator[str]:
        certificate = self_signed(folder / "camera.pem") if tls else None
        with rtsp_server(DEMO, certificate=certificate) as server:
            yield f"127.0.0.1:{server.port}"

    frames = SOME if not code else 0
    source = f"{'rtsps' if tls else 'rtsp'}://{login}{{}}{path}"
    return Row(name, source, f"{WATCHED} {options}".strip(), scene=scene, code=code, says=says, frames=frames, people=6)


def sender(*output: str, port: Callable[[], int]) -> Scene:
    """Return a scene: ffmpeg sends the demo clip in a loop at its own speed, and starts again if the receiver disconnects."""

    @contextmanager
    def scene(folder: Path) -> Iterator[str]:
        number = str(port())
        arguments = [word.replace("PORT", number) for word in output]
        command = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(DEMO), *SENT, *arguments]
        with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as encoder:
            try:
                _wait_until_ready(encoder, folder, arguments)
                yield number
            finally:
                encoder.kill()
                encoder.wait(LONGEST_S)

    return scene


def _wait_until_ready(encoder: "subprocess.Popen[bytes]", folder: Path, arguments: Sequence[str]) -> None:
    """Wait until ffmpeg listens (over TCP), and has written its description (if it writes one)."""
    listens = any(word.startswith(("rtmp:", "tcp:")) for word in arguments)
    described = [folder / word for word in arguments if word.endswith(".sdp")]
    while encoder.poll() is None and not (
        (not listens or any(one.status == psutil.CONN_LISTEN for one in psutil.Process(encoder.pid).net_connections()))
        and all(path.exists() and path.read_text().endswith("\n") for path in described)
    ):
        Event().wait(0.05)


def free_udp_port() -> int:
    return free_udp_ports(1)[0]


def sent(name: str, source: str, scene: Scene, options: str = WATCHED) -> Row:
    return Row(name, source, options, scene=scene, made="`ffmpeg -re` sends the demo clip", frames=SOME, people=6)


TS = ("-f", "mpegts")
LIVE = [
    rtsp("RTSP, transport `auto`"),
    rtsp("RTSP over TCP", options="--set network.transport=tcp"),
    rtsp("RTSP over UDP", options="--set network.transport=udp"),
    rtsp("RTSP, `auto`, of a server that refuses TCP", "/udp"),
    rtsp("RTSP, `auto`, of a server that refuses UDP", "/tcp"),
    rtsp("RTSP over TCP of a server that refuses it", "/udp", "--set network.transport=tcp", code=3, says="network.transport"),
    rtsp("RTSP, a login by digest", "/locked", login=LOGIN),
    rtsp("RTSP, a wrong password", "/locked", login="me:wrong@", code=3, says=r"\(401\)"),
    rtsp("RTSP, a wrong path", "/nowhere", code=3, says=r"\(404\)"),
    rtsp("RTSPS, a self-signed certificate of the camera", tls=True),
    sent(
        "RTMP",
        "rtmp://127.0.0.1:{}/live/cam",
        sender("-f", "flv", "-listen", "1", "rtmp://127.0.0.1:PORT/live/cam", port=free_port),
    ),
    sent("SRT", "srt://127.0.0.1:{}", sender(*TS, "srt://127.0.0.1:PORT?mode=listener", port=free_udp_port)),
    sent("UDP", "udp://127.0.0.1:{}", sender(*TS, "udp://127.0.0.1:PORT?pkt_size=1316", port=free_udp_port)),
    sent(
        "UDP, multicast",
        "udp://239.255.1.7:{}?localaddr=127.0.0.1",
        sender(*TS, "udp://239.255.1.7:PORT?pkt_size=1316&localaddr=127.0.0.1&ttl=0", port=free_udp_port),
    ),
    sent("RTP, MPEG-TS", "rtp://127.0.0.1:{}", sender("-f", "rtp_mpegts", "rtp://127.0.0.1:PORT", port=free_udp_port)),
    sent(
        "RTP with an SDP file",
        "camera.sdp",
        sender("-f", "rtp", "-sdp_file", "camera.sdp", "rtp://127.0.0.1:PORT?pkt_size=1200", port=free_udp_port),
    ),
    sent("TCP", "tcp://127.0.0.1:{}", sender(*TS, "tcp://127.0.0.1:PORT?listen=1", port=free_port)),
    Row("RTMP, no server", "rtmp://127.0.0.1:9/live/cam", ONCE, code=3, says="refused"),
    Row("TCP, no server", "tcp://127.0.0.1:9", ONCE, code=3, says="refused"),
    Row("SRT, no server", "srt://127.0.0.1:9", f"{ONCE} --set network.open_timeout_s=3", code=3),
    Row("UDP, no data arrives", "udp://127.0.0.1:9", f"{ONCE} --set network.open_timeout_s=3", code=3),
    Row("WebRTC (WHEP)", "whep://127.0.0.1/cam", ONCE, code=3, says="whep:// is not supported"),
]
