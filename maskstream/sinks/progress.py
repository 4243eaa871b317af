"""Show a progress bar on the terminal."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from maskstream.io.files import one_line
from maskstream.types import Output, SourceInfo


class ProgressSink:
    """Shows the frames that are done, frames per second and remaining time of each source."""

    wants_every_frame = False

    def __init__(
        self,
        console: Console,
        sources: Sequence[SourceInfo],
        max_frames: int | None,
        latest: Callable[[str], SourceInfo | None] = lambda _: None,
    ) -> None:
        """Show a bar for each source; a source without a known end shows a counter. A deferred file has its bar while it is read.

        Args:
            console: The terminal; log lines must use the same console.
            sources: Are read.
            max_frames: `--max-frames`, for each source.
            latest: Returns what is known about a source at the time of the call, or None.
        """
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fps]:.1f} fps"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._max_frames = max_frames
        self._latest = latest
        self._tasks: dict[str, TaskID] = {}
        self._deferred = {info.source_id for info in sources if info.is_deferred}
        for info in sources:
            if not info.is_deferred:
                self._add(info.source_id, info.frame_count)
        self._progress.start()

    def write(self, output: Output) -> None:
        """Count a frame."""
        source_id = output.frame.source_id
        if source_id not in self._tasks:  # a camera that was added, or a deferred file
            ended = [each for each in self._deferred if each in self._tasks and self._task(each).finished]
            for ended_id in ended:  # hundreds of files may be read: show no bar for those that have ended
                self._progress.remove_task(self._tasks.pop(ended_id))
            info = self._latest(source_id)
            self._add(source_id, None if info is None else info.frame_count)
        task = self._task(source_id)
        done = output.frame.index + 1
        self._progress.update(task.id, completed=done, fps=done / task.elapsed if task.elapsed else 0.0)

    def source_ended(self, source_id: str) -> None:
        """Fill the bar: the number of frames of a file is an estimate."""
        if source_id in self._tasks:  # an added camera without frames has no bar
            task = self._task(source_id)
            self._progress.update(task.id, total=task.completed)

    def close(self) -> None:
        """Remove the bars."""
        self._progress.stop()

    def _task(self, source_id: str) -> Task:
        return next(task for task in self._progress.tasks if task.id == self._tasks[source_id])

    def _add(self, source_id: str, frame_count: int | None) -> None:
        total = min([count for count in (frame_count, self._max_frames) if count], default=None)
        self._tasks[source_id] = self._progress.add_task(one_line(source_id), total=total, fps=0.0)
