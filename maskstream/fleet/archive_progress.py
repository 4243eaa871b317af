"""Show how far an archive is: on a terminal, or as a log line every 30 s."""

from collections.abc import Callable
from time import monotonic

from rich.console import Console


class ArchiveProgress:
    """Counts files, bytes and hours of video, and estimates the remaining time from the remaining bytes."""

    def __init__(
        self,
        console: Console | None,
        files: int,
        size_bytes: int,
        *,
        is_silent: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Begin with the files that this run analyses.

        Args:
            console: The terminal; the log must use the same console. None, or a pipe: log lines.
            files: Files without a result yet. Those with a result from an earlier run are not among them.
            size_bytes: Their total size.
            is_silent: Show and log nothing.
            clock: Seconds.
        """

    def sent(self, worker: str, path: str, size_bytes: int) -> None:
        """Note that a file was sent to a worker. It begins with it when it is done with those that were sent before."""

    def advanced(self, worker: str, video_s: float, share: float) -> None:
        """Note how far a worker is in its current file: seconds of video, and the fraction of the file. Optional."""

    def done(self, worker: str, path: str, video_s: float) -> None:
        """Note a committed result, with the seconds of video in it."""

    def failed(self, path: str, reason: str) -> None:
        """Note a file that stays without a result in this run, also where its worker is known: call `lost` or nothing before."""

    def lost(self, worker: str) -> None:
        """Note that a worker ended: the files that were sent to it are not done."""

    def update(self) -> None:
        """Show the state; call it at least once a second. In a pipe, this logs a line every 30 s."""

    def close(self) -> None:
        """Remove the display. A second call does nothing."""
