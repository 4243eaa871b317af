"""The process of a local worker: `python -m maskstream.fleet.local_worker FOLDER NAME LOCK`, which `LocalPlacement` starts."""

import faulthandler
import os
import pickle
import signal
import sys
from contextlib import suppress
from pathlib import Path
from queue import Queue
from socket import AF_UNIX, socket
from threading import Thread
from typing import Final

from maskstream.fleet.messages import MessageSocket
from maskstream.fleet.worker_files import WorkerFiles
from maskstream.fleet.worker_object import WorkerObject

_LONGEST_LOG: Final = 16 * 2**20
"""Bytes after which a log loses all but its end: a worker may run for months."""
_KEPT_OF_LOG: Final = 2**20


class CallReceiver:
    """Take calls from the program that connected last: a program that finds the worker replaces the one that was killed."""

    def __init__(self, files: WorkerFiles) -> None:
        """Listen at the worker's socket."""
        self._listener = socket(AF_UNIX)
        files.socket.unlink(missing_ok=True)
        with files.address() as address:
            self._listener.bind(address)
        self._listener.listen()
        self._program: MessageSocket | None = None
        self._calls: Queue[tuple[MessageSocket, str, tuple[object, ...]]] = Queue()
        Thread(target=self._accept, name="accept", daemon=True).start()

    def next_call(self) -> tuple[MessageSocket, str, tuple[object, ...]]:
        """Wait for the next call; return who called, the method and its arguments. Calls of a replaced program are dropped."""
        while True:
            program, method, args = self._calls.get()
            if program is self._program:
                return program, method, args

    def _accept(self) -> None:
        while True:
            replaced, self._program = self._program, MessageSocket(self._listener.accept()[0])
            if replaced is not None:
                replaced.close()
            Thread(target=self._read, args=(self._program,), name="read", daemon=True).start()

    def _read(self, program: MessageSocket) -> None:
        with suppress(EOFError, OSError):
            while True:
                method, args = pickle.loads(program.receive())  # noqa: S301  from a process of this user
                self._calls.put((program, method, args))


def main() -> None:
    """Create the target in the main thread and run its calls there until the process is killed."""
    folder, name, lock = sys.argv[1:]
    os.set_inheritable(int(lock), False)  # it is held by this process, not by those that the target starts
    os.write(int(lock), str(os.getpid()).encode())
    faulthandler.enable()
    files = WorkerFiles(Path(folder), name)
    spec = files.read_spec()
    if not spec.outlives:
        Thread(target=_end_with_the_program, name="end", daemon=True).start()
    receiver = CallReceiver(files)
    target = WorkerObject(spec.target, spec.arguments)
    while True:
        program, method, args = receiver.next_call()
        answer = target.call(method, args).to_bytes()
        with suppress(OSError):  # the program is gone, and nobody waits for the answer
            program.send(answer)
        _shorten(files.log)


def _end_with_the_program() -> None:
    """Wait until the program ends, which closes standard input; then kill this process and all that it started."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _shorten(log: Path) -> None:
    """Drop the older lines of a long log. The process writes on at its new end, as the file is open for appending."""
    if os.fstat(2).st_size > _LONGEST_LOG:
        with log.open("r+b") as file:
            file.seek(-_KEPT_OF_LOG, os.SEEK_END)
            kept = file.read().partition(b"\n")[2]
            file.seek(0)
            file.write(kept)
            file.truncate()


if __name__ == "__main__":
    main()
