"""The WebSocket and the images of cameras: a real server, real sockets, frames as the thread that renders writes them."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from maskstream import MaskPipeline
from maskstream.events.types import MaskEvent, Observation, Phase, Timestamp
from maskstream.stream.states import SourceState
from maskstream.types import Frame, Label
from maskstream.web.live_clients import _MAX_EVENTS
from maskstream.web.live_sink import LiveEvents
from tests.conftest import make_face
from tests.web.live import WITHIN_S, FedView, ReceivedTile, config_with, decoded, watcher
from tests.web.site import Site, running_site

FILL = 112


class Pump:
    """Writes frames of cameras from a thread, 50 a second, as a run does."""

    def __init__(self, fed: FedView, *cameras: str) -> None:
        self._fed, self._cameras = fed, cameras
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            for camera in self._cameras:
                self._fed.frame(camera)
            self._fed.sink.attend()

    def __enter__(self) -> "Pump":
        for camera in self._cameras:
            self._fed.state(SourceState.ONLINE, SourceState.CONNECTING, camera)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(WITHIN_S)


@pytest.fixture
def fed() -> FedView:
    return FedView()


@pytest.fixture
def site(tmp_path: Path, fed: FedView) -> Iterator[Site]:
    with running_site(tmp_path, {"max_mjpeg": 1, "max_clients": 3}, live=fed.view) as running:
        yield running
        for thread in fed.view.close():
            thread.join(WITHIN_S)


def until(condition: object) -> None:
    end_s = monotonic() + WITHIN_S
    while not condition():  # type: ignore[operator]
        assert monotonic() < end_s, "waited in vain"
        sleep(0.005)


def test_tiles_arrive_with_age_people_and_image(site: Site, fed: FedView) -> None:
    with Pump(fed, "a"), watcher(site, site.client("viewer")) as client:
        client.watch("a")
        first = client.tile()
        assert first.header["people"] == {"mask": 1, "no_mask": 0, "incorrect": 0, "unknown": 0}
        assert first.header["age_s"] < WITHIN_S
        assert decoded(first.jpeg).shape == (first.header["height"], first.header["width"], 3) == (180, 320, 3)
        client.acknowledge(first)
        second = client.tile()
        assert second.header["frame"] > first.header["frame"]
        assert second.jpeg != first.jpeg


def test_states_are_sent_at_once_and_events_soon(site: Site, fed: FedView) -> None:
    fed.state(SourceState.CONNECTING, None)
    with watcher(site, site.client("viewer")) as client:
        assert [each["state"] for each in client.text("cameras")["cameras"]] == ["connecting"]
        fed.state(SourceState.OFFLINE, SourceState.CONNECTING, cause="no route to host")
        changed = client.text("cameras")["cameras"][0]
        assert (changed["state"], changed["cause"]) == ("offline", "no route to host")
        assert changed["last_outage"]["ended_utc"] is None
        LiveEvents(fed.view).take([event()])
        sent = client.text("event")["event"]
        assert (sent["event_id"], sent["label"], sent["zone"]) == ("one", "no_mask", "door")
        assert "crop_jpeg" not in sent["best"]


def event(source_id: str = "a", phase: Phase = Phase.START) -> MaskEvent:
    at = Timestamp(1, 0.1, None)
    best = Observation(at, 0.9, make_face().face_box_xyxy, b"jpeg")
    return MaskEvent("one", 0, phase, Label.NO_MASK, source_id, 1, "door", at, at, 0.9, best)


def test_a_user_of_one_camera_gets_nothing_of_the_others(site: Site, fed: FedView) -> None:
    fed.view.clients.cameras_every_s = 0.05
    user = site.client("ward")
    with Pump(fed, "ward", "icu"), watcher(site, user) as client:
        client.watch("icu", "ward")
        LiveEvents(fed.view).take([event("icu"), event("ward")])
        messages = [client.next() for _ in range(6)]
        for message in messages:
            if isinstance(message, ReceivedTile):
                assert message.header["camera"] == "ward"
            elif message["type"] == "event":
                assert message["event"]["source"] == "ward"
            else:
                assert {each["camera"] for each in message["cameras"]} == {"ward"}
                assert all(each["source"] is None for each in message["cameras"])
            if isinstance(message, ReceivedTile):
                client.acknowledge(message)
        assert "icu" not in fed.painted
        assert user.get("/api/v1/cameras/icu/latest.jpg").status_code == 403
        assert user.get("/api/v1/cameras/icu/mjpeg").status_code == 403
        assert user.get("/api/v1/cameras/ward/latest.jpg").status_code == 200


def test_a_display_gets_tiles_and_no_events(site: Site, fed: FedView) -> None:
    fed.view.clients.cameras_every_s = 0.05
    with Pump(fed, "a"), watcher(site, site.client("display")) as client:
        client.watch("a")
        client.tile()
        LiveEvents(fed.view).take([event()])
        for _ in range(2):
            assert client.text("cameras")["cameras"][0]["camera"] == "a"


def test_without_login_nothing_is_sent(site: Site, fed: FedView) -> None:
    stranger = site.client()
    with pytest.raises(InvalidStatus, match="401"), watcher(site, stranger):
        pass
    with watcher(site, site.program()) as program:
        program.text("cameras")
    foreign = site.client("viewer")
    foreign.headers["origin"] = "https://elsewhere.example"
    with pytest.raises(InvalidStatus, match="403"), watcher(site, foreign):
        pass
    assert stranger.get("/api/v1/cameras/a/latest.jpg").status_code == 401


def test_a_viewer_that_never_reads_takes_nothing_from_another_and_is_disconnected(site: Site, fed: FedView) -> None:
    fed.view.clients.send_within_s = 0.5
    fed.view.clients.cameras_every_s = 0.01  # to fill the buffers of the system, which are small here
    site.server._listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    narrow = socket.create_connection(("127.0.0.1", int(site.host.rpartition(":")[2])))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    cameras = [f"camera {number}" for number in range(4)]
    stuck_user, fast_user = site.client("viewer"), site.client("admin")
    with Pump(fed, *cameras), watcher(site, stuck_user, sock=narrow, max_queue=1) as stuck, watcher(site, fast_user) as fast:
        stuck.watch(*cameras)
        fast.watch(cameras[0])
        (client,) = [each for each in fed.view.clients._clients if each.access.name == "viewer"]
        for _ in range(3 * _MAX_EVENTS):
            LiveEvents(fed.view).take([event(cameras[0])])
        while len(fed.view.clients) == 2:
            fast.acknowledge(fast.tile())
            assert len(client._events) <= _MAX_EVENTS
            assert len(client._viewer._waiting) <= 4
        for _ in range(5):
            fast.acknowledge(fast.tile())


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"type":"other"}',
        '{"type":"watch"}',
        '{"type":"watch","cameras":[{"camera":"a","width":321}]}',
        '{"type":"watch","cameras":[{"camera":"a"}],"rate":1e9}',
        '{"type":"watch","cameras":[{"camera":"a"}],"more":1}',
        '{"type":"ack","camera":"a","frame":"1"}',
        "[" * 20_000,
        json.dumps({"type": "watch", "cameras": [{"camera": "x"}] * 257}),
    ],
)
def test_a_malformed_message_closes_its_connection_with_one_line(site: Site, fed: FedView, text: str, said: list[str]) -> None:
    with watcher(site, site.client("viewer")) as client:
        client.connection.send(text)
        closed = client.until_closed()
    assert closed.code == 1007
    assert closed.reason
    assert closed.reason.isprintable()
    assert not [line for line in said if "Traceback" in line or "ERROR" in line]


def test_malformed_frames_close_their_connection_only(site: Site, fed: FedView, said: list[str]) -> None:
    with Pump(fed, "a"), watcher(site, site.client("viewer")) as good:
        good.watch("a")
        for data in (
            b"\xff\xff\xff\xff",
            b"\x81\x05hello",
            b"\x82\xfe\xff\xff" + bytes(4),
            b"\x81\xff" + b"\xff" * 8,
            b"\0" * 64,
        ):
            with watcher(site, site.client("admin")) as bad:
                bad.connection.socket.sendall(data)
                with suppress(OSError):  # the server was faster
                    bad.connection.socket.shutdown(socket.SHUT_WR)
                good.acknowledge(good.tile())
        with watcher(site, site.client("admin")) as bad:
            bad.connection.send(b"binary")
            assert bad.until_closed().code == 1007
        with watcher(site, site.client("admin"), max_size=None) as bad:
            bad.connection.send("x" * 70_000)
            assert bad.until_closed().code == 1009
        good.acknowledge(good.tile())
        assert good.tile().header["camera"] == "a"
    assert not [line for line in said if "Traceback" in line or "ERROR" in line]


def test_a_flood_of_useless_messages_ends_the_connection(site: Site, fed: FedView) -> None:
    with watcher(site, site.client("viewer")) as client:
        for _ in range(101):
            client.send(type="ack", camera="a", frame=1)
        assert client.until_closed().reason == "too many messages that acknowledge no tile"


def test_more_clients_than_allowed_are_refused(site: Site, fed: FedView) -> None:
    user = site.client("viewer")
    with watcher(site, user), watcher(site, user), watcher(site, user), pytest.raises(InvalidStatus, match="503"):
        watcher(site, user).__enter__()
    until(lambda: len(fed.view.clients) == 0)
    with watcher(site, user):
        pass


def test_half_open_connections_change_nothing(site: Site, fed: FedView) -> None:
    """Neither those that send nothing, nor those that stop in the middle of a request or of a handshake."""
    address = ("127.0.0.1", int(site.host.rpartition(":")[2]))
    beginnings = (b"", b"GET /api/v1/live HTTP/1.1\r\nHost: 127", b"POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    opened = []
    with Pump(fed, "a"), watcher(site, site.client("viewer")) as client:
        client.watch("a")
        try:
            for number in range(200):
                connection = socket.create_connection(address, source_address=("127.0.0.2", 0))
                opened.append(connection)
                with suppress(ConnectionError):  # one address may have a part of all connections
                    connection.sendall(beginnings[number % 3])
                if number % 10 == 0:
                    client.acknowledge(client.tile())
            assert site.client("admin").get("/api/v1/cameras/a/latest.jpg").status_code == 200
        finally:
            for connection in opened:
                connection.close()
        client.acknowledge(client.tile())


def test_a_web_thread_that_hangs_does_not_hold_up_the_stream(site: Site, fed: FedView) -> None:
    """It does not run while frames, states and events are written; then it sends the newest."""
    release = threading.Event()
    fed.state(SourceState.ONLINE, SourceState.CONNECTING)
    with watcher(site, site.client("viewer")) as client:
        client.watch("a")
        until(lambda: fed.hub.watched() == ["a"])
        assert fed.hub._loop is not None
        fed.hub._loop.call_soon_threadsafe(release.wait, WITHIN_S)
        for _ in range(100):
            fed.frame()
            fed.sink.attend()
            fed.state(SourceState.ONLINE, SourceState.STALLED)
            LiveEvents(fed.view).take([event()])
        assert len(fed.painted) == 1
        release.set()
        client.acknowledge(client.tile())
        until(lambda: fed.hub.wants("a"))
        last = fed.frame().frame.index
        assert client.tile().header["frame"] == last


def test_latest_image_has_its_age(site: Site, fed: FedView) -> None:
    user = site.client("viewer")
    fed.state(SourceState.ONLINE, SourceState.CONNECTING)
    with Pump(fed, "a"):
        answer = user.get("/api/v1/cameras/a/latest.jpg", params={"width": "640"})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert float(answer.headers["x-frame-age"]) < WITHIN_S
    assert decoded(answer.content).shape == (360, 640, 3)
    assert user.get("/api/v1/cameras/b/latest.jpg").status_code == 404
    assert user.get("/api/v1/cameras/a/latest.jpg", params={"width": "7"}).status_code == 422
    assert fed.hub.watched() == []


def test_mjpeg_sends_images_and_is_limited(site: Site, fed: FedView) -> None:
    user = site.client("viewer")
    with Pump(fed, "a"):
        with user.stream("GET", "/api/v1/cameras/a/mjpeg?rate=30&width=320") as stream:
            assert "multipart/x-mixed-replace" in stream.headers["content-type"]
            chunks, received = stream.iter_raw(), b""
            while received.count(b"\xff\xd9\r\n--frame") < 3:
                received += next(chunks)
            assert user.get("/api/v1/cameras/a/mjpeg").status_code == 503
        assert user.head("/api/v1/cameras/a/mjpeg").headers["content-type"].startswith("multipart/x-mixed-replace")
        part = received.split(b"--frame\r\n")[2]
        assert decoded(part.partition(b"\r\n\r\n")[2]).shape == (180, 320, 3)
        until(lambda: fed.view.clients.streams == 0)
        assert fed.hub.watched() == []


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can limit that")
def test_a_stream_that_is_not_read_leaves_no_connection(site: Site, fed: FedView) -> None:
    """The handler gives up, and the system drops what the client has not read."""
    fed.view.clients.send_within_s = 0.1
    listening = site.server._listener.socket
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
    token = site.program().headers["authorization"]
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(listening.getsockname())
    with Pump(fed, "a"), narrow:
        head = f"GET /api/v1/cameras/a/mjpeg?rate=30 HTTP/1.1\r\nHost: {site.host}\r\nAuthorization: {token}\r\n\r\n"
        narrow.sendall(head.encode())
        until(lambda: fed.view.clients.streams == 1)
        until(lambda: fed.view.clients.streams == 0)
        until(lambda: not site.server._server.server_state.connections)


def test_without_a_run_there_are_no_images(tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        user = site.client("viewer")
        assert user.get("/api/v1/cameras/a/latest.jpg").status_code == 503
        with pytest.raises(InvalidStatus, match="503"), watcher(site, user):
            pass


def test_a_logout_ends_the_connection(tmp_path: Path, fed: FedView) -> None:
    with running_site(tmp_path, live=fed.view) as site:
        site.server._server.config.app._recheck_s = 0.05  # type: ignore[union-attr]
        user = site.client("viewer")
        with watcher(site, user) as client:
            client.text("cameras")
            assert user.delete("/api/v1/session").status_code == 204
            assert client.until_closed().code == 4401


@pytest.mark.parametrize("width", [320, 0])
def test_no_face_leaves_uncovered_with_privacy(
    tmp_path: Path, pipeline: MaskPipeline, demo_frames: list[Frame], width: int
) -> None:
    """The bytes of a tile of the demo clip, of which the models have found the faces, have the fill in place of each face."""
    fed = FedView(config_with(privacy={"blur": "all"}))
    frame = replace(demo_frames[0], source_id="ward", captured_at_s=monotonic())
    result = pipeline.analyzer.analyze([frame])[0]
    assert len(result.faces) >= 2
    fed.state(SourceState.ONLINE, SourceState.CONNECTING, "ward")
    fed.write(frame, result)
    with running_site(tmp_path, live=fed.view) as site, watcher(site, site.client("viewer")) as client:
        client.watch("ward", width=width)
        until(lambda: fed.hub.asked)
        fed.sink.attend()
        tile = client.tile()
    image, scale = decoded(tile.jpeg).astype(int), tile.header["width"] / frame.width
    shown = FedView()._overlay.paint(frame, result).astype(int)
    for face in result.faces:
        left, top, right, bottom = face.face_box_xyxy
        margin_x, margin_y = 0.2 * (right - left), 0.2 * (bottom - top)  # within it, no outline is drawn
        area = (
            slice(round((top + margin_y) * scale), round((bottom - margin_y) * scale)),
            slice(round((left + margin_x) * scale), round((right - margin_x) * scale)),
        )
        assert np.abs(np.median(image[area], axis=(0, 1)) - FILL).max() <= 3
        assert np.abs(image[area] - FILL).mean() < 6
        assert np.abs(shown[int(top) : int(bottom), int(left) : int(right)] - FILL).mean() > 20  # without privacy: the face
