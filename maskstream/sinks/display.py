"""Whether a window can be opened here, found out without risk."""

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
    """Yield in one line why no window can be opened, or None where one can be opened before this context ends.

    It is tried in a child process, for about a quarter of a second: where an X server does not answer or refuses, Qt ends
    the process that asked. The child stays until the end, for an X server whose last client leaves starts anew, and turns away
    who comes in that moment.
    """
    needs_server = sys.platform.startswith("linux")
    if needs_server and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        yield "neither DISPLAY nor WAYLAND_DISPLAY is set"
        return
    prefer_x11()
    command = [sys.executable, "-c", _OPEN_A_WINDOW]
    with TemporaryFile() as errors, Popen(command, stdin=PIPE, stdout=PIPE, stderr=errors) as trial:  # noqa: S603
        try:
            yield _obstacle(trial, errors)
        finally:
            trial.kill()


def _obstacle(trial: Popen[bytes], errors: IO[bytes]) -> str | None:
    too_late = Event()

    def give_up() -> None:
        too_late.set()
        trial.kill()

    limit = Timer(_LIMIT_S, give_up)
    limit.start()
    opened = trial.stdout.readline() if trial.stdout else b""
    limit.cancel()
    if opened:
        return None
    if too_late.is_set():
        return f"the display did not answer within {_LIMIT_S:.0f} s"
    code = trial.wait()
    errors.seek(0)
    said = errors.read().decode(errors="replace").splitlines()
    return next(filter(None, said), f"opening one ended with exit code {code}")[:160]


def prefer_x11() -> None:
    """Let Qt use X11 where it is there: OpenCV's wheels know nothing else, and complain when the session is a Wayland one."""
    if os.environ.get("DISPLAY"):
        os.environ.setdefault("QT_QPA_PLATFORM", "xcb")
