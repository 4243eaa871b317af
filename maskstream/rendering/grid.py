"""Pictures of several sources side by side, each with a line on how its stream is doing. Drawing them needs no display."""

from collections import deque
from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Final

import numpy as np

from maskstream.io.files import plain_text
from maskstream.rendering.letterbox import letterbox
from maskstream.rendering.text import draw_text, text_width
from maskstream.stream.rates import per_second
from maskstream.types import BgrImage, Output, SourceInfo

_FPS_OVER_S: Final = 1.0
_LONGEST_NAME: Final = 40
_TEXT_PX: Final = (9.0, 20.0)
_DIMMED: Final = 3
_GAP_PX: Final = 1
"""Black around each of several cells, so that one can be told from the next."""
_WHITE: Final = (255, 255, 255)


class Cell:
    """A source in the grid: its newest frame, and how fast frames come. Times are of the monotonic clock."""

    def __init__(self, info: SourceInfo) -> None:
        """Wait for the first frame."""
        self.info = info
        self.name = plain_text(info.source_id)
        self.output: Output | None = None
        self.ended = False
        self.away = ""
        """What is the matter with a source that gives no frames, such as `offline since 14:03:22`."""
        self._taken_at_s: deque[float] = deque()
        self._fitted: BgrImage | None = None

    def take(self, output: Output, now_s: float) -> None:
        """Show this frame from now on."""
        self.output = output
        self._fitted = None
        self._taken_at_s.append(now_s)
        while len(self._taken_at_s) > 2 and self._taken_at_s[1] <= now_s - _FPS_OVER_S:
            self._taken_at_s.popleft()

    def clear(self) -> None:
        """Show nothing until the next frame."""
        self.output = self._fitted = None

    def fitted(self, size: tuple[int, int]) -> BgrImage:
        """Return the annotated frame letterboxed to (width, height); black before the first one."""
        if self.output is None:
            return np.zeros((size[1], size[0], 3), np.uint8)
        if self._fitted is None or self._fitted.shape[1::-1] != size:
            self._fitted = letterbox(self.output.annotated_bgr, size)
        return self._fitted

    def fps(self, now_s: float) -> float:
        """Return frames per second over the last second; it falls once the next frame is overdue."""
        return per_second(self._taken_at_s, now_s)

    def status(self, now_s: float, paused: bool) -> str:
        """Return how the stream is doing, such as `12.3 fps   age 0.18 s   3 dropped`."""
        if self.away:
            return self.away
        if self.output is None:
            return "ended" if self.ended else "waiting"
        frame, dropped = self.output.frame, self.output.dropped
        shown = Path(frame.file).name if frame.file else "" if self.ended or paused else f"{self.fps(now_s):.1f} fps"
        state = "ended" if self.ended else "paused" if paused else ""
        age = f"age {now_s - frame.captured_at_s:.2f} s" if self.info.live and not self.ended else ""
        return "   ".join(filter(None, (shown, state, age, f"{dropped} dropped" if dropped else "")))


def grid_shape(count: int) -> tuple[int, int]:
    """Return columns and rows for a number of cells."""
    columns = ceil(sqrt(count))
    return columns, ceil(count / columns)


def draw_grid(cells: Sequence[Cell], size: tuple[int, int], now_s: float, paused: bool) -> BgrImage:
    """Return a picture of all cells, drawn anew; the frames are not modified.

    Args:
        cells: In reading order.
        size: (width, height) of the picture in pixels.
        now_s: Monotonic clock.
        paused: Whether the user holds the stream.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    columns, rows = grid_shape(max(1, len(cells)))
    width, height = size[0] // columns, size[1] // rows
    gap_px = _GAP_PX if len(cells) > 1 else 0
    if min(width, height) <= 2 * gap_px:
        return canvas  # the window is too small for its cells
    for index, cell in enumerate(cells):
        left, top = index % columns * width, index // columns * height
        area = canvas[top + gap_px : top + height - gap_px, left + gap_px : left + width - gap_px]
        area[:] = cell.fitted(area.shape[1::-1])
        if cell.away:
            area //= _DIMMED  # nobody should take it for what the camera sees now
        _write_captions(area, cell, cell.status(now_s, paused), named=len(cells) > 1)
    return canvas


def _write_captions(area: BgrImage, cell: Cell, status: str, named: bool) -> None:
    name = cell.name if len(cell.name) <= _LONGEST_NAME else f"...{cell.name[3 - _LONGEST_NAME :]}"
    if cell.output is None or cell.away:
        _write(area, f"{name}: {status}", 0.5, 0.5)
        return
    if named:
        _write(area, name, 0.0, 0.0)
    _write(area, status, 0.0, 1.0)


def _write(area: BgrImage, text: str, x: float, y: float) -> None:
    """Write a line on darkened ground; (0, 0) is the upper left, (1, 1) the lower right of where it may stand."""
    height, width = area.shape[:2]
    text_px = float(np.clip(min(height, width) * 0.035, *_TEXT_PX))
    text_px *= min(1.0, width / (text_width(text, text_px) + 2 * text_px))
    written_px, pad = text_width(text, text_px), text_px / 2
    left, top = (max(0, round(room)) for room in ((width - written_px - 2 * pad) * x, (height - 4 * pad) * y))
    ground = area[top : top + round(4 * pad), left : left + round(written_px + 2 * pad)]
    ground //= 4
    draw_text(area, text, (round(left + pad), round(top + pad + text_px)), text_px, _WHITE)
