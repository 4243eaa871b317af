"""A window that shows what is happening. GUI calls belong to the main thread."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Final

import cv2
from loguru import logger

from maskstream.config.schema import Config, WindowConfig
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import SinkClosed
from maskstream.io.files import plain_text
from maskstream.rendering.grid import Cell, draw_grid, grid_shape
from maskstream.sinks.display import prefer_x11
from maskstream.sinks.screenshots import save_snapshot
from maskstream.stream.states import SILENT, StateChange
from maskstream.types import Output, SourceInfo

_WINDOW: Final = "maskstream"
# Qt's toolbar would need fonts, which OpenCV's wheels lack and complain about. The picture is always drawn in the window's own
# size: it stays sharp, the text stays readable, and there is no ratio to keep.
_FLAGS: Final = cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL
_LARGEST: Final = (1280, 720)
_SMALLEST: Final = (320, 240)
_LOOK_EVERY_S: Final = 1 / 30
_REDRAW_EVERY_S: Final = 0.25
_UNKNOWN_SIZE: Final = (640, 480)


class WindowSink:
    """Shows the annotated frames of all sources, and does what the keys say.

    `write` only remembers the newest frame: drawing and keys belong to `attend`, which is to be called often.
    """

    wants_every_frame = True

    def __init__(self, sources: Sequence[SourceInfo], config: WindowConfig, settings: SourceSettings | None = None) -> None:
        """Open a resizable window, no larger than most screens.

        Args:
            sources: At least one.
            config: How long pictures stand, where snapshots go.
            settings: Those of the sources. A frame that was drawn with other settings is cleared: they may anonymise its faces.
        """
        self._settings = settings
        self._drawn_with: dict[str, Config] = {}
        self._cells = {info.source_id: Cell(info) for info in sources if not info.is_deferred}
        self._deferred = {info.source_id: info for info in sources if info.is_deferred}
        """Each gets a cell with its first frame, which those of them that have ended make room for."""
        self._config = config
        self._live = any(info.live for info in sources)
        self._size = _first_size([info for info in sources if not info.is_deferred] or sources[:1])
        self._paused = False
        self._held_until_s = 0.0
        self._image_waits = False
        self._changed = True
        self._looked_at_s = self._drawn_at_s = 0.0
        self._seen = False
        prefer_x11()
        cv2.namedWindow(_WINDOW, _FLAGS)
        names = [plain_text(info.source_id) for info in sources]
        cv2.setWindowTitle(_WINDOW, f"maskstream: {names[0]}" if len(names) == 1 else "maskstream")
        cv2.resizeWindow(_WINDOW, *self._size)
        logger.info("keys of the window: q or Esc quits, s saves the pictures{}", "" if self._live else ", space pauses")

    def write(self, output: Output) -> None:
        """Show a frame from the next `attend` on."""
        source_id = output.frame.source_id
        cell = self._cell(source_id)
        cell.take(output, monotonic())
        if self._settings is not None:
            self._drawn_with[source_id] = self._settings.of(source_id)
        self._changed = True
        self._image_waits |= bool(cell.info.images)

    def source_ended(self, source_id: str) -> None:
        """Keep its last picture."""
        if source_id in self._deferred and source_id not in self._cells:
            return
        self._cell(source_id).ended = True
        self._changed = True

    def state_changed(self, change: StateChange) -> None:
        """Say under the last picture of a source since when it gives none."""
        if change.source_id in self._deferred:
            return
        since = f"{change.state.value} since {change.wall_time.astimezone():%H:%M:%S}"
        self._cell(change.source_id).away = since if change.state in SILENT else ""
        self._changed = True

    def source_removed(self, source_id: str) -> None:
        """Show a source no more."""
        self._cells.pop(source_id, None)
        self._drawn_with.pop(source_id, None)
        self._changed = True

    def _clear_outdated(self) -> None:
        """Clear each frame that was drawn with other settings than its source has now."""
        for source_id, drawn_with in list(self._drawn_with.items()):
            if self._settings is not None and self._settings.of(source_id) is not drawn_with:
                del self._drawn_with[source_id]
                if source_id in self._cells:
                    self._cells[source_id].clear()
                    self._changed = True

    def _cell(self, source_id: str) -> Cell:
        if source_id in self._deferred and source_id not in self._cells:
            for other in [other for other in self._deferred if other in self._cells and self._cells[other].ended]:
                del self._cells[other]
            self._cells[source_id] = Cell(self._deferred[source_id])
        if source_id not in self._cells:  # it was added while the program runs
            self._cells[source_id] = Cell(SourceInfo(source_id, 0, 0, live=True))
        return self._cells[source_id]

    def attend(self) -> bool:
        """Draw what is new and look after the user.

        Returns:
            Whether the stream is to be held: the user has paused it, or a picture has not stood long enough.

        Raises:
            SinkClosed: The user wants to leave.
        """
        now_s = monotonic()
        if self._image_waits or now_s - self._looked_at_s >= _LOOK_EVERY_S:
            self._looked_at_s = now_s
            self._clear_outdated()
            if self._changed or now_s - self._drawn_at_s >= _REDRAW_EVERY_S:
                self._draw(now_s)
            self._obey(cv2.pollKey())  # which also lets the window paint itself
        return self._paused or now_s < self._held_until_s

    def close(self) -> None:
        """Take the window away."""
        with suppress(cv2.error):  # it is gone already
            cv2.destroyWindow(_WINDOW)

    def _draw(self, now_s: float) -> None:
        size = _window_size() or self._size
        cv2.imshow(_WINDOW, draw_grid([*self._cells.values()], size, now_s, self._paused))
        self._drawn_at_s = now_s
        self._changed = False
        if self._image_waits:
            self._image_waits = False
            self._held_until_s = now_s + self._config.picture_s

    def _obey(self, key: int) -> None:
        """Do what a key says, as `cv2.pollKey` returned it."""
        if self._was_closed():
            raise SinkClosed("the window was closed")
        match chr(key & 0xFFFF).lower():  # above that stand the modifiers; within, arrows are no letters
            case "q" | "\x1b":
                raise SinkClosed("the user has quit")
            case "s":
                self._save()
            case " " if self._live:
                logger.info("a live source cannot be paused")
            case " ":
                self._paused = not self._paused
                self._changed = True

    def _save(self) -> None:
        taken = datetime.now()
        for cell in self._cells.values():
            if cell.output is not None:
                save_snapshot(cell.output.annotated_bgr, Path(self._config.snapshots), cell.name, taken)

    def _was_closed(self) -> bool:
        """Return whether the window was there and is gone: one that was just made may take a moment to come up."""
        try:
            visible = cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt's answer once the last window is gone
            return True
        self._seen |= visible
        return self._seen and not visible


def _window_size() -> tuple[int, int] | None:
    """Return width and height in pixels, or None where the system does not tell."""
    left, top, width, height = cv2.getWindowImageRect(_WINDOW)
    if min(width, height) < 1:
        return None
    if cv2.currentUIFramework() == "QT":  # before OpenCV 4.12 it does not enlarge: this is the last picture, in the middle
        return width + 2 * left, height + 2 * top
    return width, height


def _first_size(sources: Sequence[SourceInfo]) -> tuple[int, int]:
    """Return width and height that show all sources in full, where the screen has room for that."""
    columns, rows = grid_shape(len(sources))
    width = columns * max(info.width or _UNKNOWN_SIZE[0] for info in sources)
    height = rows * max(info.height or _UNKNOWN_SIZE[1] for info in sources)
    scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
    return max(_SMALLEST[0], round(width * scale)), max(_SMALLEST[1], round(height * scale))
