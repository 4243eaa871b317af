"""A probe opens a source for a moment, and reports within its time what it sends."""

import os
from pathlib import Path
from threading import Event
from typing import NoReturn

import pytest

from maskstream.config.cameras import Camera
from maskstream.config.schema import Config
from maskstream.errors import SourceError
from maskstream.sources import SOURCES
from maskstream.sources.probe import probe
from tests.conftest import DEMO
from tests.servers import http_server, images, jpeg, mjpeg, silent_server
from tests.slowness import LONGEST_S


def camera(location: str) -> Camera:
    return Camera("cam", location, Config())


def test_size_and_rate_of_what_a_source_sends(tmp_path: Path) -> None:
    with http_server({"/live": mjpeg(), "/once": images([jpeg(0)] * 3)}) as address:
        live, once = probe(camera(f"{address}/live")), probe(camera(f"{address}/once"))
    assert (live.width, live.height, once.width, once.height) == (160, 120, 160, 120)
    file = probe(camera(str(DEMO)))
    assert (file.width, file.height, file.fps) == (640, 360, 25)
    (tmp_path / "image.jpg").write_bytes(jpeg(0))
    assert probe(camera(str(tmp_path / "image.jpg"))).width == 160


def test_a_camera_that_never_answers_is_given_up() -> None:
    with silent_server() as address, pytest.raises(SourceError, match="cam: no"):
        probe(camera(f"rtsp://{address}/live"), limit_s=0.2)


def test_a_source_that_blocks_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As opening a webcam may, in its driver."""
    unblocked = Event()

    def open_blocked(*_: object) -> NoReturn:
        unblocked.wait(LONGEST_S)
        raise SourceError("unblocked")

    monkeypatch.setitem(SOURCES, "file", open_blocked)
    with pytest.raises(SourceError, match=r"no frame within 0\.1 s; check that it is on and not in use"):
        probe(camera(str(DEMO)), limit_s=0.1)
    unblocked.set()


def test_the_data_of_a_pipe_is_left_to_the_run(tmp_path: Path) -> None:
    pipe = tmp_path / "frames.avi"
    os.mkfifo(pipe)
    with pytest.raises(SourceError, match="a pipe is not opened here"):
        probe(camera(str(pipe)))
