"""Read the file of a site again when it or a list of its cameras is edited while the program runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.errors import MaskStreamError
from maskstream.fleet.site import Site, files_of, read_site

_CHECK_EVERY_S: Final = 0.5
_Stamp = tuple[int, int, int] | None


class SiteWatch:
    """Checks regularly whether the files of a site were edited, and reads them when the edit is complete."""

    def __init__(
        self,
        path: Path,
        config: Config,
        next_generation: Callable[[], int],
        clock: Clock = MONOTONIC,
        command_line: Sequence[Layer] = (),
    ) -> None:
        """Begin before the site is read for the first time.

        Args:
            path: The file of the site.
            config: The configuration below the settings of the site.
            next_generation: Returns the number of an accepted edit, such as `Assignments.next_generation`.
            clock: The clock of the checks.
            command_line: The layers that override the settings of the site and of its cameras.
        """
        self._path = path
        self._config = config
        self._next_generation = next_generation
        self._clock = clock
        self._command_line = command_line
        self._files = files_of(path)
        self._read = self._seen = self._stamps()
        self._checked_s = clock.now_s()

    def poll(self) -> Site | None:
        """Return the site after an edit; None without one, and where the edit is wrong.

        Files that have changed since the last check may be incomplete: they are read when two checks in sequence find the same.

        Raises:
            StoreError: The number of the edit cannot be written. The next check reads the edit again.
        """
        now_s = self._clock.now_s()
        if now_s - self._checked_s < _CHECK_EVERY_S:
            return None
        self._checked_s = now_s
        before, self._seen = self._seen, self._stamps()
        if self._seen == self._read or self._seen != before:
            return None
        self._files = files_of(self._path)  # an edit may name other lists
        self._seen = self._stamps()
        try:
            site = read_site(self._path, self._config, self._command_line)
        except MaskStreamError as error:
            self._read = self._seen
            logger.error("{}; the site is not changed", error)
            return None
        edited = site.of_generation(self._next_generation())
        self._read = self._seen
        return edited

    def _stamps(self) -> dict[Path, _Stamp]:
        stamps: dict[Path, _Stamp] = {}
        for path in self._files:
            try:
                stat = path.stat()
                stamps[path] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            except OSError:
                stamps[path] = None  # an editor may be replacing the file
        return stamps
