"""A live view that a test feeds like the thread that renders, and clients for its WebSocket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import cv2
import httpx
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect

from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.rendering.overlay import Overlay
from maskstream.stream.states import SourceState, StateChange
from maskstream.types import BgrImage, Frame, FrameResult, Label, Output
from maskstream.web.live_sink import LiveSink
from maskstream.web.live_view import LiveView
from tests.conftest import make_face, make_frame
from tests.slowness import LONGEST_S
from tests.web.site import Site

WITHIN_S = LONGEST_S


class FedView:
    """Writes frames and states as the thread that renders does, and notes what was painted."""

    def __init__(self, config: Config | None = None) -> None:
        self.settings = SourceSettings(config or load_config())
        self.view = LiveView(self.settings)
        self.hub = self.view.hub
        self.sink = LiveSink(self.view)
        self.painted: list[str] = []
        self._overlay = Overlay(self.settings)
        self._index = 0

    def frame(self, camera: str = "a", label: Label = Label.MASK, **changes: object) -> Output:
        """Write the next frame, with one face."""
        self._index += 1
        now = {"wall_time": datetime.now(UTC), "captured_at_s": monotonic()}
        frame = replace(make_frame(self._index, 640, 360, camera), **now)  # type: ignore[arg-type]
        frame.bgr[:] = 40 * (self._index % 6)
        face = replace(make_face(label), track_id=1)
        result = replace(FrameResult.of(frame, (face,), (), {"detect": 3.0}), **changes)  # type: ignore[arg-type]
        return self.write(frame, result)

    def write(self, frame: Frame, result: FrameResult) -> Output:
        """Write a frame and its result."""
        output = Output(frame, result, analysed=True, paint=self._paint)
        self.sink.write(output)
        return output

    def state(self, state: SourceState, before: SourceState | None, camera: str = "a", cause: str = "for a test") -> None:
        """Change the state of a camera."""
        self.sink.state_changed(StateChange(camera, state, before, cause, monotonic(), datetime.now(UTC)))

    def _paint(self, frame: Frame, result: FrameResult) -> BgrImage:
        self.painted.append(frame.source_id)
        return self._overlay.paint(frame, result)


def config_with(**sections: dict[str, object]) -> Config:
    """Return the default configuration with some settings changed."""
    return load_config(None, [Layer("test", sections)])


def decoded(jpeg: bytes) -> BgrImage:
    """Return the image of a JPEG."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@dataclass(frozen=True)
class ReceivedTile:
    """A tile as a client gets it."""

    header: dict[str, Any]
    jpeg: bytes


@dataclass(frozen=True)
class Watcher:
    """A client of the WebSocket."""

    connection: ClientConnection

    def send(self, **message: object) -> None:
        """Send a message as JSON."""
        self.connection.send(json.dumps(message))

    def watch(self, *cameras: str, width: int = 320, rate: float = 30.0) -> None:
        """Ask for tiles of these cameras."""
        self.send(type="watch", cameras=[{"camera": camera, "width": width} for camera in cameras], rate=rate)

    def acknowledge(self, tile: ReceivedTile) -> None:
        """Acknowledge a tile."""
        self.send(type="ack", camera=tile.header["camera"], frame=tile.header["frame"])

    def next(self, timeout_s: float = WITHIN_S) -> ReceivedTile | dict[str, Any]:
        """Return the next tile, or the next text message as JSON."""
        message = self.connection.recv(timeout_s)
        if isinstance(message, str):
            content: dict[str, Any] = json.loads(message)
            return content
        size = int.from_bytes(message[:4], "big")
        return ReceivedTile(json.loads(message[4 : 4 + size]), message[4 + size :])

    def tile(self) -> ReceivedTile:
        """Return the next tile."""
        while not isinstance(message := self.next(), ReceivedTile):
            pass
        return message

    def until_closed(self) -> Close:
        """Read until the server closes the connection, and return its code and reason."""
        try:
            while True:
                self.next()
        except ConnectionClosed as closed:
            return closed.rcvd or Close(1006, "")

    def text(self, kind: str) -> dict[str, Any]:
        """Return the next text message of a type."""
        while not isinstance(message := self.next(), dict) or message["type"] != kind:
            pass
        return message


@contextmanager
def watcher(site: Site, client: httpx.Client, **options: Any) -> Iterator[Watcher]:
    """Connect as a browser or program that has logged in."""
    headers = {name: client.headers[name] for name in ("authorization", "origin") if name in client.headers}
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
    if cookies:
        headers["cookie"] = cookies
    url = site.url.replace("http", "ws", 1) + "/api/v1/live"
    options = {
        "compression": None,
        "proxy": None,
        "ping_interval": None,
        "close_timeout": 2,
        "open_timeout": LONGEST_S,
        **options,
    }
    with connect(url, additional_headers=headers, **options) as connection:
        yield Watcher(connection)
