"""Give an engine the cameras that are assigned to its machine, in place of a list of cameras."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.cameras import Camera, read_camera
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.errors import ConfigError, MaskStreamError
from maskstream.fleet.wire import Assignment
from maskstream.io.locations import is_folder_or_pattern

_AGAIN_S: Final = 30.0
"""A camera that could not be opened is tried again after this time."""


class AssignedCameras:
    """The cameras that an engine should watch now. `assign` may be called from any thread, `poll` by the engine.

    Passwords in environment variables are resolved here, on the machine that connects to the camera.
    """

    ends = False
    """The engine waits for cameras where it has none."""

    def __init__(
        self,
        config: Config,
        may_watch: Callable[[], bool],
        command_line: Sequence[Layer] = (),
        clock: Clock = MONOTONIC,
    ) -> None:
        """Begin without cameras.

        Args:
            config: The configuration of cameras without settings of their own.
            may_watch: Whether the machine may watch its cameras now. Where not, `poll` returns none.
            command_line: The layers that override a camera's own settings.
            clock: Measures when cameras are tried again.
        """
        self._config = config
        self._may_watch = may_watch
        self._command_line = command_line
        self._clock = clock
        self._assigned: tuple[Assignment, ...] = ()
        self._given: tuple[Assignment, ...] = ()
        """What the last result of `poll` was made of."""
        self._given_at_s = clock.now_s()
        self._refused: dict[str, tuple[Assignment, str]] = {}

    def assign(self, assignments: Sequence[Assignment]) -> None:
        """Set what should be watched. The same assignments again change nothing."""
        if tuple(assignments) != self._assigned:
            self._assigned = tuple(assignments)

    def refused(self) -> Mapping[str, str]:
        """Return why cameras cannot be watched here, by name: a wrong entry, or a variable that is not set on this machine."""
        return {name: reason for name, (assignment, reason) in self._refused.items() if assignment in self._assigned}

    def poll(self) -> list[Camera] | None:
        """Return all cameras that should be watched; None where nothing has changed.

        The same cameras are returned again after 30 s, so that those that could not be opened are tried again.
        """
        wanted = self._assigned if self._may_watch() else ()
        now_s = self._clock.now_s()
        if wanted == self._given and now_s - self._given_at_s < _AGAIN_S:
            return None
        self._given, self._given_at_s = wanted, now_s
        return [camera for assignment in wanted if (camera := self._read(assignment)) is not None]

    def _read(self, assignment: Assignment) -> Camera | None:
        name = assignment.camera
        try:
            camera = read_camera(assignment.entry, "site", self._config, self._command_line)[0]
            if is_folder_or_pattern(camera.location):
                raise ConfigError(f"{name}: a folder or pattern cannot be watched by a fleet; use maskstream archive")
        except MaskStreamError as error:
            if self._refused.get(name) != (assignment, str(error)):
                logger.error("{}", error)
            self._refused[name] = assignment, str(error)
            return None
        self._refused.pop(name, None)
        return replace(camera, epoch=assignment.epoch)
