"""Draw the frames of several sources side by side, each with its name and a line of status. No display is needed."""

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

_FPS_WINDOW_S: Final = 1.0
_MAX_NAME_LENGTH: Final = 40
_TEXT_PX: Final = (9.0, 20.0)
_DIMMED: Final = 3
_GAP_PX: Final = 1
"""Black border of each cell in a grid of several."""
_WHITE: Final = (255, 255, 255)


class Cell:
    """A source in the grid: its newest frame and its frame rate. Times are of the monotonic clock."""

    def __init__(self, info: SourceInfo) -> None:
        """Begin without a frame."""
        self.info = info
        self.name = plain_text(info.source_id)
        self.output: Output | None = None
        self.ended = False
        self.away = ""
        """Why the source sends no frames, such as `offline since 14:03:22`; empty while it sends frames."""
        self._taken_at_s: deque[float] = deque()
        self._fitted: BgrImage | None = None

    def take(self, output: Output, now_s: float) -> None:
        """Show this frame."""
        self.output = output
        self._fitted = None
        self._taken_at_s.append(now_s)
        while len(self._taken_at_s) > 2 and self._taken_at_s[1] <= now_s - _FPS_WINDOW_S:
            self._taken_at_s.popleft()

    def clear(self) -> None:
        """Show no frame until the next `take`."""
        self.output = self._fitted = None

    def fitted(self, size: tuple[int, int]) -> BgrImage:
        """Return the annotated frame letterboxed to (width, height), black before the first frame."""
        if self.output is None:
            return np.zeros((size[1], size[0], 3), np.uint8)
        if self._fitted is None or self._fitted.shape[1::-1] != size:
            self._fitted = letterbox(self.output.annotated_bgr, size)
        return self._fitted

    def fps(self, now_s: float) -> float:
        """Return the frames per second over the last second. The rate falls when the next frame is late."""
        return per_second(self._taken_at_s, now_s)

    def status(self, now_s: float, paused: bool) -> str:
        """Return the line of status, such as `12.3 fps   age 0.18 s   3 dropped`."""
        if self.away:
            return self.away
        if self.output is None:
            return "ended" if self.ended else "waiting"
        frame, dropped = self.output.frame, self.output.dropped
        parts = []
        if frame.file:
            parts.append(Path(frame.file).name)
        elif not self.ended and not paused:
            parts.append(f"{self.fps(now_s):.1f} fps")
        if self.ended:
            parts.append("ended")
        elif paused:
            parts.append("paused")
        if self.info.live and not self.ended:
            parts.append(f"age {now_s - frame.captured_at_s:.2f} s")
        if dropped:
            parts.append(f"{dropped} dropped")
        return "   ".join(parts)


def grid_shape(count: int) -> tuple[int, int]:
    """Return the columns and rows of a grid with this number of cells."""
    columns = ceil(sqrt(count))
    return columns, ceil(count / columns)


def draw_grid(cells: Sequence[Cell], size: tuple[int, int], now_s: float, paused: bool) -> BgrImage:
    """Return an image of all cells. The frames are not modified.

    Args:
        cells: In reading order.
        size: (width, height) of the image in pixels.
        now_s: Monotonic clock.
        paused: Whether the user has paused the stream.

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
            area //= _DIMMED  # shows that the frame is not live
        _write_captions(area, cell, cell.status(now_s, paused), named=len(cells) > 1)
    return canvas


def _write_captions(area: BgrImage, cell: Cell, status: str, named: bool) -> None:
    name = cell.name if len(cell.name) <= _MAX_NAME_LENGTH else f"...{cell.name[3 - _MAX_NAME_LENGTH :]}"
    if cell.output is None or cell.away:
        _write(area, f"{name}: {status}", 0.5, 0.5)
        return
    if named:
        _write(area, name, 0.0, 0.0)
    _write(area, status, 0.0, 1.0)


def _write(area: BgrImage, text: str, x: float, y: float) -> None:
    """Draw a line of text on a darkened background. (0, 0) is the upper left corner of the area, (1, 1) the lower right one."""
    height, width = area.shape[:2]
    text_px = float(np.clip(min(height, width) * 0.035, *_TEXT_PX))
    text_px *= min(1.0, width / (text_width(text, text_px) + 2 * text_px))
    written_px, pad = text_width(text, text_px), text_px / 2
    left = max(0, round((width - written_px - 2 * pad) * x))
    top = max(0, round((height - 4 * pad) * y))
    ground = area[top : top + round(4 * pad), left : left + round(written_px + 2 * pad)]
    ground //= 4
    draw_text(area, text, (round(left + pad), round(top + pad + text_px)), text_px, _WHITE)
