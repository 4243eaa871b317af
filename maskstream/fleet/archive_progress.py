"""Show how far an archive is: on a terminal, or as a log line every 30 s."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from time import monotonic
from typing import Final

from loguru import logger
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from maskstream.fleet.quantities import duration, plural, size
from maskstream.io.files import one_line, plain_text

LOG_EVERY_S: Final = 30.0
_SHOW_EVERY_S: Final = 0.25
_MOST_WORKERS: Final = 16
"""So many workers have a line on the terminal."""


@dataclass
class _Worker:
    """What a worker has and has done."""

    began_s: float
    sent: dict[str, int] = field(default_factory=dict)
    """Sizes of its files in bytes by path; it works on the first one."""
    video_s: float = 0.0
    """Of the files that it is done with."""
    current_s: float = 0.0
    """Of the file that it works on."""
    share: float = 0.0
    """Of this file."""

    @property
    def current_bytes(self) -> float:
        return self.share * next(iter(self.sent.values()), 0)

    def rate(self, now_s: float) -> float:
        """Seconds of video per second."""
        return (self.video_s + self.current_s) / max(now_s - self.began_s, 1e-9)


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
        self._files = files
        self._size_bytes = size_bytes
        self._is_silent = is_silent
        self._clock = clock
        self._began_s = self._shown_s = clock()
        self._workers: dict[str, _Worker] = {}
        self._sizes: dict[str, int] = {}
        """Of the files that were sent to a worker, and are neither done nor failed."""
        self._done = self._failed = 0
        self._done_bytes = self._failed_bytes = 0
        self._video_s = 0.0
        self._live: Live | None = None
        if console is not None and console.is_terminal and not is_silent:
            self._live = Live(console=console, transient=True, auto_refresh=False, get_renderable=self._display)
            self._live.start()

    def sent(self, worker: str, path: str, size_bytes: int) -> None:
        """Note that a file was sent to a worker. It begins with it when it is done with those that were sent before."""
        self._workers.setdefault(worker, _Worker(self._clock())).sent[path] = size_bytes
        self._sizes[path] = size_bytes

    def advanced(self, worker: str, video_s: float, share: float) -> None:
        """Note how far a worker is in its current file: seconds of video, and the fraction of the file. Optional."""
        state = self._workers.setdefault(worker, _Worker(self._clock()))
        state.current_s, state.share = video_s, min(max(share, 0.0), 1.0)

    def done(self, worker: str, path: str, video_s: float) -> None:
        """Note a committed result, with the seconds of video in it."""
        self._end_file(path)
        if worker in self._workers:
            self._workers[worker].video_s += video_s
        self._done += 1
        self._done_bytes += self._sizes.pop(path, 0)
        self._video_s += video_s

    def failed(self, path: str) -> None:
        """Note a file that stays without a result in this run."""
        self._end_file(path)
        self._failed += 1
        self._failed_bytes += self._sizes.pop(path, 0)

    def lost(self, worker: str) -> None:
        """Note that a worker ended: the files that were sent to it are not done."""
        self._workers.pop(worker, None)

    def update(self) -> None:
        """Show the state; call it at least once a second. In a pipe, this logs a line every 30 s."""
        now_s = self._clock()
        if self._is_silent or now_s - self._shown_s < (LOG_EVERY_S if self._live is None else _SHOW_EVERY_S):
            return
        self._shown_s = now_s
        if self._live is not None:
            self._live.refresh()
            return
        logger.info("{}", self.line())
        for name, worker in self._workers.items():
            logger.debug("{}", f"{name}: {self._work(worker)}")

    def close(self) -> None:
        """Remove the display. A second call does nothing."""
        if self._live is not None:
            self._live.stop()

    def line(self) -> str:
        """Return the state as one line."""
        left_s = self.left_s()
        parts = [
            f"{self._done + self._failed:,} of {plural(self._files, 'file')}",
            f"{size(self._done_bytes + self._failed_bytes)} of {size(self._size_bytes)}",
            f"{self._rate():.1f} h of video per hour",
            "remaining time unknown" if left_s is None else f"{duration(left_s)} left",
        ]
        return ", ".join([*parts, f"{self._failed:,} failed"] if self._failed else parts)

    def left_s(self) -> float | None:
        """Return the remaining seconds, if the remaining bytes take as long as those before; None before the first ones."""
        analysed = self._analysed_bytes()
        remaining = max(0.0, self._size_bytes - analysed - self._failed_bytes)
        return remaining * (self._clock() - self._began_s) / analysed if analysed else None

    def _analysed_bytes(self) -> float:
        return self._done_bytes + sum(worker.current_bytes for worker in self._workers.values())

    def _rate(self) -> float:
        """Return the hours of video per hour."""
        video_s = self._video_s + sum(worker.current_s for worker in self._workers.values())
        return video_s / max(self._clock() - self._began_s, 1e-9)

    def _end_file(self, path: str) -> None:
        for worker in self._workers.values():
            if path in worker.sent:
                del worker.sent[path]
                worker.current_s = worker.share = 0.0

    def _display(self) -> RenderableType:
        rows = Table.grid(padding=(0, 2))
        for name, worker in list(self._workers.items())[:_MOST_WORKERS]:
            rows.add_row(Text(name), Text(self._work(worker), no_wrap=True, overflow="ellipsis"))
        if len(self._workers) > _MOST_WORKERS:
            rows.add_row("", f"and {plural(len(self._workers) - _MOST_WORKERS, 'worker')} more")
        bar = Table.grid()
        bar.add_row(ProgressBar(total=max(self._size_bytes, 1), completed=self._analysed_bytes() + self._failed_bytes, width=60))
        return Group(bar, Text(self.line()), rows)

    def _work(self, worker: _Worker) -> str:
        path = next(iter(worker.sent), None)
        file = "waits" if path is None else one_line(plain_text("/".join(PurePath(path).parts[-2:])))
        share = f" {worker.share:.0%}" if worker.share else ""
        return f"{worker.rate(self._clock()):.1f}× {file}{share}"
