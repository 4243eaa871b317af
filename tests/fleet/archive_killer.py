"""Kill workers of a running `maskstream archive` at random moments, and once the command itself, which is started again."""

import os
import random
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from time import monotonic

import psutil

from maskstream.fleet.commits import is_committed
from maskstream.fleet.job_progress import read_progress
from tests.command_lines import ROOT
from tests.slowness import LONGEST_S

_MODULE = "maskstream.fleet.local_worker"
_LOOK_S = 0.02


class Killer:
    """Runs the command of an archive to its end."""

    def __init__(self, output: Path, files: int, kills: int, lasts_s: float, seed: int) -> None:
        """Kill nothing yet.

        Args:
            output: The folder of the archive.
            files: How many it has.
            kills: How many workers are killed.
            lasts_s: How long the command takes without kills; they are distributed over this time.
            seed: Of the random moments and workers.
        """
        self.output = output
        self.killed = 0
        """Workers and the command."""
        self._random = random.Random(seed)
        self._files = files
        self._due_s = sorted(self._random.uniform(0.05, 0.95) * lasts_s for _ in range(kills))
        self._command_due_s = self._random.uniform(0.3, 0.7) * lasts_s
        self._hit: set[str] = set()
        """The files that have ended a worker: a file that ends two is quarantined."""

    def run(self, command: list[str]) -> None:
        """Run the command, kill, and start it again when it was killed itself."""
        began_s, is_killed = monotonic(), False
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
        try:
            while (code := self._code(process)) is None:
                passed_s = monotonic() - began_s
                if self._due_s and passed_s >= self._due_s[0] and self._kill_a_worker(process.pid):
                    self._due_s.pop(0)
                if not is_killed and self._is_command_due(passed_s):
                    is_killed = True
                    process.kill()
                    process.wait(LONGEST_S)
                    self.killed += 1
                    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
            assert code == 0, f"exit code {code}"
            assert is_killed, "the command ended before it could be killed; give more clips"
        finally:
            process.kill()
            process.wait(LONGEST_S)

    def _is_command_due(self, passed_s: float) -> bool:
        """Return whether the command is killed now: at its moment, or when half of the files are done, but not before one is."""
        done = sum(1 for _ in self.output.glob("??/*/summary.json"))
        return done > 0 and (passed_s >= self._command_due_s or done >= self._files // 2)

    def _code(self, process: "subprocess.Popen[bytes]") -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_S)
        return None

    def _kill_a_worker(self, command: int) -> bool:
        """Kill a random worker while it analyses a file that has not ended one; return whether there was one."""
        workers = _workers(command)
        self._random.shuffle(workers)
        for number, name in workers:
            os.kill(number, signal.SIGSTOP)  # it must not begin with another file before it is killed
            progress = read_progress(self.output, name)
            if progress is not None and progress.job_id not in self._hit and not is_committed(self.output, progress.job_id):
                self._hit.add(progress.job_id)
                os.kill(number, signal.SIGKILL)
                self.killed += 1
                return True
            os.kill(number, signal.SIGCONT)
        return False


def _workers(command: int) -> list[tuple[int, str]]:
    """Return process and name of each worker of a command."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(command).children():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                words = child.cmdline()
                if _MODULE in words:
                    found.append((child.pid, words[-2]))
    return found
