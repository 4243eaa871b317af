"""Commit the result of a job: its files are written into a temporary folder, which is then renamed.

A result is there completely or not at all, and committing it twice changes nothing.
"""

import errno
import os
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from maskstream.errors import SinkError
from maskstream.fleet.archive_results import SUMMARY, VIDEO, result_folder

_PART: Final = (".maskstream-", ".part")
_DIGITS: Final = frozenset("0123456789abcdef")
_ALREADY_THERE: Final = (errno.ENOTEMPTY, errno.EEXIST)


def is_committed(archive: Path, job_id: str) -> bool:
    """Return whether a job has a result."""
    return (result_folder(archive, job_id) / SUMMARY).is_file()


@contextmanager
def committing(archive: Path, job_id: str) -> Generator[Path, None, None]:
    """Yield a new folder for the files of a result, and commit them at the end of the block.

    Where the block raises an error, the folder is removed. A result that was committed meanwhile is kept, and equals this one.

    Raises:
        SinkError: The result cannot be written.
    """
    target = result_folder(archive, job_id)
    part = target.parent / os.urandom(8).hex().join(_PART)
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise _failure(part, error) from error
    try:
        yield part
        try:
            _sync(part)
            _rename(part, target)
        except OSError as error:
            raise _failure(target, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_result_video(path: str) -> bool:
    """Return whether a file is the annotated video of a result, by its path."""
    folder, name = os.path.split(path)
    return name == VIDEO and _is_id(os.path.basename(folder))  # noqa: PTH119 (a path stays as it is spelled)


def committed_ids(archive: Path) -> set[str]:
    """Return the ids of all jobs with a result."""
    return {folder.name for folder in _folders(archive) if _is_id(folder.name) and is_committed(archive, folder.name)}


def remove_parts(archive: Path) -> None:
    """Remove the temporary folders of killed workers. No worker of the archive may run."""
    begin, end = _PART
    for folder in _folders(archive):
        if folder.name.startswith(begin) and folder.name.endswith(end):
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # it has results
                folder.parent.rmdir()


def remove_results(archive: Path, job_ids: Iterable[str]) -> None:
    """Remove the results of jobs that others have replaced."""
    for job_id in job_ids:
        shutil.rmtree(result_folder(archive, job_id), ignore_errors=True)


def _folders(archive: Path) -> Generator[Path, None, None]:
    """Yield what lies in the folders 00 to ff of the archive."""
    for group in _listed(archive):
        if len(group.name) == 2 and _DIGITS.issuperset(group.name):
            yield from _listed(group)


def _listed(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _is_id(name: str) -> bool:
    return len(name) == 64 and _DIGITS.issuperset(name)


def _sync(folder: Path) -> None:
    """Write the files of a folder to the disk: a power failure must not leave a committed result that is empty."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename(part: Path, target: Path) -> None:
    """Rename a complete result, unless there is one. What is left of one that was removed in part is replaced."""
    try:
        part.rename(target)
    except OSError as error:
        if error.errno not in _ALREADY_THERE:
            raise
        if not (target / SUMMARY).is_file():
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)


def _failure(path: Path, error: OSError) -> SinkError:
    return SinkError(f"{path}: cannot be written: {error.strerror}; make room or choose another --output")
