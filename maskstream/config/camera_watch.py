"""Read lists of cameras again when they are edited while the program runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.cameras import Camera, is_list, read_cameras
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.errors import MaskStreamError

_CHECK_EVERY_S: Final = 0.5
_Stamp = tuple[int, int, int] | None


class CameraWatch:
    """Checks regularly whether a list of cameras was edited, and reads it when the edit is complete."""

    ends = True
    """The run ends after its last source."""

    def __init__(
        self, locations: Sequence[str], config: Config, clock: Clock = MONOTONIC, command_line: Sequence[Layer] = ()
    ) -> None:
        """Begin before the lists are read for the first time.

        Args:
            locations: All values of `--source`. Those that are no lists are not watched.
            config: The configuration of cameras without settings of their own.
            clock: The clock of the checks.
            command_line: The layers that override a camera's own settings.
        """
        self._locations = locations
        self._command_line = command_line
        self._config = config
        self._clock = clock
        self._lists = [Path(location) for location in locations if is_list(location)]
        self._read = self._seen = self._stamps()
        self._checked_s = clock.now_s()

    def poll(self) -> list[Camera] | None:
        """Return all cameras after a list was edited; None without an edit, and where the edited list is wrong.

        A list that has changed since the last check may be incomplete: it is read when two checks in sequence find the same file.
        """
        now_s = self._clock.now_s()
        if not self._lists or now_s - self._checked_s < _CHECK_EVERY_S:
            return None
        self._checked_s = now_s
        before, self._seen = self._seen, self._stamps()
        if self._seen == self._read or self._seen != before:
            return None
        self._read = self._seen
        try:
            return read_cameras(self._locations, self._config, self._command_line)
        except MaskStreamError as error:
            logger.error("{}; the cameras are not changed", error)
            return None

    def _stamps(self) -> list[_Stamp]:
        stamps: list[_Stamp] = []
        for path in self._lists:
            try:
                stat = path.stat()
                stamps.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
            except OSError:
                stamps.append(None)  # an editor may be replacing the file
        return stamps
