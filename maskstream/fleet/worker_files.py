"""The files by which local workers are found: socket, spec, log and the lock that tells whether the process runs."""

import fcntl
import os
import pickle
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from maskstream.errors import ConfigError
from maskstream.fleet.placement import WorkerSpec, check_name

_LONGEST_ADDRESS: Final = 100
"""Bytes of the path of a Unix socket; the system allows 107, or 103."""
_LOOK_S: Final = 0.1
"""For which a lock may be held by a program that only looks whether the worker runs."""
_POLL_S: Final = 0.01
_LAST_LINES: Final = 20
_LAST_BYTES: Final = 8192


def private_folder(folder: Path) -> Path:
    """Create a folder that only this user can write to: specs and answers are unpickled, which runs what they contain.

    Raises:
        ConfigError: The folder belongs to another user, or others may write to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{folder}: others may write to this folder of workers; choose another one, or chmod 700 {folder}")
    return folder


class WorkerFiles:
    """The files of one worker: NAME.sock, NAME.spec, NAME.log, NAME.lock.

    The worker's process holds the lock for as long as it lives, also where it is stopped. The system releases it when the process
    ends, however it ends.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Name the files; nothing is touched.

        Raises:
            ValueError: The name has other characters than letters, digits, `.`, `_` and `-`, or more than 64.
        """
        check_name(name)
        self.folder = folder
        self.name = name
        self.socket, self.spec, self.log, self.lock = (folder / f"{name}.{kind}" for kind in ("sock", "spec", "log", "lock"))

    def claim(self) -> int | None:
        """Take the lock for a process that is about to start; return its file descriptor, or None where the worker runs."""
        lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until_s = monotonic() + _LOOK_S
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.truncate(lock, 0)
                return lock
            if monotonic() > until_s:
                os.close(lock)
                return None
            sleep(_POLL_S)

    def is_running(self) -> bool:
        """Return whether the worker's process lives."""
        if not self.lock.exists():
            return False
        with self.lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def has_ended(self, within_s: float) -> bool:
        """Wait until the process has ended, for a limited time; return whether it has."""
        until_s = monotonic() + within_s
        while self.is_running():
            if monotonic() > until_s:
                return False
            sleep(_POLL_S)
        return True

    def kill(self) -> None:
        """Kill the process, with all that it started, whether or not it is stopped. Without effect where it does not run."""
        while self.is_running():
            pid = self.lock.read_text()
            if pid:
                with suppress(ProcessLookupError):
                    os.killpg(int(pid), signal.SIGKILL)
                return
            sleep(_POLL_S)  # it has just been started and has not said its number yet

    def read_spec(self) -> WorkerSpec:
        """Return the spec that the worker was started with."""
        spec: WorkerSpec = pickle.loads(self.spec.read_bytes())  # noqa: S301  the folder is private
        return spec

    def write_spec(self, spec: WorkerSpec) -> None:
        """Keep the spec for the process and for programs that find it; only this user can read it, as it may hold passwords."""
        content = pickle.dumps(spec)
        self.spec.unlink(missing_ok=True)
        with open(os.open(self.spec, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(content)

    def forget(self) -> None:
        """Remove the spec and the socket of a worker that has ended; the log stays."""
        self.spec.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)

    @contextmanager
    def address(self) -> Iterator[str]:
        """Yield an address of the socket that is short enough for the system, for as long as it is bound or connected to."""
        if len(os.fsencode(self.socket)) <= _LONGEST_ADDRESS:
            yield str(self.socket)
            return
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{folder}/{self.socket.name}"
        finally:
            os.close(folder)

    def last_lines(self) -> tuple[str, ...]:
        """Return the last lines that the worker wrote to standard error."""
        with suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            return tuple(file.read().decode(errors="replace").splitlines()[-_LAST_LINES:])
        return ()
