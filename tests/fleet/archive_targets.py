"""A worker of an archive whose files say what is to happen, so that the loop is tested without models."""

import os
import signal
import sys
import time
from pathlib import Path

from maskstream.errors import ConfigError, OutOfMemory, SinkError, SourceOpenError
from maskstream.fleet.commits import committing, is_committed
from maskstream.fleet.job_progress import JobProgress, JobProgressFile
from maskstream.fleet.jobs import Job, JobOutcome


class ScriptedWorker:
    """Does what the text of a file says, and commits a result. `once` before it: only in the first attempt."""

    def __init__(self, name: str, archive: str, start: str = "") -> None:
        sys.stderr.write(f"{name} starts\n")
        if start == "refuse":
            raise ConfigError("this machine has another version; install the same version")
        if start == "die":
            self._die()
        self._archive = Path(archive)
        self._progress = JobProgressFile(self._archive, name)
        self._name = name

    def ready(self) -> None:
        pass

    def analyse(self, job: Job) -> JobOutcome:
        self._progress.write(JobProgress(job.job_id, 0, 0.0, 0.0))
        if is_committed(self._archive, job.job_id):
            return JobOutcome(job.job_id, 0.0, 1.0)
        act = Path(job.path).read_text()
        tried = Path(f"{job.path}.tried")
        with tried.open("a") as log:
            log.write(f"{self._name}\n")
        if act.startswith("once "):
            is_first = len(tried.read_text().splitlines()) == 1
            act = act.removeprefix("once ") if is_first else ""
        if act.startswith("wait for "):
            while not Path(act.removeprefix("wait for ")).exists():
                time.sleep(0.01)
        elif act and act != "die after":
            getattr(self, f"_{act}")()
        with committing(self._archive, job.job_id) as part:
            (part / "summary.json").write_text(act)
        if act == "die after":
            self._die()
        return JobOutcome(job.job_id, 0.5, 1.0)

    def _die(self) -> None:
        sys.stderr.write("last words\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def _hang(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def _unreadable(self) -> None:
        raise SourceOpenError("a.mp4: no video; give another file")

    def _full(self) -> None:
        raise SinkError("results: cannot be written: No space left on device; make room")

    def _memory(self) -> None:
        raise OutOfMemory("the GPU has too little memory")

    def _internal(self) -> None:
        raise ZeroDivisionError("a mistake")
