"""Run workers as processes of this machine."""

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import Final, Self

import maskstream
from maskstream.fleet.local_client import LocalCall, LocalWorker
from maskstream.fleet.placement import Call, NodeInfo, Worker, WorkerSpec
from maskstream.fleet.worker_files import WorkerFiles, private_folder
from maskstream.io.processors import usable_cpus

_PACKAGES: Final = str(Path(maskstream.__file__).parents[1])


class LocalPlacement:
    """Processes of this machine as workers, each with a socket and a log in a folder.

    A worker that does not outlive the program ends with it, also where the program is killed. Standard error goes to `NAME.log`.
    `NAME.previous.log` is that of the worker which had the name before.
    """

    def __init__(self, folder: Path, nodes: Sequence[str] = ("local",)) -> None:
        """Use a folder, which is created, for sockets and logs.

        Args:
            folder: Programs that use the same folder find each other's workers.
            nodes: Names that this machine stands for. More than one of them is for tests and trials of a fleet.

        Raises:
            ConfigError: Others may write to the folder.
        """
        self._folder = private_folder(folder)
        self._nodes = tuple(nodes)
        self._workers: dict[str, LocalWorker] = {}
        self._finished = Condition()

    def nodes(self) -> list[NodeInfo]:
        """Return the names, each with all cores and GPUs of this machine."""
        cpus = float(usable_cpus())
        gpus = float(len(list(Path("/dev").glob("nvidia[0-9]*"))))
        return [NodeInfo(name, cpus, gpus, is_alive=True) for name in self._nodes]

    def start(self, spec: WorkerSpec) -> Worker:
        """Start a process and return at once.

        Raises:
            ValueError: A worker of this name runs, the node is unknown, or the name has other characters than it may have.
        """
        if spec.node not in (None, *self._nodes):
            raise ValueError(f"{spec.node}: no such node; there are {', '.join(self._nodes)}")
        files = WorkerFiles(self._folder, spec.name)
        if spec.name in self._workers and not files.is_running():
            self._workers.pop(spec.name).end()
        placed = replace(spec, node=spec.node or self._nodes[0])
        self._workers[spec.name] = LocalWorker(placed, files, self._finished, _started(placed, files))
        return self._workers[spec.name]

    def find(self, name: str) -> Worker | None:
        """Return the worker of this name that outlives programs, where it runs."""
        files = WorkerFiles(self._folder, name)
        if not files.is_running():
            return None
        worker = self._workers.get(name)
        if worker is None or worker.is_dead:
            spec = replace(files.read_spec(), arguments={})
            if not spec.outlives:
                return None
            worker = self._workers[name] = LocalWorker(spec, files, self._finished)
        return worker if worker.spec.outlives else None

    def wait(self, calls: Collection[Call], timeout_s: float) -> list[Call]:
        """Return the calls that are done, at least one of them unless `timeout_s` is over."""

        def done() -> list[Call]:
            return [call for call in calls if isinstance(call, LocalCall) and call.is_done]

        with self._finished:
            return self._finished.wait_for(done, timeout_s)

    def close(self) -> None:
        """End the workers that do not outlive the program, and leave the others."""
        for worker in self._workers.values():
            worker.leave()
        self._workers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _started(spec: WorkerSpec, files: WorkerFiles) -> subprocess.Popen[bytes]:
    """Start the process, which inherits the lock and, where it ends with this program, a pipe of which we hold the other end."""
    lock = files.claim()
    if lock is None:
        raise ValueError(f"{spec.name}: a worker of this name runs; end it first, or choose another name")
    try:
        files.write_spec(spec)
        with suppress(FileNotFoundError):
            files.log.replace(files.log.with_name(f"{spec.name}.previous.log"))
        with files.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-P", "-m", "maskstream.fleet.local_worker", str(files.folder), spec.name, str(lock)],
                stdin=subprocess.DEVNULL if spec.outlives else subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (_PACKAGES, os.environ.get("PYTHONPATH"))))},
                pass_fds=(lock,),
                start_new_session=True,  # neither Ctrl-C nor a closed terminal reaches it
            )
    finally:
        os.close(lock)
