"""Open a source for a moment, to find out whether it sends video."""

from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotFinished
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Final

from maskstream.config.cameras import Camera
from maskstream.errors import SourceOpenError

PROBE_S: Final = 5.0
"""The time that a camera has to send its first frame."""
_MARGIN_S: Final = 1.0
"""Time for the source to report by itself what it waits for."""


@dataclass(frozen=True)
class Probed:
    """What a source sends."""

    width: int
    height: int
    fps: float | None
    """As the source states it; None where it does not."""
    seconds: float
    """The time until the first frame."""


def probe(camera: Camera, limit_s: float = PROBE_S) -> Probed:
    """Open a source, read its first frame and close it.

    Raises:
        SourceError: It cannot be opened, or sends no frame in time.
    """
    network = camera.config.network
    timeouts = {name: min(getattr(network, name), limit_s) for name in ("open_timeout_s", "read_timeout_s")}
    config = camera.config.model_copy(update={"network": network.model_copy(update=timeouts)})
    result: Future[Probed] = Future()
    Thread(target=_run, args=(Camera(camera.name, camera.location, config), result), name="probe", daemon=True).start()
    try:
        return result.result(limit_s + _MARGIN_S)
    except NotFinished:
        raise SourceOpenError(f"{camera.name}: no frame within {limit_s:g} s; check that it is on and not in use") from None


def _run(camera: Camera, result: "Future[Probed]") -> None:
    try:
        result.set_result(_first_frame(camera))
    except BaseException as error:
        result.set_exception(error)


def _first_frame(camera: Camera) -> Probed:
    from maskstream.sources import SOURCES, source_kind

    kind = source_kind(camera.location)
    if kind == "pipe":
        raise SourceOpenError(f"{camera.name}: a pipe is not opened here: reading it would take data from the run")
    began_s = monotonic()
    source = SOURCES[kind](camera.location, camera.name, camera.config)
    try:
        frame = next(iter(source), None)
        if frame is None:
            raise SourceOpenError(f"{camera.name}: sends no frame; check that it is on")
        return Probed(frame.width, frame.height, source.info.average_fps, monotonic() - began_s)
    finally:
        source.close()
