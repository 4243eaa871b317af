"""Hold what a user requests of a run besides the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from maskstream.config.cameras import is_list
from maskstream.config.loading import Layer
from maskstream.io.output_paths import image_beside, is_stdout
from maskstream.io.text_file import Mode
from maskstream.types import SourceInfo


@dataclass(frozen=True)
class StreamRequest:
    """The sources and outputs of a run, and how it shows its progress."""

    sources: tuple[str, ...] = field(repr=False)
    output: str | None = None
    jsonl: str | None = None
    csv: str | None = None
    status: str | None = None
    show: bool | None = None
    """Whether to open a window; None: for webcams."""
    events: str | None = None
    summary: str | None = None
    progress: Console | None = None
    """The console of the progress bar; None for no progress bar."""
    console: Console | None = None
    """The console of the summary table; None for no table."""
    overwrite: bool | None = None
    """Whether existing outputs are replaced (True) or refused (False). None: files replace them, cameras continue them.
    Recordings of cameras never replace a file."""
    command_line: tuple[Layer, ...] = ()
    """The settings of the command line, which win over a camera's own settings. They are part of the run's configuration."""
    reads: tuple[str, ...] = ()
    """Files that the run reads besides its sources. No output may replace them."""
    in_batches: bool = False
    """Whether a source is a folder or a pattern with videos."""

    @property
    def text_outputs(self) -> tuple[str, ...]:
        """The paths of records, events and the summary, and of the summary's image."""
        paths = [path for path in (self.jsonl, self.csv, self.status, self.events, self.summary) if path is not None]
        if self.summary is not None:
            paths.append(str(image_beside(self.summary)))
        return tuple(paths)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that outputs are written to."""
        folders = [Path(path).absolute().parent for path in self.text_outputs if not is_stdout(path)]
        if self.output is not None:
            output = Path(self.output).absolute()
            folders.append(output if self.into_folder else output.parent)
        return tuple(dict.fromkeys(map(str, folders)))

    @property
    def into_folder(self) -> bool:
        """Whether `output` is a folder, because there may be more than one source."""
        return self.in_batches or len(self.sources) > 1 or any(map(is_list, self.sources))

    def mode(self, infos: Sequence[SourceInfo]) -> Mode:
        """Return the mode of text files: those of cameras are continued, unless `overwrite` is set."""
        return "a" if is_live(infos) and not self.overwrite else "w"


def is_live(infos: Sequence[SourceInfo]) -> bool:
    """Return whether a source is a camera."""
    return any(info.live for info in infos)
