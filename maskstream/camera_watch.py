"""Lists of cameras that are edited while the program runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from loguru import logger

from maskstream.cameras import Camera, is_list, read_cameras
from maskstream.config import Layer
from maskstream.errors import MaskStreamError
from maskstream.settings import Config

_LOOK_EVERY_S: Final = 1.0


@dataclass(frozen=True)
class ListChange:
    """What an edited list wants otherwise. A camera with other settings is removed and added."""

    added: tuple[Camera, ...]
    removed: tuple[str, ...]


class CameraWatch:
    """Looks now and then whether a list of cameras was edited."""

    def __init__(
        self, locations: Sequence[str], cameras: Sequence[Camera], config: Config, command_line: Sequence[Layer] = ()
    ) -> None:
        """Watch the lists among what was given to `--source`.

        Args:
            locations: All that was given.
            cameras: What they held.
            config: What holds where a camera has no settings of its own.
            command_line: What wins over a camera's own settings.
        """
        self._locations = locations
        self._command_line = command_line
        self._config = config
        self._cameras = {camera.name: camera for camera in cameras}
        self._lists = [Path(location) for location in locations if is_list(location)]
        self._seen = self._stamps()
        self._looked_at_s = monotonic()

    def poll(self) -> ListChange | None:
        """Return what has changed since the last call; None where nothing has, or where what is there now cannot be used."""
        now_s = monotonic()
        if not self._lists or now_s - self._looked_at_s < _LOOK_EVERY_S:
            return None
        self._looked_at_s = now_s
        stamps = self._stamps()
        if stamps == self._seen:
            return None
        self._seen = stamps
        try:
            cameras = {camera.name: camera for camera in read_cameras(self._locations, self._config, self._command_line)}
        except MaskStreamError as error:
            logger.error("{}; the cameras stay as they are", error)
            return None
        before, self._cameras = self._cameras, cameras
        changed = {name for name, camera in cameras.items() if before.get(name) != camera}
        return ListChange(
            tuple(cameras[name] for name in cameras if name in changed),
            tuple(name for name in before if name in changed or name not in cameras),
        )

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in self._lists]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None  # editors replace files
    return stat.st_mtime_ns, stat.st_size
