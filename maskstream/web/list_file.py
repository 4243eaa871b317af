"""Read a list of cameras, and replace it atomically with its permissions, its owner and its links kept."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import time
from typing import Final

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import ConfigError
from maskstream.io.files import part_beside

_BOM: Final = b"\xef\xbb\xbf"
_QUIET_S: Final = 0.5
"""A list that another program changed more recently may be incomplete."""
_WAITS: Final = 4
_REFUSALS: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
"""Errors that another attempt gives again."""


class ListFile:
    """The file of a list of cameras. One thread at a time may call `read_complete` and `replace`."""

    def __init__(self, path: str, clock: Clock = MONOTONIC, now_s: Callable[[], float] = time) -> None:
        """Store the arguments; read nothing.

        Args:
            path: The file, or a link to it.
            clock: Waits until another program has written the file.
            now_s: The time of the system in seconds: the clock of modification times.
        """
        self.path = path
        self._clock = clock
        self._now_s = now_s
        self._written_ns: int | None = None

    def read(self) -> bytes:
        """Return the content as it is now.

        Raises:
            OSError: It cannot be read.
        """
        return Path(self.path).read_bytes()

    def read_complete(self) -> bytes:
        """Return the content when no other program has changed it for half a second.

        Raises:
            OSError: It cannot be read. `BlockingIOError`: another program keeps changing it.
        """
        for _ in range(_WAITS):
            changed_ns = Path(self.path).stat().st_mtime_ns
            age_s = self._now_s() - changed_ns / 1e9
            if changed_ns == self._written_ns or not 0 <= age_s < _QUIET_S:
                return self.read()
            self._clock.wait(Event(), _QUIET_S - age_s)
        raise BlockingIOError(errno.EAGAIN, "another program keeps changing it")

    def obstacle(self) -> str:
        """Return why the file cannot be replaced, and what to do; empty where nothing is known that prevents it."""
        target = Path(os.path.realpath(self.path))
        try:
            state = target.stat()
        except OSError as error:
            return f"{self.path}: cannot be read: {error.strerror}; check the path"
        if not stat.S_ISREG(state.st_mode):
            return f"{self.path}: is not a regular file; give a file to --source"
        if not state.st_mode & 0o222 or not os.access(target, os.W_OK):
            return f"{self.path}: is write-protected; allow the user of this program to write it"
        if not os.access(target.parent, os.W_OK | os.X_OK):
            return f"{self.path}: its folder is write-protected, so that it cannot be replaced; allow this user to write there"
        if state.st_nlink > 1:
            return f"{self.path}: has a second name (hard link), which would keep the former list; use a symbolic link"
        if _is_mounted(target):
            return f"{self.path}: is a mount of its own, which cannot be replaced; mount its folder"
        if hasattr(os, "geteuid") and os.geteuid() not in (0, state.st_uid):
            return f"{self.path}: belongs to another user, who would no longer own it; run this program as its owner"
        return ""

    def replace(self, before: bytes, after: bytes) -> bool:
        """Replace the content, unless another program has changed it.

        Args:
            before: The content that the edit began with.
            after: The complete content.

        Returns:
            Whether it is replaced.

        Raises:
            OSError: It cannot be written. The file is unchanged, and no partial file remains.
        """
        target = Path(os.path.realpath(self.path))
        part = part_beside(target)
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(after)
                file.flush()
                _copy_rights(target, part)
                os.fsync(file.fileno())
            if self.read() != before:
                return False
            written_ns = part.stat().st_mtime_ns
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        _flush_folder(target.parent)
        self._written_ns = written_ns
        return True


def text_of(path: str, content: bytes) -> str:
    """Return the text of a list without its byte order mark.

    Raises:
        ConfigError: It is not UTF-8.
    """
    try:
        return content.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text in UTF-8; save it in this encoding") from error


def content_like(before: bytes, text: str) -> bytes:
    """Return the content for a text, with a byte order mark where the content before has one."""
    return (_BOM if before.startswith(_BOM) else b"") + text.encode()


def is_refusal(error: OSError) -> bool:
    """Return whether an error of `replace` comes from rights or mounts, which another attempt does not change."""
    return error.errno in _REFUSALS


def _is_mounted(target: Path) -> bool:
    """Return whether a file is mounted by itself, as containers do; such a file cannot be renamed over."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:  # not on Linux
        return False
    return str(target).replace("\\", r"\134").replace(" ", r"\040") in (line.split(" ")[4] for line in lines)


def _flush_folder(folder: Path) -> None:
    """Let the new name of a file survive a loss of power, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _copy_rights(target: Path, part: Path) -> None:
    """Give a temporary file the owner, the mode and the access list of the file that it will replace."""
    state = target.stat()
    if hasattr(os, "chown") and (state.st_uid, state.st_gid) != (part.stat().st_uid, part.stat().st_gid):
        os.chown(part, state.st_uid, state.st_gid)
    part.chmod(stat.S_IMODE(state.st_mode))
    if hasattr(os, "listxattr"):
        with suppress(OSError):  # the file system has none
            for name in os.listxattr(target):
                with suppress(OSError):  # reserved for the system
                    os.setxattr(part, name, os.getxattr(target, name))
