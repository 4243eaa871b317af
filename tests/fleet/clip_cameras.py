"""RTSP cameras on this machine that show a clip in a loop, and know when they had a viewer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import time
from urllib.parse import urlsplit

import av

from maskstream.types import BgrImage
from tests.faulty_servers import Client, FaultyServer
from tests.rtsp_camera import RtspCamera


@dataclass
class Play:
    """A time in which a camera sent video to one viewer."""

    camera: str
    began_utc: float
    ended_utc: float | None = None
    """When the viewer had left; None: it is still there."""


@dataclass
class ClipCameras:
    """Cameras that show the same clip, each from its first frame on, to any number of viewers."""

    video: Path
    fps: float
    plays: list[Play] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._camera = RtspCamera(fps=self.fps, gop=max(1, round(self.fps)), pictures=_pictures(self.video, self.fps))
        self._lock = Lock()

    def __call__(self, client: Client) -> None:
        """Answer a request; see `tests.faulty_servers`."""
        if client.method != "PLAY":
            self._camera(client)
            return
        play = Play(urlsplit(client.path).path.strip("/"), time())
        with self._lock:
            self.plays.append(play)
        try:
            self._camera(client)
        finally:
            play.ended_utc = time()

    def of(self, camera: str) -> list[Play]:
        """Return the plays of a camera in order."""
        with self._lock:
            return [play for play in self.plays if play.camera == camera]


@contextmanager
def served(cameras: ClipCameras, names: list[str]) -> Iterator[dict[str, str]]:
    """Let cameras serve; yields their URLs by name."""
    with FaultyServer(cameras) as server:
        yield {name: f"rtsp://127.0.0.1:{server.port}/{name}" for name in names}


def _pictures(video: Path, fps: float) -> list[BgrImage]:
    """Return the frames of a video at a rate that is not above its own."""
    pictures: list[BgrImage] = []
    with av.open(str(video)) as container:
        begins_s = None
        for frame in container.decode(video=0):
            assert frame.time is not None
            begins_s = frame.time if begins_s is None else begins_s
            if frame.time - begins_s >= len(pictures) / fps - 1e-3:
                pictures.append(frame.to_ndarray(format="bgr24"))
    return pictures
