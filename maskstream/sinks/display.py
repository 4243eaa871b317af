"""Find out whether a window can be opened, without risk for this process."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from threading import Event, Timer
from typing import IO, Final

_LIMIT_S: Final = 10.0
_OPEN_A_WINDOW: Final = """
import sys
try:
    import cv2
    cv2.namedWindow("trial", cv2.WINDOW_GUI_NORMAL)
    cv2.destroyAllWindows()
except Exception as error:
    sys.exit(f"this OpenCV opens no windows, install opencv-python ({getattr(error, 'err', error)})")
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def why_no_window() -> Generator[str | None, None, None]:
    """Yield the reason in one line if no window can be opened, or None if one can be opened inside this context.

    A child process opens a window, which takes about a quarter of a second: Qt ends the process if the X server refuses or does
    not answer. The child runs until the context ends. An X server resets when its last client disconnects, and refuses
    connections while it does.
    """
    needs_server = sys.platform.startswith("linux")
    if needs_server and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        yield "neither DISPLAY nor WAYLAND_DISPLAY is set"
        return
    prefer_x11()
    command = [sys.executable, "-c", _OPEN_A_WINDOW]
    with TemporaryFile() as errors, Popen(command, stdin=PIPE, stdout=PIPE, stderr=errors) as trial:  # noqa: S603
        try:
            yield _reason(trial, errors)
        finally:
            trial.kill()


def _reason(trial: Popen[bytes], errors: IO[bytes]) -> str | None:
    is_late = Event()

    def give_up() -> None:
        is_late.set()
        trial.kill()

    limit = Timer(_LIMIT_S, give_up)
    limit.start()
    opened = trial.stdout.readline() if trial.stdout else b""
    limit.cancel()
    if opened:
        return None
    if is_late.is_set():
        return f"the display did not answer within {_LIMIT_S:.0f} s"
    code = trial.wait()
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    return next(filter(None, lines), f"opening a window ended with exit code {code}")[:160]


def prefer_x11() -> None:
    """Let Qt use X11 if `DISPLAY` is set. OpenCV's wheels support nothing else, and print warnings in a Wayland session."""
    if os.environ.get("DISPLAY"):
        os.environ.setdefault("QT_QPA_PLATFORM", "xcb")
