"""Cameras of a running program, added, changed and removed through the API: the file, the engine and every answer."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import cv2
import httpx
import pytest
from pydantic import TypeAdapter

from maskstream.store.roles import Role
from maskstream.store.store import Store
from maskstream.web.camera_routes import Cameras
from tests.command_lines import ROOT, Forked
from tests.servers import LOGIN, PASSWORD, USER, Request, http_server, mjpeg, rtsp_server
from tests.slowness import LONGEST_S
from tests.video_files import every, grey, write_video
from tests.web.site import QUICK

pytestmark = pytest.mark.slow
DOOR = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
SECRETS = (b"sesame77", b"hunter22", PASSWORD.encode(), LOGIN.encode())
ANSWER = TypeAdapter(Cameras)
LIST = """\
# The ward, 2nd floor
- name: ward    # bed 1
  url: {0}/ward
  detector: {{min_score: 0.50}}   # a dark room

# The gate has a password of its own
- name: gate
  url: "{1}/gate"
  zones:
    all: [[0,0],[1,0],[1,1]]
"""


def wide(request: Request) -> None:
    """Answer as a camera with larger frames."""
    request.start(200, Content_Type="multipart/x-mixed-replace; boundary=frame")
    image = cv2.imencode(".jpg", grey(3, (320, 240)))[1].tobytes()
    while not request.stopped.wait(0.1):
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
        request.wfile.write(head.encode() + image + b"\r\n")


@dataclass
class Run:
    """A run with a dashboard, and an administrator's program."""

    api: httpx.Client
    said: list[bytes] = field(default_factory=list)
    """The lines of its log."""
    answers: list[bytes] = field(default_factory=list)

    def call(self, method: str, path: str, status: int, **body: Any) -> Any:
        answer = self.api.request(method, f"/api/v1/{path}", json=body or None)
        self.answers.append(answer.content)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def put(self, name: str, **change: Any) -> Any:
        etag = self.call("GET", f"cameras/{name}", 200)["etag"]
        return self.call("PUT", f"cameras/{name}", 200, if_match=etag, **change)

    def cameras(self) -> dict[str, Any]:
        return {view["camera"]: view for view in ANSWER.validate_python(self.call("GET", "cameras", 200))["cameras"]}

    def wait_until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline_s = monotonic() + LONGEST_S
        while not holds(cameras := self.cameras()):
            assert monotonic() < deadline_s, (cameras, b"".join(self.said).decode())
            sleep(0.05)
        return cameras


@contextmanager
def running(list_path: Path, folder: Path) -> Iterator[Run]:
    with Store(folder, cost=QUICK) as store:
        token = store.tokens.add("test", Role.ADMIN, None, None)
    command = [sys.executable, str(ROOT / "run_stream.py"), "--source", str(list_path), "--web", "127.0.0.1:0"]
    options = ["--set", f"store.folder={folder}", "--set", "detector.short_side=128", "--stride", "4", "--no-show"]
    with ExitStack() as stack:
        process = stack.enter_context(Forked([*command, *options], stderr=-1, stdout=-3, cwd=ROOT))
        stack.callback(process.kill)
        said: list[bytes] = []
        assert process.stderr is not None
        reader = Thread(target=said.extend, args=(iter(process.stderr.readline, b""),))
        reader.start()
        deadline_s = monotonic() + LONGEST_S
        while not (started := [line for line in said if b"dashboard: http" in line]):
            assert process.poll() is None, b"".join(said).decode()
            assert monotonic() < deadline_s
            sleep(0.02)
        address = started[0].decode().split("dashboard: ")[1].split()[0]
        api = stack.enter_context(
            httpx.Client(base_url=address, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=LONGEST_S)
        )
        run = Run(api, said)
        yield run
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONGEST_S) == 143, b"".join(said).decode()
        reader.join(LONGEST_S)
    everything = b"".join([*said, *run.answers])
    assert [secret for secret in SECRETS if secret in everything] == []
    assert b"Traceback" not in everything


def is_online(cameras: dict[str, Any], *names: str) -> bool:
    return cameras.keys() == set(names) and all(view["state"] == "online" for view in cameras.values())


