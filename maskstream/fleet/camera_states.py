"""Follow the states of the cameras of a site, and report their changes as a run does."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from maskstream.clock import Clock
from maskstream.fleet.status import PlacedCamera
from maskstream.stream.states import SourceState, StateChange

_STATES: Final = {"unplaced": SourceState.OFFLINE, "unknown": SourceState.RECONNECTING}
"""The state of a camera that no node reports on."""


class CameraStates:
    """Compares the states of cameras with those before. One thread calls it."""

    def __init__(self, changed: Callable[[StateChange], None], clock: Clock) -> None:
        """Begin without cameras.

        Args:
            changed: Receives each change, also the first state of a camera.
            clock: The clock of the changes.
        """
        self._changed = changed
        self._clock = clock
        self._last: dict[str, StateChange] = {}

    def follow(self, cameras: Sequence[PlacedCamera]) -> None:
        """Report what has changed since the last call. A camera that left the site has ended."""
        for camera in cameras:
            cause = camera.reason or (f"on {camera.node}" if camera.node else "it has no node")
            self._follow(camera.name, _STATES.get(camera.state, camera.state), cause)
        for name in self._last.keys() - {camera.name for camera in cameras}:
            self._follow(name, SourceState.ENDED, "removed from the site")
            del self._last[name]

    def _follow(self, name: str, state: SourceState | str, cause: str) -> None:
        before, now_s = self._last.get(name), self._clock.now_s()
        if before is not None and before.state == state:
            return
        self._last[name] = StateChange(
            source_id=name,
            state=SourceState(state),
            before=before.state if before else None,
            cause=cause,
            at_s=now_s,
            wall_time=datetime.now(UTC),
            before_s=now_s - before.at_s if before else 0.0,
        )
        self._changed(self._last[name])
