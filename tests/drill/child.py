"""run_stream.py as a process of its own, and what can be seen of it from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import psutil

ROOT = Path(__file__).resolve().parents[2]
_POLL_S = 0.05
_START_S = 40.0
"""For Python, torch and the models on a busy machine."""


class Broken(AssertionError):
    """Something is not as it was promised."""


def expect(is_so: object, what: str) -> None:
    """Raise `Broken` where something is not so."""
    if not is_so:
        raise Broken(what)


@dataclass(frozen=True)
class Usage:
    """What a process takes of the machine."""

    rss_mb: float
    threads: int
    fds: int

    def __str__(self) -> str:
        return f"{self.rss_mb:.0f} MB, {self.threads} threads, {self.fds} fds"


class Child:
    """A running program, with its records and its log in files."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.started_s = time.monotonic()

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")

    def changes(self, source: str | None = None) -> list[dict[str, Any]]:
        return [change for change in _lines(self.folder / "status.jsonl") if source in (None, change["source"])]

    def states(self, source: str | None = None) -> list[str]:
        return [change["state"] for change in self.changes(source)]

    def records(self, source: str | None = None) -> list[dict[str, Any]]:
        return [record for record in _lines(self.folder / "faces.jsonl") if source in (None, record["source"])]

    def wait_for(self, what: str, is_there: Callable[[], object], within_s: float = _START_S) -> float:
        """Wait until something is there, and return the seconds that took."""
        began_s = time.monotonic()
        while not is_there():
            waited_s = time.monotonic() - began_s
            expect(
                self.process.poll() is None or is_there(), f"ended with {self.process.poll()} before: {what}; {self._last_line()}"
            )
            expect(waited_s < within_s, f"not within {within_s:g} s: {what}; states: {self.states()}")
            time.sleep(_POLL_S)
        return time.monotonic() - began_s

    def wait_for_state(self, state: str, source: str | None = None, within_s: float = _START_S, after: int = 0) -> float:
        """Wait until a source reaches a state, leaving out its first `after` changes."""
        return self.wait_for(f"{source or 'source'} {state}", lambda: state in self.states(source)[after:], within_s)

    def wait_for_frames(self, count: int, source: str | None = None, within_s: float = _START_S) -> float:
        """Wait for so many more records of a source."""
        before = len(self.records(source))
        return self.wait_for(f"{count} frames", lambda: len(self.records(source)) >= before + count, within_s)

    def usage(self) -> Usage:
        process = psutil.Process(self.process.pid)
        return Usage(process.memory_info().rss / 2**20, process.num_threads(), process.num_fds())

    def leave(self, number: int = signal.SIGINT, within_s: float = 3.0) -> float:
        """Send a signal, and return how long the program took to leave."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise Broken(f"did not leave within {within_s:g} s of {signal.Signals(number).name}") from None
        return time.monotonic() - began_s

    def _last_line(self) -> str:
        return self.log.strip().splitlines()[-1] if self.log.strip() else "nothing said"


@contextmanager
def child(
    folder: Path, *arguments: str | Path, program: Sequence[str | Path] = (ROOT / "run_stream.py",), **environment: str
) -> Iterator[Child]:
    """Run the program until the block is left; its files lie in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = ("--status", folder / "status.jsonl", "--jsonl", folder / "faces.jsonl", "--no-show")
    command = [sys.executable, *map(str, program), *map(str, arguments), *map(str, outputs)]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    try:
        yield Child(process, folder)
    finally:
        process.kill()
        process.wait()


def decoded(path: Path) -> int:
    """Return how many frames of a video can be decoded."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def age_s(record: dict[str, Any]) -> float:
    """Return how long ago the frame of a record was captured."""
    return (datetime.now(UTC) - datetime.fromisoformat(record["time_utc"])).total_seconds()


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