def test_http_cameras_are_added_changed_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter22")
    path = tmp_path / "cameras.yaml"
    answers = {"/ward": mjpeg(), "/gate": mjpeg(), "/wide": wide, "/stairs": mjpeg()}
    with http_server(answers) as address:
        with_password = address.replace("://", "://me:sesame77@")
        path.write_text(before := LIST.format(address, with_password))
        path.chmod(0o640)
        with running(path, tmp_path / "store") as run:
            run.wait_until(lambda cameras: is_online(cameras, "ward", "gate"))

            run.put("gate", zones=[{"name": "all", "polygon": [[0, 0], [1, 0], [1, 1]]}, {"name": "door", "polygon": DOOR}])
            run.put("ward", settings={"detector": {"min_score": 0.5}, "privacy": {"blur": "all"}})
            cameras = run.wait_until(lambda cameras: len(cameras["gate"]["zones"]) == 2)
            assert cameras["gate"]["zones"][1] == {"name": "door", "polygon": DOOR}
            assert cameras["ward"]["privacy"] == {"blur": "all"}
            assert is_online(cameras, "ward", "gate")  # neither was reopened
            assert [view["reconnects_last_hour"] for view in cameras.values()] == [0, 0]

            run.put("ward", url=f"{address}/wide")
            run.call("PUT", "cameras/stairs", 200, url=f"{address.replace('://', '://u:${CAMERA_PASSWORD}@')}/stairs")
            cameras = run.wait_until(
                lambda cameras: is_online(cameras, "ward", "gate", "stairs") and cameras["ward"]["width"] == 320
            )
            assert cameras["stairs"]["source"] == f"{address.replace('://', '://***@')}/stairs"

            gate = run.call("GET", "cameras/gate", 200)
            wrong = {"name": "door", "polygon": [[0, 0], [2, 0], [1, 1]]}
            assert "2 is not allowed" in run.call("PUT", "cameras/gate", 422, zones=[wrong], if_match=gate["etag"])["detail"]
            run.call("DELETE", "cameras/gate", 204, if_match=gate["etag"])
            run.call("DELETE", "cameras/gate", 404, if_match=gate["etag"])
            run.wait_until(lambda cameras: is_online(cameras, "ward", "stairs"))
            run.call("GET", "cameras/gate", 404)
    head, _, _ = before.partition("\n# The gate")
    ward = head.replace("/ward\n", "/wide\n") + "  privacy:\n    blur: all\n"
    stairs = f"\n- name: stairs\n  url: {address.replace('://', '://u:${CAMERA_PASSWORD}@')}/stairs\n"
    assert path.read_text() == ward + stairs
    assert path.stat().st_mode & 0o777 == 0o640


def test_rtsp_cameras_are_probed_added_and_moved(tmp_path: Path, rtsp_tools: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of the camera with a password is probed, then a camera is moved to it."""
    monkeypatch.setenv("CAMERA_USER", USER)
    monkeypatch.setenv("CAMERA_PASSWORD", PASSWORD)
    path = tmp_path / "cameras.yaml"
    video = write_video(tmp_path / "video.mp4", every(0.1, 50), size=(160, 120))
    with rtsp_server(video) as server:
        locked = server.url("/locked", "${CAMERA_USER}:${CAMERA_PASSWORD}@")
        path.write_text(f"- name: ward\n  url: {server.url()}   # the corridor\n")
        with running(path, tmp_path / "store") as run:
            run.wait_until(lambda cameras: is_online(cameras, "ward"))
            found = run.call("POST", "cameras/probe", 200, url=locked)
            assert (found["ok"], found["width"], found["height"]) == (True, 160, 120)
            refused = run.call("POST", "cameras/probe", 200, url=server.url("/locked", "me:sesame77@"))
            assert (refused["ok"], "password" in refused["detail"]) == (False, True)
            run.put("ward", url=locked)
            run.call("PUT", "cameras/second", 200, url=server.url("/tcp"))
            run.wait_until(lambda cameras: is_online(cameras, "ward", "second"))
            assert run.call("GET", "cameras/ward", 200)["url"] == locked
    assert path.read_text() == f"- name: ward\n  url: {locked} # the corridor\n- name: second\n  url: {server.url('/tcp')}\n"
