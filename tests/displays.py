"""Screens without a monitor, and a user's hands at their keyboard."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskstream.types import BgrImage
from tests.slowness import LONGEST_S, slowness

_FOCUS_S = 0.3  # until Qt knows that its window has it; a key before that is lost
_BETWEEN_S = "0.1"  # of keys that come together, the window sees the last
_CLIENT_MESSAGE = 33  # of X.h


@dataclass(frozen=True)
class Display:
    """An X server in memory. There is no window manager on it: windows stand where they are opened."""

    name: str
    """What DISPLAY is to be set to, such as `:1`."""
    screen: Path
    """What is on the screen, as an XWD file that changes with it."""
    xdotool: str

    @property
    def environment(self) -> dict[str, str]:
        """Our own environment, on this display."""
        return {**os.environ, "DISPLAY": self.name, "WAYLAND_DISPLAY": ""}

    def press(self, *keys: str) -> None:
        """Press keys in the window of the program, once it is there."""
        self._xdotool("windowfocus", "--sync", self.window(), "sleep", f"{_FOCUS_S * slowness():.2f}")
        for key in keys:
            self._xdotool("key", key, "sleep", _BETWEEN_S)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, as a user who drags its edge."""
        self._xdotool("windowsize", self.window(), str(width), str(height))

    def size(self) -> tuple[int, int]:
        """Return width and height of the window."""
        geometry = self._xdotool("getwindowgeometry", "--shell", self.window()).splitlines()
        values = dict(line.split("=") for line in geometry)
        return int(values["WIDTH"]), int(values["HEIGHT"])

    def window(self) -> str:
        """Return the number of the program's window, once it is there."""
        return self._xdotool("search", "--sync", "--onlyvisible", "--name", "^maskstream").split()[-1]

    def move_mouse(self, x: int, y: int) -> None:
        """Put the mouse somewhere on the screen."""
        self._xdotool("mousemove", str(x), str(y))

    def mouse(self) -> tuple[int, int]:
        """Return where the mouse is."""
        values = dict(line.split("=") for line in self._xdotool("getmouselocation", "--shell").splitlines())
        return int(values["X"]), int(values["Y"])

    def _xdotool(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.xdotool, *arguments], env=self.environment, capture_output=True, text=True, timeout=LONGEST_S, check=True
        )
        return done.stdout

    def screenshot(self) -> BgrImage:
        """Return what is on the screen, (H, W, 3) uint8 BGR."""
        data = np.fromfile(self.screen, np.uint8)
        header_bytes, _, _, _, width, height = data[:24].view(">u4").tolist()
        colours = data[19 * 4 : 20 * 4].view(">u4").item()
        pixels = data[header_bytes + 12 * colours :].reshape(height, width, 4)
        return pixels[:, :, :3].copy()

    def ask_to_close(self) -> None:
        """Send what a window manager sends when its close button is clicked."""
        x11 = ctypes.CDLL("libX11.so.6")
        pointer, number = ctypes.c_void_p, ctypes.c_ulong
        x11.XOpenDisplay.restype, x11.XInternAtom.restype = pointer, number
        connection = pointer(x11.XOpenDisplay(self.name.encode()))
        protocols, delete = (number(x11.XInternAtom(connection, name, 0)) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
        window = number(int(self.window()))
        event = _ClientMessage(type=_CLIENT_MESSAGE, window=window, message_type=protocols, format=32)
        event.data[0] = delete.value
        x11.XSendEvent(connection, window, 0, ctypes.c_long(0), ctypes.byref(event))
        x11.XCloseDisplay(connection)


class _ClientMessage(ctypes.Structure):
    """XClientMessageEvent, as large as any XEvent."""

    _fields_ = [
        *(("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int), ("display", ctypes.c_void_p)),
        *(("window", ctypes.c_ulong), ("message_type", ctypes.c_ulong), ("format", ctypes.c_int)),
        *(("data", ctypes.c_long * 5), ("rest", ctypes.c_long * 12)),
    ]


@contextmanager
def x_server(find_tool: Callable[[str], str], folder: Path, *options: str) -> Iterator[Display]:
    """Run an X server with a screen of 1400x900 pixels.

    Args:
        find_tool: Returns the path of a program.
        folder: For its screen; empty.
        options: Of Xvfb.
    """
    xvfb, xdotool = find_tool("Xvfb"), find_tool("xdotool")
    read, write = os.pipe()
    server = subprocess.Popen(
        [
            *(xvfb, "-displayfd", str(write), "-screen", "0", "1400x900x24", "-fbdir", str(folder)),
            *("-nolisten", "tcp", *options),
        ],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as reply:
            name = f":{int(reply.readline())}"
        yield Display(name, folder / "Xvfb_screen0", xdotool)
    finally:
        server.terminate()
        server.wait(LONGEST_S)
