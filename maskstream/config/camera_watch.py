"""Lists of cameras that are edited while the program runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.cameras import Camera, is_list, read_cameras
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.errors import MaskStreamError

_LOOK_EVERY_S: Final = 0.5
_Stamp = tuple[int, int, int] | None


class CameraWatch:
    """Looks now and then whether a list of cameras was edited, and reads it once nobody writes to it any more."""

    def __init__(
        self, locations: Sequence[str], config: Config, clock: Clock = MONOTONIC, command_line: Sequence[Layer] = ()
    ) -> None:
        """Watch the lists among what was given to `--source`, before they are read for the first time.

        Args:
            locations: All that was given.
            config: What holds where a camera has no settings of its own.
            clock: Says when to look.
            command_line: What wins over a camera's own settings.
        """
        self._locations = locations
        self._command_line = command_line
        self._config = config
        self._clock = clock
        self._lists = [Path(location) for location in locations if is_list(location)]
        self._read = self._seen = self._stamps()
        self._looked_at_s = clock.now_s()

    def poll(self) -> list[Camera] | None:
        """Return all cameras where a list was edited since the last call; None where none was, or where it cannot be used.

        A list that changed since the last look may be half written: it is read when two looks find the same.
        """
        now_s = self._clock.now_s()
        if not self._lists or now_s - self._looked_at_s < _LOOK_EVERY_S:
            return None
        self._looked_at_s = now_s
        before, self._seen = self._seen, self._stamps()
        if self._seen == self._read or self._seen != before:
            return None
        self._read = self._seen
        try:
            return read_cameras(self._locations, self._config, self._command_line)
        except MaskStreamError as error:
            logger.error("{}; the cameras stay as they are", error)
            return None

    def _stamps(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._lists]


def _stamp(path: Path) -> _Stamp:
    try:
        stat = path.stat()
    except OSError:
        return None  # editors replace files
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
