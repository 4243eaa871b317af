"""Run run_stream.py as a child process, and read its records, states and log."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import av
import psutil

from tests.drill.calibration import Calibration
from tests.drill.table import Skipped
from tests.slowness import slowness

ROOT: Final = Path(__file__).resolve().parents[2]
FAULTY: Final = ROOT / "tests" / "drill" / "faulty.py"
ENDS_WITHIN_S: Final = 3.0
QUICK_MODEL: Final = ("--set", "detector.short_side=64")
"""For cases about cameras: twelve of them run on two cores."""
_POLL_S = 0.05
_CPU_TURNS: Final = 3
_NOMINAL_START_S: Final = 2.0
"""From the start of the program to its first record, on two idle cores."""
_START_S = 60.0
"""For Python, the models and the first frame."""
_LAST_WORDS = 200


class Broken(AssertionError):
    """A promise is not kept."""


def expect(is_kept: object, what: str) -> None:
    """Raise `Broken` where a promise is not kept."""
    if not is_kept:
        raise Broken(what)


@dataclass(frozen=True)
class Usage:
    """Memory, threads and file descriptors of a process."""

    rss_mb: float
    threads: int
    fds: int

    def __str__(self) -> str:
        return f"{self.rss_mb:.0f} MB, {self.threads} threads, {self.fds} fds"


class Child:
    """A running program, with its records and its log in files."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, machine: Calibration) -> None:
        self.process = process
        self.machine = machine
        self.folder = folder

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")

    @property
    def last_words(self) -> str:
        """The last line of the log."""
        return self.log.strip().splitlines()[-1][-_LAST_WORDS:] if self.log.strip() else "no log"

    def changes(self, source: str | None = None) -> list[dict[str, Any]]:
        return [change for change in lines(self.folder / "status.jsonl") if source in (None, change["source"])]

    def states(self, source: str | None = None) -> list[str]:
        return [change["state"] for change in self.changes(source)]

    def records(self, source: str | None = None, since: datetime | None = None) -> list[dict[str, Any]]:
        """Return the records of a source, for frames captured at `since` or later."""
        records = [record for record in lines(self.folder / "faces.jsonl") if source in (None, record["source"])]
        return [record for record in records if since is None or datetime.fromisoformat(record["time_utc"]) >= since]

    def wait_for(self, what: str, holds: Callable[[], object], within_s: float = _START_S) -> float:
        """Wait until `holds` returns true, and return the seconds; the limit is for an idle machine."""
        began_s = time.monotonic()
        while not holds():
            has_ended = self.process.poll() is not None and not holds()
            expect(not has_ended, f"ended with {self.process.poll()} before: {what}; {self.last_words}")
            expect(
                self.machine.keeps(time.monotonic() - began_s, within_s), f"not within {within_s:g} s: {what}; {self.last_words}"
            )
            time.sleep(_POLL_S)
        return time.monotonic() - began_s

    def wait_for_state(self, state: str, source: str | None = None, within_s: float = _START_S, after: int = 0) -> float:
        """Wait until a source reaches a state, leaving out its first `after` changes."""
        return self.wait_for(f"{source or 'source'} {state}", lambda: state in self.states(source)[after:], within_s)

    def wait_for_frames(self, count: int, source: str | None = None, within_s: float = _START_S) -> float:
        """Wait for `count` more records of a source."""
        before = len(self.records(source))
        return self.wait_for(f"{count} frames", lambda: len(self.records(source)) >= before + count, within_s)

    def wait_for_end(self, within_s: float = _START_S) -> int:
        """Wait until the program ends by itself, and return its exit code."""
        self.wait_for("the end", lambda: self.process.poll() is not None, within_s)
        return self.process.wait()

    def ages_s(self, for_s: float) -> list[float]:
        """Return the age of each frame when its record was written, for the records of the next `for_s` seconds."""
        known = len(self.records())
        ages_s: list[float] = []
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s:
            records = self.records()
            ages_s += [age_s(record) for record in records[known:]]
            known = len(records)
            time.sleep(_POLL_S)
        return ages_s

    def usage(self) -> Usage:
        process = psutil.Process(self.process.pid)
        return Usage(process.memory_info().rss / 2**20, process.num_threads(), process.num_fds())

    def leave(self, number: int = signal.SIGINT) -> float:
        """Send a signal, and return the seconds until the program has ended."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        while self.process.poll() is None:
            is_in_time = self.machine.keeps(time.monotonic() - began_s, ENDS_WITHIN_S)
            expect(is_in_time, f"did not end within {ENDS_WITHIN_S:g} s of {signal.Signals(number).name}")
            time.sleep(_POLL_S)
        return time.monotonic() - began_s


@contextmanager
def child(
    machine: Calibration,
    folder: Path,
    *arguments: str | Path,
    faults: Sequence[str] = (),
    inside: Sequence[str] = (),
    **environment: str,
) -> Iterator[Child]:
    """Run the program until the block ends; its records and its log are in a folder.

    Args:
        machine: Scales the time limits.
        folder: Is created.
        arguments: Of run_stream.py.
        faults: Injected into the program, see `faulty`.
        inside: A command that runs the program, as in a namespace.
        environment: Variables to set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = [str(FAULTY), *faults, "--"] if faults else [str(ROOT / "run_stream.py")]
    outputs = ("--status", folder / "status.jsonl", "--jsonl", folder / "faces.jsonl")
    shown = () if "--show" in arguments else ("--no-show",)
    command = [*inside, sys.executable, *program, *map(str, (*arguments, *outputs, *shown))]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    try:
        yield Child(process, folder, machine)
    finally:
        process.kill()
        process.wait()


def calibrate(clip: Path) -> Calibration:
    """Measure the machine before the drill. The second of two starts counts, because it reads nothing from disk."""
    cpu = max(slowness() for _ in range(_CPU_TURNS))
    starts_s = [_start_s(clip) for _ in range(2)]
    return Calibration(cpu, max(1.0, starts_s[-1] / _NOMINAL_START_S))


def _start_s(clip: Path) -> float:
    """Return the seconds from the start of the program to its first record."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, child(Calibration(), Path(folder), "--source", clip) as run:
        run.wait_for("a record", run.records)
        return time.monotonic() - began_s


def namespace(kind: str, setup: str) -> list[str]:
    """Return the command that runs another command in its own namespace, after shell commands.

    Args:
        kind: `n` for the network, `m` for mounts.
        setup: Shell commands.

    Raises:
        Skipped: Namespaces are not allowed on this machine.
    """
    command = ["unshare", f"-Ur{kind}", "sh", "-ec", f'{setup}\nexec "$@"', "sh"]
    try:
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=10, check=False)
    except OSError as error:
        raise Skipped(f"namespaces are not available: {error}") from error
    if tried.returncode:
        raise Skipped(f"namespaces are not available: {tried.stderr.strip()}")
    return command


def decoded(path: Path) -> int:
    """Return how many frames of a video can be decoded."""
    count = 0
    with av.open(str(path)) as container, suppress(av.InvalidDataError):
        for _ in container.decode(video=0):
            count += 1
    return count


def lasts_s(path: Path) -> float:
    """Return the time between the first and the last frame of a video."""
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0) if frame.time is not None]
    return times[-1] - times[0]


def age_s(record: dict[str, Any]) -> float:
    """Return the age of the frame of a record."""
    return (datetime.now(UTC) - datetime.fromisoformat(record["time_utc"])).total_seconds()


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line, parse_constant=_refuse) for line in text[: text.rfind("\n") + 1].splitlines()]


def _refuse(constant: str) -> None:
    raise Broken(f"{constant} in a record, which is not JSON")
