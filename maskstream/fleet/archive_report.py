"""Write archive.html: one page with the sums, the folders, the files and the failures of an archive.

`templates/archive.html.j2` is the page. It shows the files that need to be looked at where there are too many for a page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heappush, heappushpop
from os.path import commonpath
from pathlib import Path, PurePosixPath
from typing import Any, Final, Generic, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from maskstream.fleet.archive_results import PLOT, VIDEO, ArchiveTotals, FailedJob, MergedJob, result_folder
from maskstream.fleet.quantities import duration, plural, size
from maskstream.io.files import one_line
from maskstream.rendering.palette import LABEL_TEXT
from maskstream.types import Label

MOST_FILES: Final = 2000
MOST_FOLDERS: Final = 500
MOST_FAILURES: Final = 500
_TEMPLATES: Final = (Path(__file__).parent / "templates", Path(__file__).parents[1] / "evaluation")
"""Styles and the sorting of tables are those of the evaluation report."""
_CLASSES: Final = {Label.MASK: "right", Label.NO_MASK: "wrong", Label.INCORRECT: "unknown", Label.UNKNOWN: "missed"}
"""The colour of each label: a class of report.css.j2."""
_DASH: Final = "–"
Item = TypeVar("Item")


class ArchiveReport:
    """Collects in bounded memory what the page shows."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Begin without results.

        Args:
            paths: All files; the folder that contains them all is shown once.
        """
        self._base = common_folder(paths)
        self._files: _Most[_Row] = _Most(MOST_FILES)
        self._folders: _Most[_Row] = _Most(MOST_FOLDERS)
        self._folder: _Row | None = None
        """The folder whose files are being added."""

    def add(self, job: MergedJob, totals: ArchiveTotals) -> None:
        """Add a file; those of a folder come one after the other."""
        self._files.add(_Row(self._shown(job.path), totals, job), totals.not_masked_s)
        parent = self._shown(f"{PurePosixPath(job.path).parent}/")
        if self._folder is None or self._folder.name != parent:
            self._end_folder()
            self._folder = _Row(parent, ArchiveTotals())
        self._folder.totals.add(totals)

    def page(self, archive: Path, totals: ArchiveTotals, failed: Sequence[FailedJob]) -> bytes:
        """Return the page.

        Args:
            archive: The folder that the links are relative to.
            totals: Of all files.
            failed: The files without a result, in the order of the page.
        """
        self._end_folder()
        text = (
            _templates()
            .get_template("archive.html.j2")
            .render(
                totals=totals,
                base=one_line(self._base),
                parts=[(_CLASSES[label], LABEL_TEXT[label], totals.person_s[label]) for label in Label],
                files=self._files,
                folders=self._folders,
                failures=[(one_line(self._shown(each.path)), each) for each in failed[:MOST_FAILURES]],
                links={row.job.job_id: list(_links(archive, row.job)) for row in self._files.rows() if row.job},
            )
        )
        return text.encode(errors="xmlcharrefreplace")  # a path may contain bytes that are not text

    def _shown(self, path: str) -> str:
        return path.removeprefix(self._base) or "./"

    def _end_folder(self) -> None:
        if self._folder is not None:
            self._folders.add(self._folder, self._folder.totals.not_masked_s)
        self._folder = None


@dataclass(frozen=True)
class _Row:
    """A file or a folder of the page."""

    name: str
    totals: ArchiveTotals
    job: MergedJob | None = None


class _Most(Generic[Item]):
    """The items with the highest values; of equal ones the first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0
        """Of all items."""
        self._heap: list[tuple[float, int, Item]] = []

    def add(self, item: Item, value: float) -> None:
        entry = (value, -self.count, item)
        self.count += 1
        if len(self._heap) < self.most:
            heappush(self._heap, entry)
        else:
            heappushpop(self._heap, entry)

    def rows(self) -> list[Item]:
        """Return all items in their order, or, where there were too many, the highest first."""
        by_number = self.count <= self.most
        return [item for *_, item in sorted(self._heap, key=lambda each: each[1] if by_number else each[:2], reverse=True)]


def common_folder(paths: Sequence[str]) -> str:
    """Return the folder that contains all paths, with its `/`; empty where there is none, or where it is the root."""
    parents = [str(PurePosixPath(path).parent) for path in paths]
    try:
        found = commonpath([min(parents), max(parents)]) if parents else ""
    except ValueError:  # absolute and relative paths
        found = ""
    return f"{found}/" if found.strip("/") else ""


def _links(archive: Path, job: MergedJob) -> Iterator[tuple[str, str]]:
    """Return text and target of the links of a file."""
    folder = result_folder(Path(), job.job_id).as_posix()
    yield "records", f"{folder}/"
    for text, name in (("plot", PLOT), ("video", VIDEO)):
        if (archive / folder / name).exists():
            yield text, f"{folder}/{name}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Any] = {"duration": duration, "size": size, "plural": plural, "one_line": one_line}
    filters["percent"] = lambda share: _DASH if share is None else f"{share:.0%}"
    environment.filters |= filters
    return environment
