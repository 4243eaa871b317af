"""One run with a dozen cameras, of which nearly every one goes wrong in its own way."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.drill.cameras import DamagingProxy, RtspCamera, feeder
from tests.drill.child import Child, child
from tests.servers import LOGIN, free_udp_ports, silent_server

READ_TIMEOUT_S = 4.0
BACK_WITHIN_S = 12.0
"""Of a camera that is back: the rest of a wait, and the opening on a busy machine."""
_NAMES = ("steady", "killed", "frozen", "refused", "locked", "wrong", "missing", "silent", "damaged", "later", "changed")


@dataclass
class Scene:
    """The cameras and the program that watches them."""

    cameras: dict[str, RtspCamera]
    run: Child
    other_port: int
    """Where another picture, of another size and rate, is sent to."""


@contextmanager
def scene(folder: Path, clip: Path) -> Iterator[Scene]:
    ports = free_udp_ports(5)
    feeds = dict(zip(("steady", "killed", "frozen", "later", "changed"), ports, strict=True))
    (other_port,) = free_udp_ports(1)
    with ExitStack() as running:
        running.enter_context(feeder(clip, ports, "480:270", 10))
        running.enter_context(feeder(clip, [other_port], "640:360", 5))
        cameras = {name: RtspCamera(port, role="both" if name == "steady" else "anyone") for name, port in feeds.items()}
        for camera in cameras.values():
            running.callback(camera.off)
            camera.on()
        cameras["later"].off()
        proxy = running.enter_context(DamagingProxy(cameras["steady"].port, share=0.01))
        locked = RtspCamera(feeds["steady"], role="user")
        locked.on()
        running.callback(locked.off)
        silent = running.enter_context(silent_server())
        urls = {name: camera.url() for name, camera in cameras.items()} | {
            "refused": f"rtsp://127.0.0.1:{unused_port()}/cam",
            "locked": locked.url(login=LOGIN),
            "wrong": locked.url(login="watchman:hunter2@"),
            "missing": cameras["steady"].url("/nowhere"),
            "silent": f"rtsp://{silent}/cam",
            "damaged": f"rtsp://127.0.0.1:{proxy.port}/cam",
        }
        listed = folder / "cameras.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        network = f"network: {{open_timeout_s: {READ_TIMEOUT_S}, read_timeout_s: {READ_TIMEOUT_S}}}"
        listed.write_text("".join(f"- {{name: {name}, url: '{urls[name]}', {network}}}\n" for name in _NAMES))
        run = running.enter_context(child(folder, "--source", listed, "--output", folder / "recordings"))
        yield Scene(cameras, run, other_port)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])
