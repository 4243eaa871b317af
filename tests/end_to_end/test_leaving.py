"""Ctrl+C and SIGTERM end a run in time, whatever its cameras are doing at that moment."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from socket import create_server, socket

import pytest

from tests.command_lines import Forked
from tests.end_to_end.test_people import records
from tests.end_to_end.test_run_stream import LEAVES_WITHIN_S, command
from tests.faulty_servers import Client, faulty_server
from tests.ports import free_port
from tests.rtsp_camera import RtspCamera, running
from tests.servers import http_server, mjpeg, silent_server
from tests.slowness import LONGEST_S, promised

Address = AbstractContextManager[str]
MULTIPART = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


@contextmanager
def black_hole() -> Iterator[str]:
    """A port at which connections are neither accepted nor refused: as many wait there as may."""
    with ExitStack() as opened:
        listening = opened.enter_context(create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = opened.enter_context(socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def at(place: Callable[[], Address], url: str) -> Iterator[str]:
    with place() as address:
        yield url.format(address)


def silent_after_headers(client: Client) -> None:
    client.send(MULTIPART)
    client.stays(LONGEST_S)


def garbage(client: Client) -> None:
    client.send(MULTIPART if client.path == "/live" else "RTSP/1.0 200 OK\r\n")
    client.trickle(b"garbage without end: " * 50)


@contextmanager
def stopping_mjpeg() -> Iterator[str]:
    with http_server({"/live": mjpeg(frames=5, ending="silence")}) as address:
        yield f"{address}/live"


@contextmanager
def closed_port() -> Iterator[str]:
    yield f"127.0.0.1:{free_port()}"


CAMERAS: dict[str, tuple[Callable[[], Address], str]] = {
    "connecting": (lambda: at(black_hole, "http://{}/live"), "connecting"),
    "connecting to RTSP": (lambda: at(black_hole, "rtsp://{}/live"), "connecting"),
    "in the handshake of TLS": (lambda: at(silent_server, "https://{}/live"), "connecting"),
    "in the handshake of RTSP over TLS": (lambda: at(silent_server, "rtsps://{}/live"), "connecting"),
    "silent after its headers": (lambda: faulty_server(silent_after_headers), "connecting"),
    "MJPEG that stops": (stopping_mjpeg, "online"),
    "RTSP that sends nothing": (lambda: running(RtspCamera(silent=["tcp", "udp"])), "connecting"),
    "RTSP that pauses": (lambda: running(RtspCamera(pauses_at=30)), "online"),
    "to be opened again": (lambda: at(closed_port, "rtsp://{}/live"), "offline"),
    "garbage": (lambda: faulty_server(garbage), "connecting"),
    "garbage over RTSP": (lambda: faulty_server(garbage, "rtsp", "/stream"), "connecting"),
}
"""How each is made, and the state that it is in when the signal comes."""


def leave(folder: Path, cameras: dict[str, str], number: signal.Signals) -> int:
    """Run these cameras, by name, until each is in its state; then send the signal and return the exit code."""
    lines = [json.dumps({"name": name, "url": url}) for name, url in cameras.items()]
    (folder / "cameras.yaml").write_text("".join(f"- {line}\n" for line in lines))
    status = folder / "status.jsonl"
    outputs = ("--jsonl", folder / "faces.jsonl", "--status", status, "--quiet")
    with Forked(command("--source", folder / "cameras.yaml", *outputs)) as process:
        try:
            deadline_s = time.monotonic() + LONGEST_S
            wanted = {(name, CAMERAS[name][1]) for name in cameras}
            while not wanted <= seen(status):
                assert process.poll() is None
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
            with promised(LEAVES_WITHIN_S):
                process.send_signal(number)
                return process.wait(LONGEST_S)
        finally:
            process.kill()


def seen(status: Path) -> set[tuple[str, str]]:
    return {(change["source"], change["state"]) for change in records(status)}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit into the queue of a port")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)])
def test_cameras_in_all_states_at_once(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with ExitStack() as served:
        cameras = {name: served.enter_context(make()) for name, (make, _) in CAMERAS.items()}
        assert leave(tmp_path, cameras, number) == code


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="as above")
@pytest.mark.parametrize("name", CAMERAS)
def test_a_lone_camera(tmp_path: Path, name: str) -> None:
    with CAMERAS[name][0]() as url:
        assert leave(tmp_path, {name: url}, signal.SIGINT) == 130
