"""Real servers on this machine for tests of network sources: RTSP cameras fed by ffmpeg, and web servers."""

import base64
import re
import select
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET, create_server
from time import monotonic
from typing import Literal
from urllib.parse import urlsplit

import cv2

from tests.ports import free_udp_ports
from tests.slowness import LONGEST_S
from tests.video_files import grey

USER, PASSWORD = "watchman", "p@ss:w/rd#?"
LOGIN = "watchman:p%40ss%3Aw%2Frd%23%3F@"
"""Both, escaped for a URL."""
WRONG_PASSWORD = "wrong-one"

SYSTEM_PYTHON = "/usr/bin/python3"
_RTSP_SERVER = Path(__file__).parent / "rtsp_server.py"
_RTSP_PATHS = {"/cam": "both:anyone", "/locked": "both:user", "/tcp": "tcp:anyone", "/udp": "udp:anyone"}
_IGNORED_PORT = 9
_PIECE = 10 * 188  # packets of an MPEG transport stream


def assert_no_secret(text: str) -> None:
    assert [secret for secret in (USER, PASSWORD, LOGIN, WRONG_PASSWORD) if secret in text] == []


@dataclass(frozen=True)
class RtspServer:
    """A running RTSP server: /cam without a login, /locked for `USER`, /tcp, /udp over that only; /jpeg is Motion JPEG."""

    host: str
    port: int
    server: subprocess.Popen[bytes]
    feeder: subprocess.Popen[bytes]
    """The ffmpeg that all paths get their video from; without it they are silent."""
    scheme: str = "rtsp"

    def url(self, path: str = "/cam", login: str = "") -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{login}{host}:{self.port}{path}"


@contextmanager
def rtsp_server(
    video: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    method: Literal["basic", "digest"] = "digest",
    certificate: Path | None = None,
    gop: int = 5,
) -> Iterator[RtspServer]:
    """Play a video in a loop at its own speed, like a camera, for any number of clients.

    Args:
        video: What it shows.
        host: Where it listens.
        port: 0 for any free one.
        method: How users log in.
        certificate: A file that holds certificate and key, for rtsps://.
        gop: Pictures from one key frame to the next.
    """
    ports = free_udp_ports(len(_RTSP_PATHS))
    streams = [f"{path}:{port}:{kind}" for (path, kind), port in zip(_RTSP_PATHS.items(), ports, strict=True)]
    with ExitStack() as running:
        feeder = running.enter_context(running_process(feed_command(video, ports, gop)))
        command = [
            SYSTEM_PYTHON,
            str(_RTSP_SERVER),
            host,
            str(port),
            f"{method}:{USER}:{PASSWORD}",
            str(certificate or "-"),
            *streams,
            "/jpeg:jpeg:both:anyone",
        ]
        server = running.enter_context(running_process(command))
        yield RtspServer(host, announced_port(server), server, feeder, "rtsps" if certificate else "rtsp")


