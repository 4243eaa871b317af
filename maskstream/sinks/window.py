"""Show annotated frames in a window and obey its keys. All GUI calls run in the main thread."""

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
# WINDOW_GUI_NORMAL has no Qt toolbar, which needs fonts that OpenCV's wheels do not contain. WINDOW_FREERATIO: the image is
# always drawn in the size of the window, so that it is sharp and its text is readable.
_FLAGS: Final = cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL
_MAX_SIZE: Final = (1280, 720)
_MIN_SIZE: Final = (320, 240)
_ATTEND_EVERY_S: Final = 1 / 30
_REDRAW_EVERY_S: Final = 0.25
_UNKNOWN_SIZE: Final = (640, 480)


class WindowSink:
    """Shows the annotated frames of all sources, and obeys keys.

    `write` keeps the newest frame of each source. `attend` draws and handles keys; it must be called often.
    """

    wants_every_frame = True

    def __init__(self, sources: Sequence[SourceInfo], config: WindowConfig, settings: SourceSettings | None = None) -> None:
        """Open a resizable window, no larger than most screens.

        Args:
            sources: At least one.
            config: How long each image is shown (`window.picture_s`), and the folder of snapshots (`window.snapshots`).
            settings: The settings of the sources. A frame that was drawn with earlier settings of its source is cleared,
                because the settings of now may anonymise its faces.
        """
        self._settings = settings
        self._drawn_with: dict[str, Config] = {}
        self._cells = {info.source_id: Cell(info) for info in sources if not info.is_deferred}
        self._deferred = {info.source_id: info for info in sources if info.is_deferred}
        """Sources that are opened later. Each gets a cell with its first frame, and the cells of ended ones are removed then."""
        self._config = config
        self._live = any(info.live for info in sources)
        self._size = _first_size([info for info in sources if not info.is_deferred] or sources[:1])
        self._paused = False
        self._held_until_s = 0.0
        self._image_waits = False
        self._changed = True
        self._attended_at_s = self._drawn_at_s = 0.0
        self._was_visible = False
        title = f"maskstream: {plain_text(sources[0].source_id)}" if len(sources) == 1 else "maskstream"
        prefer_x11()
        cv2.namedWindow(_WINDOW, _FLAGS)
        cv2.setWindowTitle(_WINDOW, title)
        cv2.resizeWindow(_WINDOW, *self._size)
        logger.info("keys of the window: q or Esc quits, s saves the frames{}", "" if self._live else ", space pauses")

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
        """Keep the last frame of a source, and mark it as ended."""
        if source_id in self._deferred and source_id not in self._cells:
            return
        self._cell(source_id).ended = True
        self._changed = True

    def state_changed(self, change: StateChange) -> None:
        """Show on the last frame of a source since when it sends none."""
        if change.source_id in self._deferred:
            return
        since = f"{change.state.value} since {change.wall_time.astimezone():%H:%M:%S}"
        self._cell(change.source_id).away = since if change.state in SILENT else ""
        self._changed = True

    def source_removed(self, source_id: str) -> None:
        """Remove the cell of a source."""
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
        if source_id not in self._cells:  # the source was added while the program runs
            self._cells[source_id] = Cell(SourceInfo(source_id, 0, 0, live=True))
        return self._cells[source_id]

    def attend(self) -> bool:
        """Draw if something has changed, and handle keys.

        Returns:
            Whether the stream must wait: the user has paused it, or an image was not shown for `window.picture_s` yet.

        Raises:
            SinkClosed: The user has pressed q or Esc, or closed the window.
        """
        now_s = monotonic()
        if self._image_waits or now_s - self._attended_at_s >= _ATTEND_EVERY_S:
            self._attended_at_s = now_s
            self._clear_outdated()
            if self._changed or now_s - self._drawn_at_s >= _REDRAW_EVERY_S:
                self._draw(now_s)
            self._obey(cv2.pollKey())  # also lets the window paint itself
        return self._paused or now_s < self._held_until_s

    def close(self) -> None:
        """Close the window. A second call does nothing."""
        with suppress(cv2.error):  # it is closed already
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
        """Obey a key as `cv2.pollKey` returns it."""
        if self._was_closed():
            raise SinkClosed("the window was closed")
        match chr(key & 0xFFFF).lower():  # the bits above are modifiers
            case "q" | "\x1b":
                raise SinkClosed("the user has quit")
            case "s":
                taken = datetime.now()
                for cell in self._cells.values():
                    if cell.output is not None:
                        save_snapshot(cell.output.annotated_bgr, Path(self._config.snapshots), cell.name, taken)
            case " " if self._live:
                logger.info("a live source cannot be paused")
            case " ":
                self._paused = not self._paused
                self._changed = True

    def _was_closed(self) -> bool:
        """Return whether the window was visible and no longer is. A window that was just opened may need a moment to appear."""
        try:
            visible = cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # raised by Qt after the last window is closed
            return True
        self._was_visible |= visible
        return self._was_visible and not visible


def _window_size() -> tuple[int, int] | None:
    """Return width and height in pixels, or None if the system does not report them."""
    left, top, width, height = cv2.getWindowImageRect(_WINDOW)
    if min(width, height) < 1:
        return None
    if cv2.currentUIFramework() == "QT":  # before OpenCV 4.12 this is the rectangle of the last image, in the middle
        return width + 2 * left, height + 2 * top
    return width, height


def _first_size(sources: Sequence[SourceInfo]) -> tuple[int, int]:
    """Return the width and height that show all sources in full size, scaled down if that is larger than most screens."""
    columns, rows = grid_shape(len(sources))
    width = columns * max(info.width or _UNKNOWN_SIZE[0] for info in sources)
    height = rows * max(info.height or _UNKNOWN_SIZE[1] for info in sources)
    scale = min(1.0, _MAX_SIZE[0] / width, _MAX_SIZE[1] / height)
    return max(_MIN_SIZE[0], round(width * scale)), max(_MIN_SIZE[1], round(height * scale))
