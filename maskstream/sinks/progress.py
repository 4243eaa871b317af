"""A progress bar on the terminal."""

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
    """Frames done, frames per second and time to go, per source."""

    wants_every_frame = False

    def __init__(
        self,
        console: Console,
        sources: Sequence[SourceInfo],
        max_frames: int | None,
        latest: Callable[[str], SourceInfo | None] = lambda _: None,
    ) -> None:
        """Show a bar for each source; without a known end it only counts. One of many files has its bar while it is read.

        Args:
            console: Where to draw; log lines must go through it too.
            sources: What will be read.
            max_frames: The user's limit on each.
            latest: Returns what is known of a source by now, None where it is not known.
        """
        self._progress = Progress(
            *(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                MofNCompleteColumn(),
            ),
            *(TextColumn("{task.fields[fps]:.1f} fps"), TimeRemainingColumn()),
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
        if source_id not in self._tasks:  # it was added while the program runs, or its turn has come
            self._remove_ended()
            info = self._latest(source_id)
            self._add(source_id, None if info is None else info.frame_count)
        task = self._task(source_id)
        done = output.frame.index + 1
        self._progress.update(task.id, completed=done, fps=done / task.elapsed if task.elapsed else 0.0)

    def source_ended(self, source_id: str) -> None:
        """Fill the bar: the length of a file is only an estimate."""
        if source_id in self._tasks:  # one that was added and gave no frame has none
            task = self._task(source_id)
            self._progress.update(task.id, total=task.completed)

    def close(self) -> None:
        """Take the bars away."""
        self._progress.stop()

    def _task(self, source_id: str) -> Task:
        return next(task for task in self._progress.tasks if task.id == self._tasks[source_id])

    def _remove_ended(self) -> None:
        """Take away the bars of files that have ended: there may be hundreds."""
        for source_id in [each for each in self._deferred if each in self._tasks and self._task(each).finished]:
            self._progress.remove_task(self._tasks.pop(source_id))

    def _add(self, source_id: str, frame_count: int | None) -> None:
        total = min([count for count in (frame_count, self._max_frames) if count], default=None)
        self._tasks[source_id] = self._progress.add_task(one_line(source_id), total=total, fps=0.0)
