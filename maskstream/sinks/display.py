"""Whether a window can be opened here, found out without risk."""

import os
import subprocess
import sys
from typing import Final

_LIMIT_S: Final = 10.0
_OPEN_A_WINDOW: Final = """
import sys
try:
    import cv2
    cv2.namedWindow("trial", cv2.WINDOW_GUI_NORMAL)
    cv2.destroyAllWindows()
except Exception as error:
    sys.exit(f"this OpenCV opens no windows, install opencv-python ({getattr(error, 'err', error)})")
"""


def why_no_window() -> str | None:
    """Return in one line why no window can be opened, or None where one can.

    It is tried in a child process, for about a quarter of a second: where an X server does not answer or refuses, Qt ends
    the process that asked.
    """
    needs_server = sys.platform.startswith("linux")
    if needs_server and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    prefer_x11()
    command = [sys.executable, "-c", _OPEN_A_WINDOW]
    try:
        trial = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"the display did not answer within {_LIMIT_S:.0f} s"
    if trial.returncode == 0:
        return None
    said = trial.stderr.decode(errors="replace").splitlines()
    return next(filter(None, said), f"opening one ended with exit code {trial.returncode}")[:160]


def prefer_x11() -> None:
    """Let Qt use X11 where it is there: OpenCV's wheels know nothing else, and complain when the session is a Wayland one."""
    if os.environ.get("DISPLAY"):
        os.environ.setdefault("QT_QPA_PLATFORM", "xcb")