def feed_command(video: Path, ports: Sequence[int], gop: int = 5, filters: Sequence[str] = ("null",)) -> list[str]:
    """Return the command that sends a video as H.264 in RTP, with a key frame every `gop` frames, to ports of this machine."""
    outputs = "|".join(f"[f=rtp:payload_type=96]rtp://127.0.0.1:{port}?pkt_size=1200&rtcpport={_IGNORED_PORT}" for port in ports)
    endless = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(video), "-map", "0:v"]
    coded = ["-vf", ",".join(filters), "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(gop)]
    return [*endless, *coded, "-f", "tee", outputs]


@contextmanager
def running_process(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command, and kill it at the end of the block."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LONGEST_S)


def announced_port(server: subprocess.Popen[bytes]) -> int:
    """Return the port that a starting `rtsp_server.py` prints."""
    assert server.stdout is not None
    there, _, _ = select.select([server.stdout], [], [], LONGEST_S)
    line = server.stdout.readline() if there else b""
    if not line:
        raise RuntimeError(f"the RTSP server did not start within {LONGEST_S:g} s")
    return int(line)


class Request(BaseHTTPRequestHandler):
    """One request, with methods to answer it."""

    stopped: threading.Event
    """Set when the server ends: all waiting must end."""
    answers: Mapping[str, "Answer"]

    def do_GET(self) -> None:
        try:
            self.answers.get(urlsplit(self.path).path, status(404))(self)
        except ConnectionError:
            self.close_connection = True  # the client has disconnected

    def start(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def end(self, ending: "Ending") -> None:
        if ending == "silence":
            self.stopped.wait()
        elif ending == "reset":
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # unsent data is discarded
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[Request], None]
Ending = Literal["close", "silence", "reset", "half a picture"]
"""What happens to the connection at the end; `silence` keeps it open."""


@contextmanager
def http_server(answers: Mapping[str, Answer], certificate: Path | None = None) -> Iterator[str]:
    """Serve answers by path; yields the address, `http://HOST:PORT`, or https with a file that contains certificate and key."""
    stopped = threading.Event()
    handler = type("Handler", (Request,), {"stopped": stopped, "answers": answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            stopped.set()
            server.shutdown()
            serving.join(LONGEST_S)


@contextmanager
def silent_server() -> Iterator[str]:
    """Accept connections and never answer; yields HOST:PORT."""
    with create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def status(code: int, **headers: object) -> Answer:
    """Answer with a status and no content."""
    return lambda request: request.start(code, Content_Length=0, **headers)


def content(data: bytes, kind: str, *, ranges: bool = True, cut_at: int | None = None, ending: Ending = "close") -> Answer:
    """Answer with a file.

    Args:
        data: What it holds.
        kind: Its media type.
        ranges: Whether parts of it may be asked for.
        cut_at: Send only this much of what was announced.
        ending: What comes then.
    """

    def answer(request: Request) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "")) if ranges else None
        first, last = (int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)) if asked else (0, len(data) - 1)
        part: dict[str, object] = {"Content_Range": f"bytes {first}-{last}/{len(data)}"} if asked else {}
        request.start(206 if asked else 200, Content_Type=kind, Content_Length=last + 1 - first, **part)
        request.wfile.write(data[first : min(last + 1, cut_at or len(data))])
        if cut_at:
            request.end(ending)

    return answer


def stream(data: bytes, kind: str, lasts_s: float = 0.0) -> Answer:
    """Answer without a length, evenly over the duration of the video."""

    def answer(request: Request) -> None:
        request.start(200, Content_Type=kind)
        pieces = [data[first : first + _PIECE] for first in range(0, len(data), _PIECE)]
        for piece in pieces:
            request.wfile.write(piece)
            if request.stopped.wait(lasts_s / len(pieces)):
                return

    return answer


def mjpeg(fps: float = 25, frames: int | None = None, ending: Ending = "close", *, begins: bytes = b"") -> Answer:
    """Answer like a camera that sends JPEGs in sequence at its frame rate, `grey` by index, after some bytes."""

    def answer(request: Request) -> None:
        request.start(200, Content_Type="multipart/x-mixed-replace; boundary=frame")
        request.wfile.write(begins)
        started_s = monotonic()
        for index in range(frames) if frames else count():
            if request.stopped.wait(max(0.0, started_s + index / fps - monotonic())):
                return
            request.wfile.write(_part(index))
        if ending == "half a picture":
            request.wfile.write(_part(0)[:-200])
        request.end(ending)

    return answer


def _part(index: int) -> bytes:
    image = jpeg(index)
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
    return head.encode() + image + b"\r\n"


def images(images: Iterable[bytes], kind: str = "image/jpeg", **headers: object) -> Answer:
    """Answer each request with the next image, like cameras without a stream; after the last one with 404.

    Args:
        images: What they hold.
        kind: Their media type, true or not.
        headers: Instead of the length.
    """
    left = iter(images)

    def answer(request: Request) -> None:
        data = next(left, None)
        if data is None:
            request.start(404, Content_Length=0)
        else:
            request.start(200, Content_Type=kind, **(headers or {"Content_Length": len(data)}))
            request.wfile.write(data)

    return answer


def jpeg(index: int) -> bytes:
    """Return `grey` of an index as JPEG."""
    return cv2.imencode(".jpg", grey(index, (160, 120)))[1].tobytes()


def locked_by_digest(answer: Answer) -> Answer:
    """Give an answer to `USER` only, with digest authentication (RFC 7616, MD5)."""
    nonce = "5f3a1c"

    def asked(request: Request) -> None:
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("Authorization", "")))
        user, what = (md5(text.encode()).hexdigest() for text in (f"{USER}:camera:{PASSWORD}", f"GET:{given.get('uri', '')}"))
        proof = f"{user}:{nonce}:{given.get('nc')}:{given.get('cnonce')}:auth:{what}"
        if given.get("response") == md5(proof.encode()).hexdigest() and given["uri"] == request.path:
            answer(request)
        else:
            challenge = f'Digest realm="camera", nonce="{nonce}", qop="auth", algorithm=MD5'
            request.start(401, Content_Length=0, WWW_Authenticate=challenge)

    return asked


def locked(answer: Answer) -> Answer:
    """Give an answer to `USER` only."""
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    refuse = status(401, WWW_Authenticate='Basic realm="camera"')
    return lambda request: (answer if request.headers.get("Authorization") == wanted else refuse)(request)
