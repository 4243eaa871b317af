"""A progress bar on the terminal."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from maskstream.types import Output, SourceInfo


class ProgressSink:
    """Frames done, frames per second and time to go, per source."""

    wants_every_frame = False

    def __init__(self, console: Console, sources: list[SourceInfo], max_frames: int | None) -> None:
        """Show a bar for each source; without a known end it only counts.

        Args:
            console: Where to draw; log lines must go through it too.
            sources: What will be read.
            max_frames: The user's limit on each.
        """
        self._progress = Progress(
            *(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn()),
            *(TextColumn("{task.fields[fps]:.1f} fps"), TimeRemainingColumn()),
            console=console,
            transient=True,
        )
        self._tasks = {
            info.source_id: self._progress.add_task(info.source_id, total=_total(info.frame_count, max_frames), fps=0.0)
            for info in sources
        }
        self._progress.start()

    def write(self, output: Output) -> None:
        """Count a frame."""
        task = self._progress.tasks[self._tasks[output.frame.source_id]]
        done = output.frame.index + 1
        self._progress.update(task.id, completed=done, fps=done / task.elapsed if task.elapsed else 0.0)

    def source_ended(self, source_id: str) -> None:
        """Fill the bar: the length of a file is only an estimate."""
        task = self._progress.tasks[self._tasks[source_id]]
        self._progress.update(task.id, total=task.completed)

    def close(self) -> None:
        """Take the bars away."""
        self._progress.stop()


def _total(frame_count: int | None, max_frames: int | None) -> int | None:
    known = [count for count in (frame_count, max_frames) if count]
    return min(known, default=None)
