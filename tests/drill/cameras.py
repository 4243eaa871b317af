"""RTSP cameras for the drill: one server each, which all send the video of one ffmpeg."""

import random
import select
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port, free_udp_ports
from tests.servers import PASSWORD, SYSTEM_PYTHON, USER, announced_port, feed_command, running_process

FPS = 10
_HEADERS = 4 + 12 + 2
"""Bytes of RTSP's frame, RTP's header and the kind of NAL unit."""
_SERVER = Path(__file__).resolve().parents[1] / "rtsp_server.py"


@dataclass
class RtspCamera:
    """A camera that can be switched off and on again, at the same address."""

    feed_port: int
    port: int = field(default_factory=free_port)
    role: str = "anyone"
    server: subprocess.Popen[bytes] | None = None

    def on(self) -> None:
        """Start the server; it sends video to each client."""
        stream = f"/cam:{self.feed_port}:tcp:{self.role}"
        command = [SYSTEM_PYTHON, str(_SERVER), "127.0.0.1", str(self.port), f"digest:{USER}:{PASSWORD}", "-", stream]
        self.server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.port = announced_port(self.server)

    def off(self) -> None:
        """Kill the server: its connections are reset, its port refuses."""
        if self.server is not None:
            self.server.kill()
            self.server.communicate()
            self.server = None

    def send(self, number: int) -> None:
        """Send a signal to the server: SIGSTOP freezes it, SIGCONT thaws it."""
        assert self.server is not None
        self.server.send_signal(number)

    def url(self, path: str = "/cam", login: str = "") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}{path}"


@contextmanager
def feeder(clip: Path, ports: Sequence[int], size: str, fps: int, gop: int = 10) -> Iterator[None]:
    """Send a clip to ports in a loop, at its own speed."""
    with running_process(feed_command(clip, ports, gop, (f"scale={size}", f"fps={fps}"))):
        yield


@contextmanager
def rtsp_cameras(clip: Path, roles: Mapping[str, str], fps: int = FPS, gop: int = 10) -> Iterator[dict[str, RtspCamera]]:
    """Send a clip from several cameras, each with the role that may watch it, with a key frame every `gop` frames."""
    ports = free_udp_ports(len(roles))
    with ExitStack() as running:
        running.enter_context(feeder(clip, ports, "480:270", fps, gop))
        cameras = {name: RtspCamera(port, role=role) for (name, role), port in zip(roles.items(), ports, strict=True)}
        for camera in cameras.values():
            running.callback(camera.off)
            camera.on()
        yield cameras


@contextmanager
def one_camera(clip: Path, gop: int = 10, role: str = "anyone") -> Iterator[RtspCamera]:
    """Send a clip from one camera."""
    with rtsp_cameras(clip, {"camera": role}, gop=gop) as cameras:
        yield cameras["camera"]


@dataclass
class DamagingProxy:
    """Forwards a TCP connection, and flips a bit in a fraction of the bytes that the camera sends."""

    to_port: int
    fraction: float
    payload_only: bool
    """Whether frames of RTSP and headers of RTP stay unchanged, so that each packet reaches its stream."""
    port: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "DamagingProxy":
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.2)
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        with ExitStack() as running:
            while not self._stopped.is_set():
                try:
                    client, _ = self._listening.accept()
                except TimeoutError:
                    continue
                thread = threading.Thread(target=self._forward, args=(client,))
                thread.start()
                running.callback(thread.join)

    def _forward(self, client: socket.socket) -> None:
        rng = random.Random(1)
        received = bytearray()
        with suppress(ConnectionError), client, socket.create_connection(("127.0.0.1", self.to_port)) as camera:
            while not self._stopped.is_set():
                readable, _, _ = select.select([client, camera], [], [], 0.2)
                for one in readable:
                    data = one.recv(65536)
                    if not data:
                        return
                    if one is client:
                        camera.sendall(data)
                        continue
                    received += data
                    for message in _messages(received):
                        client.sendall(self._damaged(message, rng))

    def _damaged(self, message: bytes, rng: random.Random) -> bytes:
        """Flip bits in video packets; RTSP messages stay unchanged, because without them nothing is sent."""
        if not message.startswith(b"$"):
            return message
        changed = bytearray(message)
        first = _HEADERS if self.payload_only else 0
        flips = (len(message) - first) * self.fraction
        for _ in range(int(flips + rng.random())):
            changed[rng.randrange(first, len(message))] ^= 1 << rng.randrange(8)
        return bytes(changed)


def _messages(received: bytearray) -> Iterator[bytes]:
    """Take complete interleaved frames ($, channel, length, packet), and the text between them, out of the received bytes."""
    while received:
        if received[:1] == b"$":
            end = 4 + int.from_bytes(received[2:4], "big") if len(received) >= 4 else len(received) + 1
        else:
            end = next((at for at in range(len(received)) if received[at : at + 1] == b"$"), len(received))
        if end > len(received):
            return
        yield bytes(received[:end])
        del received[:end]
