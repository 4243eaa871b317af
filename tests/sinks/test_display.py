"""Tests of why_no_window. That a test continues is an assertion too: Qt ends a process whose display fails."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from maskstream.sinks import display as display_module
from maskstream.sinks import why_no_window as try_window
from tests.displays import Display, x_server
from tests.receivers import wait_until
from tests.slowness import LONGEST_S

COOKIE = b"0123456789abcdef"
XAUTHORITY = b"\xff\xff\0\0\0\0\0\x12MIT-MAGIC-COOKIE-1\0\x10" + COOKIE
"""For any host: family, address, number, name and data, each behind its length (Xau(3))."""


def why_no_window() -> str | None:
    with try_window() as obstacle:
        return obstacle


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.setenv(name, "")  # so that it is as before in the end, whatever is done to it
        monkeypatch.delenv(name)


def test_display(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display.name)
    assert why_no_window() is None


def test_the_display_stays_in_use_until_the_window_is_open(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    """An X server resets when its last client disconnects. The mouse is then in the middle."""
    monkeypatch.setenv("DISPLAY", display.name)
    with try_window() as obstacle:
        assert obstacle is None
        display.move_mouse(3, 4)
        assert display.mouse() == (3, 4)

    def has_started_anew() -> bool:
        try:
            return display.mouse() != (3, 4)
        except subprocess.CalledProcessError:  # it is about to
            return False

    wait_until(has_started_anew)


def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_no_window() == "neither DISPLAY nor WAYLAND_DISPLAY is set"
    monkeypatch.setenv("DISPLAY", "")
    assert why_no_window() == "neither DISPLAY nor WAYLAND_DISPLAY is set"


@pytest.mark.parametrize("name", [":4711", "nonsense"])
def test_dead_display(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DISPLAY", name)
    assert f"could not connect to display {name}" in str(why_no_window())


def test_unauthorised_display(system_tool: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, screen = tmp_path / "authority", tmp_path / "screen"
    authority.write_bytes(XAUTHORITY)
    screen.mkdir()
    with x_server(system_tool, screen, "-auth", str(authority)) as server:
        monkeypatch.setenv("DISPLAY", server.name)
        monkeypatch.setenv("XAUTHORITY", str(authority))
        assert why_no_window() is None
        monkeypatch.setenv("XAUTHORITY", "/dev/null")
        assert "uthoriz" in str(why_no_window())


@pytest.mark.parametrize(
    ("opencv", "limit_s", "reason"),
    [
        ("raise ImportError('libGL.so.1')", LONGEST_S, "this OpenCV opens no windows, install opencv-python (libGL.so.1)"),
        ("import os; os.abort()", LONGEST_S, "opening a window ended with exit code -6"),
        ("import time; time.sleep(600)", 1.0, "the display did not answer within 1 s"),
    ],
)
def test_opencv_that_opens_no_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opencv: str, limit_s: float, reason: str
) -> None:
    (tmp_path / "cv2.py").write_text(opencv)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("DISPLAY", ":4711")
    monkeypatch.setattr(display_module, "_LIMIT_S", limit_s)
    assert why_no_window() == reason
