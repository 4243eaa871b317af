"""A window that shows what is happening. GUI calls belong to the main thread."""

import os
import sys

import cv2

from maskstream.errors import SinkClosed
from maskstream.types import Output

_QUIT_KEYS = frozenset({ord("q"), 27})


class WindowSink:
    """Shows annotated frames; q or Esc quits, and so does closing the window."""

    wants_every_frame = True

    def __init__(self, title: str) -> None:
        """Open a resizable window."""
        self._title = title
        self._shown = False
        cv2.namedWindow(title, cv2.WINDOW_NORMAL)

    def write(self, output: Output) -> None:
        """Show one frame.

        Raises:
            SinkClosed: The user wants to leave.
        """
        if not self._shown:
            cv2.resizeWindow(self._title, output.frame.width, output.frame.height)
            self._shown = True
        cv2.imshow(self._title, output.annotated_bgr)
        key = cv2.waitKey(1) & 0xFF
        if key in _QUIT_KEYS or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            raise SinkClosed("the window was closed")

    def source_ended(self, source_id: str) -> None:
        """Keep the last picture until the run ends."""

    def close(self) -> None:
        """Take the window away."""
        if self._title:
            cv2.destroyAllWindows()
            self._title = ""


def has_display() -> bool:
    """Return whether a window can be opened here."""
    needs_server = sys.platform.startswith("linux")
    return not needs_server or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
