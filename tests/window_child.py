"""Run the window in a process of its own: Qt chooses its display at the start, and aborts if the display does not exist."""

import os
from dataclasses import dataclass, replace
from itertools import cycle
from multiprocessing.connection import Connection
from time import monotonic, sleep

import numpy as np

from maskstream.config.loading import load_config
from maskstream.config.schema import Config, WindowConfig
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import SinkClosed
from maskstream.sinks import WindowSink
from maskstream.types import BgrImage, Frame, FrameResult, Output, SourceInfo

_STEP_S = 0.02


@dataclass(frozen=True)
class Run:
    """Sources and their frames."""

    sources: tuple[SourceInfo, ...]
    items: tuple[Frame | str | tuple[str, Config], ...]
    """Frames, names of sources that end, and settings of sources."""
    config: WindowConfig
    endless: bool = False
    """Whether the items are repeated without limit."""


def negative_of(frame: Frame) -> Output:
    """Return the output for a sink. Its annotated frame is the negative of the frame."""

    def paint(frame: Frame, result: FrameResult) -> BgrImage:
        return np.asarray(255 - frame.bgr, np.uint8)

    return Output(frame, FrameResult(frame.source_id, frame.index, frame.time_s, ()), True, paint)


def show(run: Run, display: str, errors: str, reports: "Connection[float | str, None]") -> None:
    """Do what the engine does. Report the time of each item, and at the end the reason why the run ended."""
    os.environ.update(DISPLAY=display, WAYLAND_DISPLAY="")
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    settings = SourceSettings(load_config())
    sink = WindowSink(run.sources, run.config, settings)
    try:
        for item in cycle(run.items) if run.endless else run.items:
            _attend(sink)
            if isinstance(item, str):
                sink.source_ended(item)
            elif isinstance(item, tuple):
                settings.set(*item)
            else:
                sink.write(negative_of(replace(item, captured_at_s=monotonic())))
            reports.send(monotonic())
            sleep(_STEP_S)
        while True:
            _attend(sink)
            sleep(_STEP_S)
    except SinkClosed as closed:
        reports.send(str(closed))
    finally:
        sink.close()
        sink.close()


def _attend(sink: WindowSink) -> None:
    while sink.attend():
        sleep(_STEP_S)
